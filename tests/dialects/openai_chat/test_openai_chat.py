from __future__ import annotations

from typing import Any

import pytest

from extproc.llm.losses import LossReport

from .helpers import DIALECT


@pytest.mark.parametrize(
    ("members", "claimed"),
    [
        ({"model": 1, "messages": 1}, True),
        ({"messages": 1, "max_tokens": 1, "tools": 1}, True),
        ({"messages": 1, "max_tokens": 1, "system": 1}, False),
        ({"messages": 1, "inferenceConfig": 1}, False),
        ({"input": 1}, False),
    ],
)
def test_which_bodies_are_its_own(members: dict[str, Any], claimed: bool) -> None:
    assert DIALECT.claims(members) is claimed


def test_nothing_needs_mending() -> None:
    body = b'{"messages": [ {"role":"user"} ]}'
    assert DIALECT.mend(body, LossReport()) is body
