"""A Gemini client's request, read."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import unquote

from ...llm.failures import ProtocolError
from ...llm.fields import json_type
from ...llm.losses import LossReport
from ...llm.request import ClientState, Member, Origin, Output, Reasoning, Request, Sampling
from ..base import ClientCall, encode
from ..shared.reading import decode
from ..values import Asked
from .parse_parts import Reader
from .parse_tools import read_choice, read_tools
from .schema import to_json_schema
from .words import NAME, GeminiFields

AT: Final = {
    "messages": "contents",
    "system": "systemInstruction",
    "tool_choice": "toolConfig.functionCallingConfig",
    "max_tokens": "generationConfig.maxOutputTokens",
    "temperature": "generationConfig.temperature",
    "top_p": "generationConfig.topP",
    "top_k": "generationConfig.topK",
    "seed": "generationConfig.seed",
    "stop": "generationConfig.stopSequences",
    "presence_penalty": "generationConfig.presencePenalty",
    "frequency_penalty": "generationConfig.frequencyPenalty",
    "reasoning": "generationConfig.thinkingConfig",
    "effort": "generationConfig.thinkingConfig.thinkingLevel",
    "output": "generationConfig.responseMimeType",
    "output_schema": "generationConfig.responseSchema",
    "service_tier": "serviceTier",
}
STREAM: Final = ":streamGenerateContent"
COUNT: Final = ":countTokens"
COUNTED: Final = ("generateContentRequest", "generate_content_request")
"""The member that is the request whose tokens are counted."""
VERBS = (":generateContent", STREAM, COUNT)

_MODEL: Final = re.compile(r"/(?:models|tunedModels|endpoints)/([^/]+)\Z")
_SSE: Final = re.compile(r"(?:^|&)(?:\$|%24)?alt=sse(?:&|\Z)")
_TIERS: Final = {"standard": "standard", "flex": "flex", "priority": "priority"}
_STATEFUL: Final = frozenset({"cachedContent"})
_DEFAULTS: Final[dict[str, Any]] = {"labels": {}, "safetySettings": [], "store": False}
_CONFIG_DEFAULTS: Final[dict[str, Any]] = {"mediaResolution": "MEDIA_RESOLUTION_UNSPECIFIED"}


class GeminiAsked(Asked):
    """``array``: a stream of which the client asked for one array, and not for events."""

    array: bool = False


class GeminiState(ClientState):
    """What the response's emitter needs to know of the request. ``array``: the stream is one JSON array, whose elements
    are its messages."""

    array: bool = False
    thoughts: bool = True
    """Thoughts are shown to who asks for them, and only then."""


def model_in(path: str) -> str:
    """The model that *path* names, without its verb; empty when it names none."""
    plain = path.partition("?")[0].rstrip("/")
    for verb in VERBS:
        plain = plain.removesuffix(verb)
    found = _MODEL.search(plain)
    return unquote(found.group(1)) if found else ""


def is_stream(path: str) -> bool:
    return path.partition("?")[0].rstrip("/").endswith(STREAM)


def is_array(path: str) -> bool:
    """Whether a stream from *path* is an array: without ``alt=sse``."""
    return is_stream(path) and _SSE.search(path.partition("?")[2]) is None


def parse_request(call: ClientCall, losses: LossReport) -> Request:
    """Raises ProtocolError for what the API does not allow."""
    fields = GeminiFields(decode(call.body, ""), "")
    at, extra = dict(AT), dict[str, Member]()
    named = fields.take("model", str, "")
    reader = Reader()
    contents = fields.take("contents", list)
    at["system"] = fields.at("systemInstruction")
    system = reader.system(fields.any("systemInstruction"), at["system"])
    messages = reader.messages(contents, fields.at("contents")) if contents or not system else []
    tools = read_tools(fields.any("tools") or [], "tools")
    choice = read_choice(fields.maybe("toolConfig", dict), fields.at("toolConfig"), tools, extra)
    config = GeminiFields(fields.take("generationConfig", dict, {}), fields.at("generationConfig"))
    output = _output(config, at, extra)
    reasoning = _reasoning(config, at)
    sampling = _sampling(config, at)
    _shape(config, extra)
    for name, value in config.left().items():
        if value != _CONFIG_DEFAULTS.get(name, ...):
            extra[f"{config.path}.{name}"] = Member(value, f"{config.path}.{name}")
    tier = fields.maybe("serviceTier", str)
    tier = None if tier is None or tier.lower() == "unspecified" else tier.lower()
    _others(fields, extra)
    return Request(
        dialect=NAME,
        model=model_in(call.path) or named.removeprefix("models/"),
        system=system,
        messages=messages,
        tools=tools,
        tool_choice=choice,
        output=output,
        reasoning=reasoning,
        sampling=sampling,
        stream=is_stream(call.path),
        service_tier=_TIERS.get(tier, tier) if tier else None,
        at=at,
        extra=extra,
        client_state=GeminiState(is_array(call.path), reasoning.display is not None),
        source=Origin(call),
    )


def parse_count(call: ClientCall) -> Request:
    """A request for the number of its tokens: the contents by themselves, or in the request that they are for."""
    body = decode(call.body, "")
    inner = None
    if type(body) is dict:
        inner = next((body[name] for name in COUNTED if name in body), None)
    whole = ClientCall(call.method, call.path, call.headers, encode(inner)) if type(inner) is dict else call
    return parse_request(whole, LossReport())


def _sampling(config: GeminiFields, at: dict[str, str]) -> Sampling:
    for word, path in AT.items():
        if path.startswith("generationConfig.") and path.count(".") == 1:
            at[word] = config.at(path.partition(".")[2])
    max_tokens, top_k = config.maybe("maxOutputTokens", int), config.number("topK")
    if max_tokens is not None and max_tokens < 1:
        raise ProtocolError(config.at("maxOutputTokens"), "must be at least 1")
    stop = config.take("stopSequences", list, [])
    for i, text in enumerate(stop):
        if type(text) is not str:
            raise ProtocolError(f"{config.at('stopSequences')}[{i}]", f"expected a string, got {json_type(text)}")
    return Sampling(
        max_tokens,
        config.number("temperature"),
        config.number("topP"),
        int(top_k) if top_k is not None else None,
        stop,
        config.maybe("seed", int),
        config.number("frequencyPenalty") or None,
        config.number("presencePenalty") or None,
    )


def _reasoning(config: GeminiFields, at: dict[str, str]) -> Reasoning:
    value = config.maybe("thinkingConfig", dict)
    if value is None:
        return Reasoning()
    thinking = GeminiFields(value, config.at("thinkingConfig"))
    at["effort"] = thinking.at("thinkingLevel")
    shown = thinking.take("includeThoughts", bool, False)
    level, budget = thinking.maybe("thinkingLevel", str), thinking.maybe("thinkingBudget", int)
    effort = level.lower() if level and level.upper() != "THINKING_LEVEL_UNSPECIFIED" else None
    mode: Any = None
    if budget == 0:
        mode, budget = "off", None
    elif budget is not None and budget < 0:
        mode, budget = "adaptive", None
    elif budget is not None:
        mode = "budget"
    display = "summarized" if shown else None
    return Reasoning(mode, effort, budget, display, exclude=not shown, extra=thinking.left() or None)


def _output(config: GeminiFields, at: dict[str, str], extra: dict[str, Member]) -> Output | None:
    kind = config.maybe("responseMimeType", str)
    schema, path = config.any("responseJsonSchema"), config.at("responseJsonSchema")
    if schema is None and (google := config.maybe("responseSchema", dict)) is not None:
        schema, path = to_json_schema(google), config.at("responseSchema")
    else:
        config.ignore("responseSchema")
    at |= {"output": config.at("responseMimeType"), "output_schema": path}
    if kind == "text/x.enum":
        problem = f"{at['output']}: an answer that is one of several words is not supported for this model"
        extra[at["output"]] = Member(kind, at["output"], essential=True, problem=problem, code="unsupported_value")
        return None
    if kind in (None, "", "text/plain"):
        return None
    if kind != "application/json":
        raise ProtocolError(at["output"], f"expected application/json or text/plain, got {kind!r}")
    if type(schema) is not dict:
        return Output("json_object")
    return Output("json_schema", schema)


def _shape(config: GeminiFields, extra: dict[str, Member]) -> None:
    """What would make the answer one of another shape."""

    def essential(name: str, value: Any, problem: str) -> None:
        path = config.at(name)
        extra[path] = Member(value, path, essential=True, problem=f"{path}: {problem} for this model")

    count = config.take("candidateCount", int, 1)
    if count > 1:
        essential("candidateCount", count, "more than one candidate is not supported")
    logprobs, wanted = config.any("logprobs"), config.take("responseLogprobs", bool, False)
    if wanted or logprobs:
        essential("responseLogprobs", True, "logprobs are not supported")
    modalities = config.take("responseModalities", list, [])
    if any(str(modality).upper() not in ("TEXT", "MODALITY_UNSPECIFIED") for modality in modalities):
        essential("responseModalities", modalities, "output of another kind than text is not supported")


def _others(fields: GeminiFields, extra: dict[str, Member]) -> None:
    for name, value in fields.left().items():
        plain = next(iter(GeminiFields({name: value}, "").rest() or {name: value}))
        if plain in _DEFAULTS and value == _DEFAULTS[plain]:
            continue
        problem = f"{name} is not supported for this model" if plain in _STATEFUL and value else ""
        extra[name] = Member(value, name, essential=bool(problem), problem=problem)
