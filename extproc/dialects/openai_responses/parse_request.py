"""A Responses client's request, read."""

from __future__ import annotations

from typing import Any, Final

from ...llm.failures import ProtocolError
from ...llm.fields import Fields, json_type
from ...llm.losses import LossReport
from ...llm.request import Member, Message, Origin, Output, Reasoning, Request, Sampling
from ..base import ClientCall
from ..shared.members import HOLDS, keep_rest
from ..shared.openai import REQUEST_TIERS
from ..shared.reading import decode
from .names import ToolNames
from .parse_items import ItemReader
from .parse_tools import read_choice, read_tools
from .state import ECHOED, ENCRYPTED, ResponsesState
from .words import NAME

AT: Final = {
    "max_tokens": "max_output_tokens",
    "messages": "input",
    "output": "text.format",
    "output_schema": "text.format.schema",
    "output_name": "text.format.name",
    "output_description": "text.format.description",
    "effort": "reasoning.effort",
    "parallel": "parallel_tool_calls",
    "user_id": "safety_identifier",
    "session_key": "prompt_cache_key",
    "cache": "prompt_cache_breakpoint",
}
_TIERS: Final = {word: tier for tier, word in REQUEST_TIERS.items()}

_STATE: Final = "nothing is stored for this model"
_STORED: Final = {
    "previous_response_id": f"{_STATE}: send the whole conversation in input, with store set to false",
    "conversation": f"{_STATE}: send the whole conversation in input, with store set to false",
    "prompt": f"{_STATE}: send what the prompt says as instructions and input",
    "store": f"{_STATE}: set store to false",
    "background": f"{_STATE}: set background to false",
}
"""Members that need what only the client's own provider keeps, and what to say instead."""
_COST_ONLY: Final = frozenset({"client_metadata", "prompt_cache_options", "prompt_cache_retention"})
"""``client_metadata`` is Codex's, for its provider's statistics."""
_DEFAULTS: Final[dict[str, Any]] = {"metadata": {}, "top_logprobs": 0, "truncation": "disabled"}
_RENAMED: Final = {"context_management": f"{NAME}.context_management"}
"""Members under whose names other APIs have something else."""
_LOGPROBS: Final = "message.output_text.logprobs"


def parse_request(call: ClientCall, losses: LossReport, *, counts: bool = False) -> Request:
    """Raises ProtocolError for what the API does not allow. *counts*: it asks for the number of its tokens only."""
    body = decode(call.body, "")
    fields = Fields(body, "")
    echo = {name: body[name] for name in ECHOED if body.get(name) is not None}
    at, extra, names = dict(AT), dict[str, Member](), ToolNames()
    model = fields.take("model", str, "")
    _stored(fields, extra)
    tools = read_tools(fields.take("tools", list, []), "tools", names, extra)
    reader = ItemReader(names, extra, {tool.name for tool in tools})
    system, messages = _conversation(fields, reader)
    tools += reader.tools
    choice = read_choice(fields, tools, names, extra)
    seals = _include(fields, extra)
    return Request(
        dialect=NAME,
        model=model,
        system=system,
        messages=messages,
        tools=tools,
        tool_choice=choice,
        output=_text(fields, extra),
        reasoning=_reasoning(fields, at),
        sampling=Sampling(_max_tokens(fields), fields.number("temperature"), fields.number("top_p")),
        stream=_stream(fields, extra),
        service_tier=_service_tier(fields, extra),
        session_key=fields.maybe("prompt_cache_key", str) or None,
        user_id=_user_id(fields, at, losses),
        at=at,
        extra=_others(fields, extra),
        client_state=ResponsesState(echo, seals, names.named, names.searches),
        source=Origin(call),
    )


def _stored(fields: Fields, extra: dict[str, Member]) -> None:
    for name, instead in _STORED.items():
        value = fields.any(name)
        if value is None or value is False:
            continue
        problem = f"{name} is not supported: {instead}"
        extra[name] = Member(value, name, essential=True, problem=problem, stored=True, holds=HOLDS.get(name, ""))


def _conversation(fields: Fields, reader: ItemReader) -> tuple[list[Message], list[Message]]:
    """The leading system and developer messages, and the others."""
    instructions = fields.maybe("instructions", str)
    before = [Message("system", instructions, "instructions")] if instructions else []
    value = fields.any("input")
    if type(value) is str:
        return before, [Message("user", value, "input")]
    if value is not None and type(value) is not list:
        raise ProtocolError("input", f"expected a string or an array, got {json_type(value)}")
    reader.read(value or [])
    messages = reader.messages
    leading = next((i for i, message in enumerate(messages) if message.role != "system"), len(messages))
    return before + messages[:leading], messages[leading:]


