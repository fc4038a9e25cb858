"""What a route may have in Envoy's access log under the names that users of APISIX know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ..llm.events import total
from ..telemetry.record import milliseconds
from ..translation.translation import Translation


class Times:
    """Moments of one exchange in Unix seconds, ``None`` until they come."""

    def __init__(self) -> None:
        self.sent: float | None = None
        """The request was handed to Envoy for the upstream."""
        self.begun: float | None = None
        """The response's headers came."""
        self.done: float | None = None
        """The response's end came."""


def first(translation: Translation, times: Times) -> float | None:
    """When the first of the answer came: content of a stream; of a whole answer, which shows no more, its headers."""
    if translation.streamed:
        return translation.first_content_at
    return times.begun if translation.failed is None and times.done is not None else None


def between(start: float | None, end: float | None) -> float | None:
    """Seconds, ``None`` where one of both is not known."""
    return end - start if start is not None and end is not None else None


def told(names: Sequence[str], translation: Translation, times: Times) -> dict[str, Any]:
    """The variables *names* of a translated exchange, as far as it has come. A number that is not known is 0."""
    usage = translation.usage
    values = {
        "request_type": "ai_stream" if translation.stream_asked else "ai_chat",
        "request_llm_model": translation.model_asked,
        "llm_model": translation.model_sent,
        "llm_time_to_first_token": milliseconds(between(times.sent, first(translation, times))) or 0,
        "apisix_upstream_response_time": milliseconds(between(times.sent, times.done)) or 0,
        "llm_prompt_tokens": usage.input_tokens or 0,
        "llm_completion_tokens": usage.output_tokens or 0,
        "llm_total_tokens": total(usage) or 0,
        "llm_cache_read_input_tokens": usage.cache_read_tokens or 0,
        "llm_cache_creation_input_tokens": usage.cache_write_tokens or 0,
        "llm_reasoning_tokens": usage.reasoning_tokens or 0,
        "llm_stream": "true" if translation.stream_asked else "false",
        "llm_has_tool_calls": "true" if translation.tool_calls else "false",
        "llm_tool_count": translation.traits.tools,
        "llm_end_user_id": translation.traits.end_user,
    }
    return {name: values[name] for name in names}


def told_of_others(names: Sequence[str]) -> dict[str, Any]:
    """The variables *names* of what is no LLM API's."""
    return {name: _OF_OTHERS.get(name, 0) for name in names}


_OF_OTHERS: Final = {
    "request_type": "traditional_http",
    "request_llm_model": "",
    "llm_model": "",
    "llm_stream": "false",
    "llm_has_tool_calls": "false",
    "llm_end_user_id": "",
}
