from __future__ import annotations

from typing import get_args

import pytest
from openai.types.chat import ChatCompletion
from openai.types.chat.chat_completion import Choice

from extproc.dialects.openai_chat.vocabulary import FINISH_NAMES, NAMELESS_STOPS, TIERS_READ, TIERS_WRITTEN
from extproc.dialects.shared.stops import read_stop
from extproc.llm.events import StopReason


def test_every_end_has_a_word_that_the_sdk_knows() -> None:
    known = get_args(Choice.model_fields["finish_reason"].annotation)
    assert set(FINISH_NAMES) == set(StopReason) and set(FINISH_NAMES.values()) <= set(known)


@pytest.mark.parametrize("reason", StopReason)
def test_no_word_promises_more_than_the_end_was(reason: StopReason) -> None:
    back = read_stop(FINISH_NAMES[reason])
    complete = {StopReason.END, StopReason.STOP_SEQUENCE, StopReason.OTHER}
    assert (back is StopReason.END) == (reason in complete)
    assert reason in NAMELESS_STOPS or back is not None


def test_tiers_there_and_back() -> None:
    tiers = get_args(get_args(ChatCompletion.model_fields["service_tier"].annotation)[0])
    assert set(TIERS_WRITTEN.values()) | set(TIERS_READ) <= set(tiers)
    assert TIERS_READ[TIERS_WRITTEN["standard"]] == "standard"
