from __future__ import annotations

import time
from typing import Any

import pytest

from extproc.policy import patterns as module
from extproc.policy.base import PolicyError, Unavailable
from extproc.policy.patterns import MAX_PATTERNS, compiled, encoded, patterns

from .members import given


def test_patterns_are_found_in_bytes() -> None:
    first, second = patterns(given({"deny": ["b+", "(?i)É"]}), "deny")
    assert first.next_in(b"abbab", 0) == (1, 3) and first.next_in(b"abbab", 3) == (4, 5)
    assert first.next_in(b"a", 0) is None and not first.found_in(b"a")
    assert second.found_in("é".encode()) and second.path == "deny[1]"


@pytest.mark.parametrize(
    ("deny", "problem"),
    [
        (["("], "not a regular expression of RE2's"),
        ([r"(a)\1"], "not a regular expression of RE2's"),  # what RE2 leaves out takes exponential time
        ([""], "is empty"),
        (["(x{1000}){9}"], "too large|not a regular expression"),
        (["a"] * (MAX_PATTERNS + 1), "more than 100 patterns"),
        ("a", "expected a list of texts"),
    ],
)
def test_what_no_pattern_is(deny: Any, problem: str) -> None:
    with pytest.raises(PolicyError, match=problem):
        patterns(given({"deny": deny}), "deny")


def test_no_pattern_is_slow_and_what_would_be_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    (slow,) = patterns(given({"deny": ["(a*)*b"]}), "deny")
    began = time.process_time()
    assert not slow.found_in(b"a" * 100_000)
    assert time.process_time() - began < 5
    monkeypatch.setattr(module, "MAX_WORK", 1000)
    bounded, ours = compiled(given({}), "x", "(a*)*b"), compiled(given({}), "x", "(a*)*b", ours=True)
    with pytest.raises(Unavailable, match="x can look at"):
        bounded.found_in(b"a" * 1000)
    with pytest.raises(Unavailable):
        bounded.next_in(b"a" * 1000, 999)
    assert not ours.found_in(b"a" * 1000)


def test_half_a_character_is_looked_at_all_the_same() -> None:
    assert encoded("a\ud800b") == b"a?b"
