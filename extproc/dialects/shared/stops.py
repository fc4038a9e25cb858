"""Why a model stopped, in the words of any vendor: by what they mean, in any case and spelling."""

from __future__ import annotations

import re
from typing import Final

from ...llm.events import StopReason
from ...llm.failures import ErrorKind

_EXACT: Final[dict[str, StopReason | ErrorKind]] = {
    "stop": StopReason.END, "end_turn": StopReason.END, "eos": StopReason.END, "eos_token": StopReason.END,
    "end": StopReason.END, "complete": StopReason.END, "completed": StopReason.END, "finished": StopReason.END,
    "done": StopReason.END, "success": StopReason.END, "end_of_text": StopReason.END, "natural": StopReason.END,
    "end_of_turn": StopReason.END, "im_end": StopReason.END, "eot": StopReason.END, "eot_id": StopReason.END,
    "endoftext": StopReason.END, "finish": StopReason.END,
    "stop_sequence": StopReason.STOP_SEQUENCE, "stop_sequences": StopReason.STOP_SEQUENCE,
    "stop_word": StopReason.STOP_SEQUENCE, "stop_words": StopReason.STOP_SEQUENCE,
    "stop_str": StopReason.STOP_SEQUENCE, "stop_string": StopReason.STOP_SEQUENCE,
    "length": StopReason.MAX_TOKENS, "limit": StopReason.MAX_TOKENS, "truncated": StopReason.MAX_TOKENS,
    "max_length": StopReason.MAX_TOKENS, "max_len": StopReason.MAX_TOKENS, "num_predict": StopReason.MAX_TOKENS,
    "incomplete": StopReason.MAX_TOKENS, "model_length": StopReason.CONTEXT_EXCEEDED,  # Mistral
    "function_call": StopReason.TOOL_CALL, "function_calls": StopReason.TOOL_CALL, "tool_use": StopReason.TOOL_CALL,
    "tool_call": StopReason.TOOL_CALL, "tool_calls": StopReason.TOOL_CALL,
    "pause_turn": StopReason.PAUSED, "compaction": StopReason.COMPACTED,
    "refusal": StopReason.REFUSAL, "refused": StopReason.REFUSAL, "recitation": StopReason.REFUSAL,
    "spii": StopReason.REFUSAL,
    "error_toxic": StopReason.REFUSAL, "error_limit": StopReason.CONTEXT_EXCEEDED,  # Cohere
    "insufficient_system_resource": ErrorKind.OVERLOADED,  # DeepSeek
}  # fmt: skip
_MEANT: Final[tuple[tuple[re.Pattern[str], StopReason | ErrorKind], ...]] = (
    (re.compile(r"context.*(?:exceed|full|length|limit|overflow)|exceed.*context"), StopReason.CONTEXT_EXCEEDED),
    (re.compile(r"overload|insufficient_.*resource|capacity|unavailable|busy"), ErrorKind.OVERLOADED),
    (re.compile(r"time_?out"), ErrorKind.TIMEOUT),
    (re.compile(r"malformed|error|fail|abort|cancel|interrupt|unexpected_tool|missing_thought|too_many_tool|exception"
                r"|preempt|kill|disconnect|connection"),
     ErrorKind.API),
    (re.compile(r"max_?(?:\w+_)?tokens?|max_output|(?:token|output)_limit|length"), StopReason.MAX_TOKENS),
    (re.compile(r"content_?filter|safety|sensitive|moderation|blocklist|blocked|prohibited|guardrail|policy|risk|unsafe"
                r"|violat|toxic|model_armor|flagged|harmful|censor|illegal|compliance"),
     StopReason.REFUSAL),
)  # fmt: skip
"""In the order in which they are asked."""


def read_stop(word: str) -> StopReason | ErrorKind | None:
    """What *word* means: a stop; or, as a kind of error, that the answer is not whole through no limit of the
    client's; ``None`` if it is not known."""
    if (spelled := _EXACT.get(word)) is not None:
        return spelled
    # ``endTurn`` and ``<|im_end|>`` are words too.
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word).lower()
    plain = re.sub(r"[^a-z0-9]+", "_", parted).strip("_").removeprefix("finish_reason_").removeprefix("stop_reason_")
    exact = _EXACT.get(plain)
    if exact is not None:
        return exact
    return next((meaning for pattern, meaning in _MEANT if pattern.search(plain)), None)
