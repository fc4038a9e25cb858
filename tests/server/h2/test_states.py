from __future__ import annotations

import pytest

from extproc.server.h2.frames import Code, ConnectionFault, StreamFault
from extproc.server.h2.states import (
    CONNECTION,
    LIVE,
    STREAM,
    ConnectionPhase,
    ConnectionStep,
    Fault,
    Step,
    StreamState,
    after,
)

RECEIVED = [step for step in Step if step.name.startswith("RECV_")]


def test_every_state_answers_every_frame_of_the_peer() -> None:
    # HALF_CLOSED_LOCAL lasts no longer than one call of the machine; an end comes only with a frame that was allowed.
    for state in set(StreamState) - {StreamState.HALF_CLOSED_LOCAL}:
        missing = set(RECEIVED) - set(STREAM[state])
        assert missing <= {Step.RECV_END}, state
        assert not missing or state is not StreamState.OPEN


def test_no_closed_state_leads_back_to_life() -> None:
    for state in set(StreamState) - LIVE - {StreamState.IDLE}:
        assert not LIVE & {each for each in STREAM[state].values() if isinstance(each, StreamState)}


def test_nothing_is_sent_on_a_closed_stream() -> None:
    for state in set(StreamState) - LIVE:
        assert not [step for step in STREAM[state] if step.name.startswith("SEND_")], state


def test_every_live_state_can_be_reset_and_every_other_is_reached() -> None:
    reached = {each for steps in STREAM.values() for each in steps.values() if isinstance(each, StreamState)}
    assert all(STREAM[state][Step.SEND_RESET] is StreamState.RESET_BY_US for state in LIVE)
    # Forgetting, and not taking, are not steps of a stream but of our memory and of our GOAWAY.
    assert set(StreamState) - reached == {StreamState.IDLE}


def test_a_step_that_is_allowed() -> None:
    assert after(StreamState.IDLE, Step.RECV_HEADERS) is StreamState.OPEN
    assert after(StreamState.HALF_CLOSED_REMOTE, Step.SEND_END) is StreamState.ENDED


@pytest.mark.parametrize(
    ("state", "step", "fault", "code"),
    [
        (StreamState.IDLE, Step.RECV_DATA, ConnectionFault, Code.PROTOCOL_ERROR),
        (StreamState.HALF_CLOSED_REMOTE, Step.RECV_DATA, StreamFault, Code.STREAM_CLOSED),
        (StreamState.ENDED, Step.RECV_HEADERS, ConnectionFault, Code.STREAM_CLOSED),
        (StreamState.FORGOTTEN, Step.RECV_HEADERS, ConnectionFault, Code.PROTOCOL_ERROR),
    ],
)
def test_a_step_that_is_not(state: StreamState, step: Step, fault: type[ConnectionFault], code: Code) -> None:
    assert STREAM[state][step] == Fault(fault, code)
    with pytest.raises(fault) as raised:
        after(state, step)
    assert raised.value.code is code
    assert step.name in raised.value.reason and state.name in raised.value.reason


def test_our_own_wrong_step_is_a_bug() -> None:
    with pytest.raises(KeyError):
        after(StreamState.RESET_BY_PEER, Step.SEND_DATA)


def test_a_connection_can_fail_and_drain_in_every_phase() -> None:
    for phase in ConnectionPhase:
        assert CONNECTION[phase][ConnectionStep.FAULT] is ConnectionPhase.FAILED
        assert ConnectionStep.DRAIN in CONNECTION[phase]
    assert set(CONNECTION[ConnectionPhase.FAILED].values()) == {ConnectionPhase.FAILED}
