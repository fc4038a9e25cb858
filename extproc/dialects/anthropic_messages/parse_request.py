"""A Messages client's request, read."""

from __future__ import annotations

from typing import Any

import msgspec

from ...llm.failures import ProtocolError, Unsupported
from ...llm.fields import Fields, json_type
from ...llm.losses import LossReport
from ...llm.request import (
    Member,
    Message,
    Origin,
    Output,
    Reasoning,
    Request,
    Sampling,
    Text,
    Tool,
    ToolChoice,
    WebSearch,
)
from ..base import Asked, ClientCall
from ..shared.reading import decode
from .parse_blocks import blocks, cache_marker
from .vocabulary import BILLING_LINE, NAME, VERSIONS

AT = {
    "stop": "stop_sequences",
    "reasoning": "thinking",
    "effort": "output_config.effort",
    "parallel": "tool_choice.disable_parallel_tool_use",
    "output": "output_config.format",
    "output_schema": "output_config.format.schema",
    "user_id": "metadata.user_id",
    "session_key": "metadata.user_id",
    "cache": "cache_control",
}
ESSENTIAL = frozenset({"mcp_servers", "container", "thread"})
"""Members without which the answer would be another one: other APIs have nothing like them."""

_THINKING_MODES: dict[str, Any] = {
    "enabled": "budget", "adaptive": "adaptive", "disabled": "off", "between_tools": "between_tools",
}  # fmt: skip
_CHOICE_MODES: dict[str, Any] = {"auto": "auto", "any": "required", "none": "none", "tool": "tool"}
_SERVICE_TIERS = {"standard_only": "standard"}


def parse_request(call: ClientCall, losses: LossReport, asked: Asked | None = None) -> Request:
    """*asked*: what the path says of the model and the stream, where it does. Raises ProtocolError for what the API
    does not allow, Unsupported for an API version that is not known."""
    version = call.header("anthropic-version")
    if version and version not in VERSIONS:
        message = f"anthropic-version: {version!r} is not a known version; there are {', '.join(sorted(VERSIONS))}"
        raise Unsupported("anthropic-version", message, "invalid_value")
    fields = Fields(decode(call.body, ""), "")
    at, extra = dict(AT), dict[str, Member]()
    asked = _asked(fields, asked)
    max_tokens = _max_tokens(fields)
    system, messages = _system(fields, losses), _messages(fields)
    tools = [_tool(tool, f"tools[{i}]", extra) for i, tool in enumerate(fields.take("tools", list, []))]
    choice = _tool_choice(fields)
    reasoning, output = _reasoning_and_output(fields, at, extra, losses)
    user_id, session_key = _metadata(fields, extra)
    tier = fields.maybe("service_tier", str)
    betas = _betas(call.header("anthropic-beta"), fields)
    stop = _stop_sequences(fields)
    temperature, top_p, top_k = fields.number("temperature"), fields.number("top_p"), fields.maybe("top_k", int)
    cache = cache_marker(fields)
    fields.ignore("anthropic_version")  # Bedrock's and Vertex's place for the header's value
    _others(fields, extra)
    return Request(
        dialect=NAME,
        model=asked.model,
        system=system,
        messages=messages,
        tools=tools,
        tool_choice=choice,
        output=output,
        reasoning=reasoning,
        sampling=Sampling(max_tokens, temperature, top_p, top_k, stop),
        stream=asked.stream,
        service_tier=_SERVICE_TIERS.get(tier, tier) if tier else None,
        user_id=user_id,
        session_key=session_key,
        betas=betas,
        api_version=version,
        cache=cache,
        at=at,
        extra=extra,
        source=Origin(call),
    )


def _asked(fields: Fields, by_path: Asked | None) -> Asked:
    if by_path is None:
        return Asked(fields.take("model", str), fields.take("stream", bool, False))
    fields.ignore("model", "stream")
    return by_path


def _max_tokens(fields: Fields) -> int:
    value = fields.take("max_tokens", int)
    if value < 1:
        # Zero fills the provider's cache and answers nothing, which no other API can do.
        raise ProtocolError("max_tokens", "must be at least 1")
    return value


def _system(fields: Fields, losses: LossReport) -> list[Message]:
    value = fields.any("system")
    if value is None or value == "":
        return []
    if type(value) is str:
        return [Message("system", value, "system")]
    if type(value) is not list:
        raise ProtocolError("system", f"expected a string or an array, got {json_type(value)}")
    kept: list[Any] = []
    for block in blocks(value, "system", "system"):
        if type(block) is Text and block.text.startswith(BILLING_LINE):
            losses.dropped(block.at, "Claude Code's billing line, which would spoil caches", cost_only=True)
        else:
            kept.append(block)
    return [Message("system", kept, "system")] if kept else []


def _messages(fields: Fields) -> list[Message]:
    values = fields.take("messages", list)
    if not values:
        raise ProtocolError("messages", "at least one message is required")
    return [_message(value, f"messages[{i}]") for i, value in enumerate(values)]


def _message(value: Any, at: str) -> Message:
    fields = Fields(value, at)
    role: Any = fields.take("role", str)
    if role not in ("user", "assistant", "system"):
        raise ProtocolError(f"{at}.role", f"expected user, assistant or system, got {role!r}")
    content = fields.any("content")
    if type(content) is list:
        content = blocks(content, f"{at}.content", role)
    elif type(content) is not str:
        raise ProtocolError(f"{at}.content", f"expected a string or an array, got {json_type(content)}")
    return Message(role, content, at, extra=fields.rest())


