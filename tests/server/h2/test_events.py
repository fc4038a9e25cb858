from __future__ import annotations

from typing import get_args

import pytest

from extproc.server.h2 import events
from extproc.server.h2.events import ConnectionEnded, DataReceived, Event, StreamReset
from extproc.server.h2.frames import Code


@pytest.mark.parametrize(
    "event", sorted({*get_args(Event)} - {DataReceived}, key=str), ids=lambda event: str(event.__name__)
)
def test_events_are_values_that_the_collector_need_not_see(event: type) -> None:
    config = event.__struct_config__  # type: ignore[attr-defined]
    assert config.frozen and not config.gc
    assert {f"{event.__module__}.{event.__name__}"} <= {f"{events.__name__}.{name}" for name in vars(events)}


def test_events_that_say_the_same_are_equal() -> None:
    assert DataReceived(1, b"x") == DataReceived(1, b"x") != DataReceived(3, b"x")
    assert DataReceived(1, b"x") != DataReceived(1, b"y")
    assert StreamReset(1, Code.CANCEL, True) != StreamReset(1, Code.CANCEL, False)
    assert ConnectionEnded(Code.PROTOCOL_ERROR, "why").reason == "why"


def test_what_comes_most_holds_nothing_but_what_it_says() -> None:
    piece = DataReceived(1, b"x")
    assert (piece.stream_id, piece.data) == (1, b"x")
    with pytest.raises(AttributeError):
        piece.more = 1  # type: ignore[attr-defined]
