from __future__ import annotations

import pytest

from extproc.dialects.shared.stops import read_stop
from extproc.llm.events import StopReason
from extproc.llm.failures import ErrorKind

S = StopReason


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("stop", S.END), ("STOP", S.END), ("FINISH_REASON_STOP", S.END), (" End Turn ", S.END), ("eos-token", S.END),
        ("stop_sequence", S.STOP_SEQUENCE), ("length", S.MAX_TOKENS), ("MAX_TOKENS", S.MAX_TOKENS),
        ("max_output_tokens", S.MAX_TOKENS), ("max_new_tokens", S.MAX_TOKENS),
        ("model_context_window_exceeded", S.CONTEXT_EXCEEDED), ("context length", S.CONTEXT_EXCEEDED),
        ("tool_calls", S.TOOL_CALL), ("tool_use", S.TOOL_CALL),
        ("content_filter", S.REFUSAL), ("IMAGE_SAFETY", S.REFUSAL), ("guardrail_intervened", S.REFUSAL),
        ("MALFORMED_FUNCTION_CALL", ErrorKind.API), ("error", ErrorKind.API), ("cancelled", ErrorKind.API),
        ("insufficient_system_resource", ErrorKind.OVERLOADED), ("timeout", ErrorKind.TIMEOUT),
        ("endTurn", S.END), ("toolUse", S.TOOL_CALL), ("maxTokens", S.MAX_TOKENS), ("<|im_end|>", S.END),
        ("ERROR_TOXIC", S.REFUSAL), ("ERROR_LIMIT", S.CONTEXT_EXCEEDED), ("stop-word", S.STOP_SEQUENCE),
        ("policy_violation", S.REFUSAL), ("MODEL_ARMOR", S.REFUSAL), ("ERROR", ErrorKind.API),
        ("num_predict", S.MAX_TOKENS), ("output_limit", S.MAX_TOKENS), ("incomplete", S.MAX_TOKENS),
        ("flagged", S.REFUSAL), ("illegal_content", S.REFUSAL), ("preempted", ErrorKind.API),
        ("connection_closed", ErrorKind.API),
        ("brand_new", None), ("", None),
    ],
)  # fmt: skip
def test_what_a_word_means(word: str, meaning: StopReason | ErrorKind | None) -> None:
    assert read_stop(word) is meaning


def test_what_says_two_things_is_read_by_the_worse() -> None:
    assert read_stop("content_filter_error") is ErrorKind.API
    assert read_stop("max_tokens_exceeded_context") is S.CONTEXT_EXCEEDED
