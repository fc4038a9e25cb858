from __future__ import annotations

import pytest

from extproc.llm.events import NO_USAGE
from extproc.telemetry.outcome import Began, Ending, Outcome


def test_what_is_not_known_is_nothing() -> None:
    outcome = Outcome("translator", Ending.CANCELLED)
    assert (outcome.status, outcome.error, outcome.usage, outcome.losses) == (0, "", NO_USAGE, ())
    assert outcome.attempt is None and outcome.first_content_seconds is None


def test_endings_are_told_apart_by_their_words() -> None:
    words = [ending.value for ending in Ending]
    assert len(set(words)) == len(words) and all(word.islower() and word.isalpha() for word in words)


def test_records_are_not_changed_by_those_who_read_them() -> None:
    for record in (Began("router", 1.0), Outcome("router", Ending.PASSED)):
        with pytest.raises(AttributeError):
            record.role = "translator"  # type: ignore[misc]