def _max_tokens(fields: Fields) -> int | None:
    value = fields.maybe("max_output_tokens", int)
    if value is not None and value < 1:
        raise ProtocolError("max_output_tokens", "must be at least 1")
    return value


def _stream(fields: Fields, extra: dict[str, Member]) -> bool:
    options = Fields(fields.take("stream_options", dict, {}), "stream_options")
    options.ignore("include_obfuscation")  # padding of the stream's bytes
    keep_rest(options, extra)
    return fields.take("stream", bool, False)


# ---- the form of the answer


def _text(fields: Fields, extra: dict[str, Member]) -> Output | None:
    text = Fields(dict(fields.take("text", dict, {})), "text")
    form, verbosity = text.maybe("format", dict), text.maybe("verbosity", str)
    if verbosity not in (None, "medium"):
        extra["verbosity"] = Member(verbosity, "text.verbosity")
    keep_rest(text, extra)
    return None if form is None else _output(Fields(dict(form), "text.format"), extra)


def _output(form: Fields, extra: dict[str, Member]) -> Output | None:
    kind = form.take("type", str)
    if kind == "text":
        return None
    if kind == "json_object":
        return Output("json_object")
    if kind != "json_schema":
        problem = f"text.format of type {kind!r} is not supported for this model"
        extra[form.path] = Member(kind, form.at("type"), True, problem, "unsupported_value")
        return None
    output = Output(
        "json_schema",
        form.take("schema", dict),
        form.maybe("name", str),
        form.maybe("description", str),
        form.maybe("strict", bool),
    )
    keep_rest(form, extra)
    return output


def _include(fields: Fields, extra: dict[str, Member]) -> bool:
    """Takes what the answer shall hold besides. Whether it shall hold sealed thinking."""
    seals = False
    for i, value in enumerate(fields.take("include", list, [])):
        path = f"include[{i}]"
        if value == ENCRYPTED:
            seals = True
        elif value == _LOGPROBS:
            problem = "logprobs are not supported for this model"
            extra[path] = Member(value, path, essential=True, problem=problem)
        else:
            extra[path] = Member(value, path)
    return seals


# ---- reasoning


def _reasoning(fields: Fields, at: dict[str, str]) -> Reasoning:
    value = fields.maybe("reasoning", dict)
    if value is None:
        return Reasoning()
    inner = Fields(dict(value), "reasoning")
    effort = inner.maybe("effort", str)
    newer, older = inner.maybe("summary", str), inner.maybe("generate_summary", str)
    summary = newer or older
    for name, default in (("context", "auto"), ("mode", "standard")):
        if value.get(name) == default:
            inner.ignore(name)
    extra = inner.rest()
    if summary not in (None, "auto"):
        extra = {**(extra or {}), "summary": summary}
    if summary is None:
        return Reasoning(effort=effort, extra=extra)
    # Who wants to read of the reasoning wants some, from a model that does not reason by itself too.
    return Reasoning("adaptive" if effort is None else None, effort, display="summarized", extra=extra)


# ---- the rest


def _service_tier(fields: Fields, extra: dict[str, Member]) -> str | None:
    tier = fields.maybe("service_tier", str)
    if tier is not None and tier not in _TIERS:
        extra["service_tier"] = Member(tier, "service_tier")
        return None
    return None if tier is None else _TIERS[tier]


def _user_id(fields: Fields, at: dict[str, str], losses: LossReport) -> str | None:
    newer, older = fields.maybe("safety_identifier", str), fields.maybe("user", str)
    if newer and older and newer != older:
        losses.dropped("user", "safety_identifier is there as well")
    at["user_id"] = "safety_identifier" if newer else "user"
    return newer or older or None


def _others(fields: Fields, extra: dict[str, Member]) -> dict[str, Member]:
    top = fields.take("top_logprobs", int, 0)
    if top:
        problem = "top_logprobs is not supported for this model"
        extra["top_logprobs"] = Member(top, "top_logprobs", essential=True, problem=problem)
    for name, value in (fields.rest() or {}).items():
        if name in _DEFAULTS and value == _DEFAULTS[name]:
            continue
        prewarms = name == "prompt_cache_options" and type(value) is dict and value.get("prewarm") is True
        problem = "prompt_cache_options.prewarm is not supported for this model" if prewarms else ""
        extra[_RENAMED.get(name, name)] = Member(
            value, name, essential=prewarms, problem=problem, cost_only=name in _COST_ONLY
        )
    return extra
