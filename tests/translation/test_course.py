"""What is known of an exchange, event by event."""

from __future__ import annotations

import itertools

import pytest

from extproc.llm import events as e
from extproc.llm.failures import ErrorKind
from extproc.translation.course import Course, OutOfOrder, Progress

STARTED = e.ResponseStarted("id", "answered", e.Usage(3))
ENDED = e.ResponseEnded(e.StopReason.END, e.Usage(3, 4))


def course(*events: e.ResponseEvent) -> Course:
    made = Course(itertools.count(10.0).__next__)
    made.model_sent = "sent"
    for event in events:
        made.note(event)
    return made


def test_nothing_is_known_at_first() -> None:
    made = course()
    assert (made.state, made.model, made.usage, made.first_content_at) == (Progress.NEW, "sent", e.NO_USAGE, None)
    assert (made.ended, made.failed, made.over, made.cut, made.cancelled, made.truncated) == (None, None, *[False] * 4)


def test_the_first_content_is_timed_and_counts_come_when_they_are_told() -> None:
    made = course(STARTED, e.TextStarted(0))
    assert (made.model, made.usage.input_tokens, made.first_content_at) == ("answered", 3, None)
    made.note(e.TextDelta(0, "a"))
    made.note(e.TextDelta(0, "b"))
    assert made.first_content_at == 10.0 and not made.over
    made.note(ENDED)
    assert made.ended is ENDED and made.usage.output_tokens == 4 and made.state is Progress.ENDED


@pytest.mark.parametrize(("code", "truncated"), [("stream_truncated", True), (None, False)])
def test_a_failure(code: str | None, truncated: bool) -> None:
    made = course(STARTED, e.ResponseFailed(ErrorKind.API, "broken", code=code))
    assert made.failed is not None and made.failed.message == "broken"
    assert (made.ended, made.over, made.truncated, made.state) == (None, True, truncated, Progress.FAILED)


@pytest.mark.parametrize(
    ("events", "state"), [([], Progress.CANCELLED), ([STARTED], Progress.CANCELLED), ([ENDED], Progress.ENDED)]
)
def test_only_what_is_not_over_can_be_cancelled(events: list[e.ResponseEvent], state: Progress) -> None:
    made = course(*events)
    made.cancel()
    assert made.state is state and made.cancelled is (state is Progress.CANCELLED)


def test_what_is_out_of_order_says_how_far_it_is() -> None:
    with pytest.raises(OutOfOrder, match="the exchange is new, not sent"):
        course()._expect(Progress.SENT)
