"""Whatever stands in a configuration, the check says something or nothing, and never breaks."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from extproc.check import Unreadable, check
from extproc.reference import config as envoy_config

ODD: list[Any] = [None, 0, -1, 1.5, "", "x", "${A}", "0s", True, [], {}, [1], [[]], [None], {"a": 1}, {"value": {}}]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in *value* with each of its keys."""
    found: list[tuple[Any, Any]] = []
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        found.append((value, key))
        found += places(value[key])
    return found


@pytest.mark.parametrize("seed", range(60))
def test_a_configuration_with_odd_parts(seed: int) -> None:
    choose = random.Random(seed)
    config = envoy_config.reference()
    for _ in range(choose.randint(1, 4)):
        holder, key = choose.choice(places(config))
        if isinstance(holder, dict) and choose.random() < 0.3:
            del holder[key]
        else:
            holder[key] = choose.choice(ODD)
    try:
        found = check(json.dumps(config))
    except Unreadable:
        return
    for finding in found:
        assert finding.line > 0 and finding.problem and "\n" not in finding.problem
