from __future__ import annotations

import pytest

from .__main__ import fuzzed
from .targets import TARGETS, seeds


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_found_once_is_read_now(name: str) -> None:
    runs, _, wrong = fuzzed(name, 0.4, 1)
    assert runs and not wrong and len(seeds()) > 3
