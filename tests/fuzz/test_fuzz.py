from __future__ import annotations

import pytest

from .__main__ import fuzzed
from .targets import TARGETS, seeds

SECONDS = 60 / len(TARGETS)
"""Of each: a minute, wherever the tests run."""


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_found_once_is_read_now_and_what_is_like_it(name: str) -> None:
    runs, _, wrong = fuzzed(name, SECONDS, 1)
    assert runs and not wrong and len(seeds()) > 3
