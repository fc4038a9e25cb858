"""The features, as data: what a client sends, what its upstream answers, and what must come through.

A feature is written once, in the vocabulary. Each client's API says the request in its own words, each upstream's the
answer; where an API has no words for it, the feature does not concern the pair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from ..frozen import Frozen
from ..llm import signers
from ..llm.events import (
    BlockEnded,
    Citation,
    CitationAdded,
    ResponseEnded,
    ResponseEvent,
    ResponseFailed,
    ResponseStarted,
    StopReason,
    TextDelta,
    TextStarted,
    ThinkingDelta,
    ThinkingSealed,
    ThinkingStarted,
    ToolCallStarted,
    ToolInputDelta,
    Usage,
)
from ..llm.failures import ErrorKind
from ..llm.fold import Folded
from ..llm.request import (
    Audio,
    CacheMarker,
    Document,
    Image,
    Message,
    Output,
    Reasoning,
    Request,
    Sampling,
    Source,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    WebSearch,
)
from . import reading

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
PDF = "JVBERi0xLjEKJSVFT0YK"
WEATHER = Tool(
    "get_weather",
    description="The weather of a city",
    schema={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
COUNTS = Usage(input_tokens=31, output_tokens=12)


def _asks(text: str = "What is this?", *more: Any, **members: Any) -> Request:
    content = [Text(text), *more] if more else text
    return Request(dialect="", model="", messages=[Message("user", content)], **members)


def _continues(*results: ToolResult) -> Request:
    said = [ToolCall(r.id, "get_weather", input={"city": city}) for r, city in zip(results, _CITIES, strict=False)]
    history = [Message("user", "How is the weather?"), Message("assistant", [*said]), Message("tool", [*results])]
    return Request(dialect="", model="", messages=history, tools=[WEATHER])


_CITIES = ("Paris", "Rome")


Told = tuple[ResponseEvent, ...]
"""An answer, or a block of one, as events."""


def _answers(*blocks: Told, stop: StopReason = StopReason.END, usage: Usage = COUNTS) -> Told:
    return ResponseStarted("answer-1", "", usage), *(e for block in blocks for e in block), ResponseEnded(stop, usage)


def _says(block: int, *pieces: str) -> Told:
    return TextStarted(block), *(TextDelta(block, piece) for piece in pieces), BlockEnded(block)


def _calls(block: int, city: str, signature: str | None = None) -> Told:
    pieces = ('{"ci', f'ty": "{city}"', "}")
    start = ToolCallStarted(block, f"call_{block}", "get_weather", signature=signature)
    return start, *(ToolInputDelta(block, piece) for piece in pieces), BlockEnded(block)


def _thinks(block: int, *pieces: str) -> Told:
    return ThinkingStarted(block), *(ThinkingDelta(block, piece) for piece in pieces), BlockEnded(block)


def _sealed(signature: str | None, encrypted: str | None, signer: str) -> Told:
    sealed = ThinkingSealed(0, signature, encrypted, signer)
    return ThinkingStarted(0), ThinkingDelta(0, "Let me see."), sealed, BlockEnded(0)


def _calls_after(thinking: Told) -> Told:
    return _answers(thinking, _calls(1, "Paris"), stop=StopReason.TOOL_CALL)


_PROOFS = {
    "anthropic_messages": ("c2lnbmVk", None, signers.CLAUDE),
    "bedrock_converse": ("c2lnbmVk", None, signers.CLAUDE),
    "openai_responses": (None, "c2VhbGVk", "openai-responses-v1"),
}
"""Who signs its thinking, or seals it."""


def _cited(block: int, text: str, url: str) -> Told:
    cited = Citation("url", "", url=url, title="A page", start=0, end=len(text))
    return TextStarted(block), TextDelta(block, text), CitationAdded(block, cited), BlockEnded(block)


HELLO = _answers(_says(0, "Hello", ", wor", "ld."))


class Feature(Frozen):
    """One row of the table. ``sent`` reads the request at the upstream, ``got`` the answer at the client; one of the
    two is set."""

    name: str
    title: str
    request: Request
    answer: Told = HELLO
    natively: dict[str, Told] = {}
    """By upstream, where only these APIs have it, each its own."""
    sent: Callable[[Request], Any] | None = None
    got: Callable[[Folded], Any] | None = None
    cut: bool = False
    """The upstream breaks off in the middle of its stream."""
    plain: bool = False
    """Asked of a model that does not reason: those that do choose their tokens themselves."""
    echo: bool = False
    """The answer goes back to the upstream as the turn before the next question, and is read there."""


_PARALLEL = _answers(_calls(0, "Paris"), _calls(1, "Rome"), stop=StopReason.TOOL_CALL)
_ASKED_WEATHER = _asks("How is the weather in Paris and in Rome?", tools=[WEATHER])
_IMAGE = Image(Source("base64", PNG, "image/png"))
_RESULT_IMAGE = ToolResult("call_0", [Text("the radar"), _IMAGE])
_BOTH = _continues(ToolResult("call_0", "18 degrees"), ToolResult("call_1", "21 degrees"))
_MARKED = [Message("system", [Text("Be brief.", cache=CacheMarker())])]


def _fails(kind: ErrorKind, status: int) -> Told:
    return (ResponseFailed(kind, "The provider says no.", status),)


_SEARCH = Tool("web_search", kind="web_search", search=WebSearch())
_BROKEN = *HELLO[:3], ResponseFailed(ErrorKind.OVERLOADED, "The provider is overloaded.")

FEATURES: tuple[Feature, ...] = (
    Feature("text", "text of the user", _asks(), sent=reading.user_text),
    Feature("system", "system prompt", _asks(system=[Message("system", "Be brief.")]), sent=reading.system_text),
    Feature("images", "images, base64", _asks("What is this?", _IMAGE), sent=reading.images),
    Feature(
        "image_urls", "images by address",
        _asks("What is this?", Image(Source("url", "https://example.com/cat.png"))), sent=reading.images,
    ),
    Feature(
        "documents", "documents, PDF",
        _asks("Sum it up.", Document(Source("base64", PDF, "application/pdf"), title="report.pdf")),
        sent=reading.documents,
    ),
    Feature("tools", "tools", _ASKED_WEATHER, sent=reading.tools),
    Feature(
        "tool_choice", "a certain tool demanded",
        replace(_ASKED_WEATHER, tool_choice=ToolChoice("tool", ["get_weather"])), sent=reading.tool_choice,
    ),
    Feature(
        "one_call", "one call at a time",
        replace(_ASKED_WEATHER, tool_choice=ToolChoice("auto", parallel=False)), sent=reading.one_call,
    ),
    Feature("history", "calls in the history", _BOTH, sent=reading.calls),
    Feature("results", "parallel results", _BOTH, sent=reading.results),
    Feature("result_images", "results with images", _continues(_RESULT_IMAGE), sent=reading.result_images),
    Feature(
        "failed_results", "results that are errors",
        _continues(ToolResult("call_0", "no such city", is_error=True)), sent=reading.failed_results,
    ),
    Feature("effort", "reasoning effort", _asks(reasoning=Reasoning(effort="high")), sent=reading.effort),
    Feature(
        "schema", "structured output",
        _asks("Who is it?", output=Output("json_schema", PERSON, "person", strict=True)), sent=reading.schema,
    ),
    Feature("json", "JSON mode", _asks("Answer in JSON.", output=Output("json_object")), sent=reading.json_asked),
    Feature("cache", "cache markers", _asks(system=_MARKED), sent=reading.cache_markers),
    Feature(
        "sampling", "temperature and top_p",
        _asks(sampling=Sampling(temperature=0.5, top_p=0.9)), sent=reading.sampling, plain=True,
    ),
    Feature("max_tokens", "bound on the answer", _asks(sampling=Sampling(max_tokens=2048)), sent=reading.max_tokens),
    Feature("stop", "stop sequences", _asks(sampling=Sampling(stop=["END"])), sent=reading.stop, plain=True),
    Feature("seed", "seed", _asks(sampling=Sampling(seed=7)), sent=reading.seed),
    Feature("user", "end user's id", _asks(user_id="user-7"), sent=reading.names_user),
    Feature(
        "signatures", "thinking that comes back, with its signature",
        _asks("How is the weather?", tools=[WEATHER], reasoning=Reasoning(effort="high")),
        natively={name: _calls_after(_sealed(*proof)) for name, proof in _PROOFS.items()},
        sent=reading.signatures, echo=True,
    ),
    Feature(
        "call_signatures", "calls that come back, with their signature",
        _asks("How is the weather?", tools=[WEATHER]),
        natively={"gemini": _answers(_calls(0, "Paris", "c2lnbmVk"), stop=StopReason.TOOL_CALL)},
        sent=reading.signatures, echo=True,
    ),
    Feature("audio", "audio", _asks("What is said?", Audio("UklGRg==", "wav")), sent=reading.audio),
    Feature("web_search", "the provider's web search", _asks(tools=[_SEARCH]), sent=reading.searches),
    # ---- answers
    Feature("answer", "text of the answer", _asks(), got=reading.answer_text),
    Feature(
        "thinking", "thinking",
        _asks(reasoning=Reasoning(effort="high")),
        _answers(_thinks(0, "Let me", " see."), _says(1, "Yes.")), got=reading.thinking,
    ),
    Feature("calls", "parallel calls", _ASKED_WEATHER, _PARALLEL, got=reading.made_calls),
    Feature(
        "citations", "citations of pages", _asks(),
        _answers(_cited(0, "It is so.", "https://example.com/a")), got=reading.citations,
    ),
    Feature("usage", "token counts", _asks(), got=reading.usage),
    Feature(
        "cache_usage", "tokens read from a cache", _asks(),
        _answers(_says(0, "Yes."), usage=Usage(131, 12, 100)), got=reading.cache_usage,
    ),
    Feature(
        "reasoning_usage", "tokens of reasoning", _asks(),
        _answers(_says(0, "Yes."), usage=Usage(31, 112, reasoning_tokens=100)), got=reading.reasoning_usage,
    ),
    Feature(
        "stop_length", "ended by the bound", _asks(),
        _answers(_says(0, "Once upon"), stop=StopReason.MAX_TOKENS), got=reading.stop_reason,
    ),
    Feature("stop_tools", "ended to call tools", _ASKED_WEATHER, _PARALLEL, got=reading.stop_reason),
    Feature(
        "stop_refusal", "refused by the model", _asks(),
        _answers(_says(0, "No."), stop=StopReason.REFUSAL), got=reading.stop_reason,
    ),
    Feature("rate_limit", "error: rate limit", _asks(), _fails(ErrorKind.RATE_LIMIT, 429), got=reading.failure),
    Feature("overloaded", "error: overloaded", _asks(), _fails(ErrorKind.OVERLOADED, 503), got=reading.failure),
    Feature("bad_request", "error: bad request", _asks(), _fails(ErrorKind.INVALID_REQUEST, 400), got=reading.failure),
    Feature("broken", "an error in mid-answer", _asks(), _BROKEN, got=reading.is_failed),
    Feature("cut", "a stream that is cut", _asks(), got=reading.is_failed, cut=True),
)  # fmt: skip

BY_NAME = {feature.name: feature for feature in FEATURES}