def _tool(value: Any, at: str, extra: dict[str, Member]) -> Tool:
    native = dict(value) if type(value) is dict else None
    fields = Fields(value, at)
    kind = fields.take("type", str, "custom")
    cache = cache_marker(fields)
    if kind == "custom":
        tool = Tool(
            fields.take("name", str),
            description=fields.maybe("description", str),
            schema=fields.maybe("input_schema", dict),
            strict=fields.maybe("strict", bool),
            dialect=NAME,
            at=at,
            cache=cache,
            extra=fields.rest(),
        )
        _programmatic(tool, extra)
        return tool
    name = fields.take("name", str, kind)
    if kind.startswith("web_search_"):
        location = fields.maybe("user_location", dict)
        flat = {k: v for k, v in location.items() if k != "type" and v is not None} if location else None
        search = WebSearch(max_uses=fields.maybe("max_uses", int), user_location=flat or None)
        return Tool(
            name, "web_search", search=search, native=native, dialect=NAME, at=at, cache=cache, extra=fields.rest()
        )
    return Tool(name, "provider", native=native, dialect=NAME, at=at, cache=cache)


def _programmatic(tool: Tool, extra: dict[str, Member]) -> None:
    """A tool that only code in Anthropic's sandbox may call could never be called elsewhere."""
    callers = (tool.extra or {}).get("allowed_callers")
    if type(callers) is list and callers and "direct" not in callers:
        path = f"{tool.at}.allowed_callers"
        problem = f"{path}: a tool that only code may call is not supported for this model"
        extra[path] = Member(callers, path, essential=True, problem=problem, code="unsupported_value")


def _tool_choice(fields: Fields) -> ToolChoice:
    if "tool_choice" not in fields:
        return ToolChoice()
    choice = Fields(fields.any("tool_choice"), "tool_choice")
    kind = choice.take("type", str)
    mode = _CHOICE_MODES.get(kind)
    if mode is None:
        raise ProtocolError("tool_choice.type", f"expected auto, any, none or tool, got {kind!r}")
    names = [choice.take("name", str)] if mode == "tool" else []
    parallel = False if choice.take("disable_parallel_tool_use", bool, False) else None
    return ToolChoice(mode, names, parallel)


def _reasoning_and_output(
    fields: Fields, at: dict[str, str], extra: dict[str, Member], losses: LossReport
) -> tuple[Reasoning, Output | None]:
    config = Fields(fields.take("output_config", dict, {}), "output_config")
    effort = config.maybe("effort", str)
    if effort is not None and "thinking" not in fields:
        at["reasoning"] = AT["effort"]
    reasoning = _reasoning(fields, effort)
    output = _output(config.maybe("format", dict), AT["output"])
    older = fields.maybe("output_format", dict)  # where it stood in the beta of November 2025
    if older is not None and output is not None:
        losses.dropped("output_format", "output_config.format is there as well")
    elif older is not None:
        output = _output(older, "output_format")
        at |= {"output": "output_format", "output_schema": "output_format.schema"}
    for name, value in (config.rest() or {}).items():
        path = config.at(name)
        extra[path] = Member(value, path)
    return reasoning, output


def _reasoning(fields: Fields, effort: str | None) -> Reasoning:
    if "thinking" not in fields:
        return Reasoning(effort=effort)
    thinking = Fields(fields.any("thinking"), "thinking")
    kind = thinking.take("type", str)
    mode = _THINKING_MODES.get(kind)
    if mode is None:
        raise ProtocolError("thinking.type", f"expected enabled, adaptive, disabled or between_tools, got {kind!r}")
    budget = thinking.take("budget_tokens", int) if mode == "budget" else None
    return Reasoning(mode, effort, budget, thinking.maybe("display", str), extra=thinking.rest())


def _output(value: dict[str, Any] | None, at: str) -> Output | None:
    if value is None:
        return None
    form = Fields(value, at)
    if (kind := form.take("type", str)) != "json_schema":
        raise ProtocolError(f"{at}.type", f"expected json_schema, got {kind!r}")
    return Output("json_schema", form.take("schema", dict), form.maybe("name", str))


def _metadata(fields: Fields, extra: dict[str, Member]) -> tuple[str | None, str | None]:
    """The user's id, and what groups a conversation's requests: Claude Code packs both into one JSON text."""
    metadata = Fields(fields.take("metadata", dict, {}), "metadata")
    user_id = metadata.maybe("user_id", str)
    for name, value in (metadata.rest() or {}).items():
        path = metadata.at(name)
        extra[path] = Member(value, path)
    if user_id is None or not user_id.startswith("{"):
        return user_id or None, None
    try:
        packed = msgspec.json.decode(user_id)
    except (msgspec.DecodeError, RecursionError):
        return user_id, None
    account, session = packed.get("account_uuid"), packed.get("session_id")
    return (
        account if type(account) is str and account else user_id,
        session if type(session) is str and session else None,
    )


def _stop_sequences(fields: Fields) -> list[str]:
    values = fields.take("stop_sequences", list, [])
    for i, value in enumerate(values):
        if type(value) is not str:
            raise ProtocolError(f"stop_sequences[{i}]", f"expected a string, got {json_type(value)}")
    return values


def _betas(header: str | None, fields: Fields) -> list[str]:
    """The header's, and those that Bedrock's form of the API has in the body."""
    named = [name.strip() for name in (header or "").split(",")]
    named += [name for name in fields.lenient("anthropic_beta", list, []) if type(name) is str]
    return list(dict.fromkeys(name for name in named if name))


def _others(fields: Fields, extra: dict[str, Member]) -> None:
    for name, value in (fields.rest() or {}).items():
        if name == "speed" and value == "standard":
            continue
        if name in ESSENTIAL:
            if value:
                problem = f"{name} is not supported for this model"
                extra[name] = Member(value, name, essential=True, problem=problem)
        else:
            extra[name] = Member(value, name)
