"""A Messages client's request, read."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from ...llm.failures import ProtocolError, Unsupported
from ...llm.fields import Fields, json_type
from ...llm.losses import LossReport
from ...llm.request import (
    Block,
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
)
from ..base import Asked, ClientCall
from ..shared.anthropic import blocks, cache_marker, tool
from ..shared.known_tools import KNOWN, KnownList, OpenedBody, opened
from ..shared.members import HOLDS, keep_rest
from .vocabulary import BILLING, BILLING_LINE, NAME, NO_THREADS, VERSIONS

AT: Final = {
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
ESSENTIAL: Final = frozenset({"mcp_servers", "container", "thread"})
"""Members without which the answer would be another one: other APIs have nothing like them."""
_REFUSED_AS: Final = {"thread": NO_THREADS}

_THINKING_MODES: Final[dict[str, Any]] = {
    "enabled": "budget", "adaptive": "adaptive", "disabled": "off", "between_tools": "between_tools",
}  # fmt: skip
_CHOICE_MODES: Final[dict[str, Any]] = {"auto": "auto", "any": "required", "none": "none", "tool": "tool"}
_SERVICE_TIERS: Final = {"standard_only": "standard"}
_PACKED: Final = re.compile(
    r"user_(?P<device>[0-9a-f]+)_account_(?P<account>[0-9a-f-]*)_session_(?P<session>[0-9a-f-]+)"
)
"""``metadata.user_id`` of Claude Code before it wrote JSON there."""


def parse_request(call: ClientCall, losses: LossReport, asked: Asked | None = None) -> Request:
    """*asked*: what the path says of the model and the stream, where it does. Raises ProtocolError for what the API
    does not allow, Unsupported for an API version that is not known."""
    version = call.header("anthropic-version")
    if version and version not in VERSIONS:
        message = f"anthropic-version: {version!r} is not a known version; there are {', '.join(sorted(VERSIONS))}"
        raise Unsupported("anthropic-version", message, "invalid_value")
    body = opened(call, NAME)
    fields = Fields(body.members, "")
    at, extra = dict(AT), dict[str, Member]()
    asked = _asked(fields, asked)
    max_tokens = _max_tokens(fields)
    system, messages = _system(fields, losses), _messages(fields, losses)
    tools = _tools(fields, body, extra)
    choice = _tool_choice(fields, extra)
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
        return Asked(fields.take("model", str, ""), fields.take("stream", bool, False))
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
        text = _without_billing(value, "system", losses)
        return [Message("system", text, "system")] if text else []
    if type(value) is not list:
        raise ProtocolError("system", f"expected a string or an array, got {json_type(value)}")
    kept = _unbilled(blocks(value, "system", "system"), losses)
    return [Message("system", kept, "system")] if kept else []


def _unbilled(content: list[Block], losses: LossReport) -> list[Block]:
    """*content* without Claude Code's line, and without what had nothing else in it."""
    kept: list[Block] = []
    for block in content:
        if type(block) is not Text or (text := _without_billing(block.text, block.at, losses)) is block.text:
            kept.append(block)
        elif text:
            kept.append(replace(block, text=text))
    return kept


def _without_billing(text: str, at: str, losses: LossReport) -> str:
    """*text* without Claude Code's line, which changes with each request: reported here, wherever it stands."""
    if BILLING not in text:
        return text
    left = BILLING_LINE.sub("", text)
    if left == text:
        return text
    losses.dropped(at, "Claude Code's billing line, which would spoil caches", cost_only=True)
    return left


def _messages(fields: Fields, losses: LossReport) -> list[Message]:
    values = fields.take("messages", list)
    if not values:
        raise ProtocolError("messages", "at least one message is required")
    return [_message(value, f"messages[{i}]", losses) for i, value in enumerate(values)]


def _message(value: Any, at: str, losses: LossReport) -> Message:
    fields = Fields(value, at)
    role: Any = fields.take("role", str)
    if role not in ("user", "assistant", "system"):
        raise ProtocolError(f"{at}.role", f"expected user, assistant or system, got {role!r}")
    content = fields.any("content")
    if type(content) is list:
        content = blocks(content, f"{at}.content", role)
    elif content is None and (role == "assistant" or (role == "system" and "output_config" in fields)):
        content = []
    elif type(content) is not str:
        raise ProtocolError(f"{at}.content", f"expected a string or an array, got {json_type(content)}")
    if role == "system":
        return _mid_system(fields, content, losses)
    return Message(role, content, at, extra=fields.rest())


def _mid_system(fields: Fields, content: str | list[Block], losses: LossReport) -> Message:
    if type(content) is str:
        text = _without_billing(content, fields.path, losses)
        content = text if text or not content else []
    elif isinstance(content, list):
        content = _unbilled(content, losses)
    clear_at = fields.maybe("clear_at", str)
    return Message("system", content, fields.path, extra=fields.rest(), clear_at=clear_at)


def _tools(fields: Fields, body: OpenedBody, extra: dict[str, Member]) -> list[Tool]:
    known = body.known
    if known is None:
        known = KnownList([], {})
        for i, value in enumerate(fields.take("tools", list, [])):
            known.tools.append(_tool(value, f"tools[{i}]", known.extra))
        if body.text:
            KNOWN.keep(NAME, body.text, known)
    extra |= known.extra
    return known.tools.copy()


def _tool(value: Any, at: str, extra: dict[str, Member]) -> Tool:
    read = tool(value, at)
    _programmatic(read, extra)
    return read


def _programmatic(tool: Tool, extra: dict[str, Member]) -> None:
    """A tool that only code in Anthropic's sandbox may call could never be called elsewhere."""
    callers = (tool.extra or {}).get("allowed_callers")
    if type(callers) is list and callers and "direct" not in callers:
        path = f"{tool.at}.allowed_callers"
        problem = f"{path}: a tool that only code may call is not supported for this model"
        extra[path] = Member(callers, path, essential=True, problem=problem, code="unsupported_value")


def _tool_choice(fields: Fields, extra: dict[str, Member]) -> ToolChoice:
    if "tool_choice" not in fields:
        return ToolChoice()
    choice = Fields(fields.any("tool_choice"), "tool_choice")
    kind = choice.take("type", str)
    mode = _CHOICE_MODES.get(kind)
    if mode is None:
        raise ProtocolError("tool_choice.type", f"expected auto, any, none or tool, got {kind!r}")
    names = [choice.take("name", str)] if mode == "tool" else []
    parallel = False if choice.take("disable_parallel_tool_use", bool, False) else None
    keep_rest(choice, extra)
    return ToolChoice(mode, names, parallel)


def _reasoning_and_output(
    fields: Fields, at: dict[str, str], extra: dict[str, Member], losses: LossReport
) -> tuple[Reasoning, Output | None]:
    if "output_config" not in fields and "output_format" not in fields:
        return _reasoning(fields, None), None
    config = Fields(fields.take("output_config", dict, {}), "output_config")
    effort = config.maybe("effort", str)
    if effort is not None and "thinking" not in fields:
        at["reasoning"] = AT["effort"]
    reasoning = _reasoning(fields, effort)
    output = _output(config.maybe("format", dict), AT["output"], extra)
    older = fields.maybe("output_format", dict)  # where it stood in the beta of November 2025
    if older is not None and output is not None:
        losses.dropped("output_format", "output_config.format is there as well")
    elif older is not None:
        output = _output(older, "output_format", extra)
        at |= {"output": "output_format", "output_schema": "output_format.schema"}
    keep_rest(config, extra)
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


def _output(value: dict[str, Any] | None, at: str, extra: dict[str, Member]) -> Output | None:
    if value is None:
        return None
    form = Fields(value, at)
    if (kind := form.take("type", str)) != "json_schema":
        raise ProtocolError(f"{at}.type", f"expected json_schema, got {kind!r}")
    output = Output("json_schema", form.take("schema", dict), form.maybe("name", str))
    keep_rest(form, extra)
    return output


def _metadata(fields: Fields, extra: dict[str, Member]) -> tuple[str | None, str | None]:
    if "metadata" not in fields:
        return None, None
    metadata = Fields(fields.take("metadata", dict), "metadata")
    user_id = metadata.maybe("user_id", str)
    keep_rest(metadata, extra)
    return unpacked(user_id)


def unpacked(user_id: str | None) -> tuple[str | None, str | None]:
    """The user's id, and what groups a conversation's requests: Claude Code packs both into one text. The session is
    none of the id: else each one would be another user's."""
    if user_id is None or not user_id.startswith("{"):
        old = _PACKED.fullmatch(user_id or "")
        return (old["account"] or old["device"], old["session"]) if old else (user_id or None, None)
    try:
        packed = msgspec.json.decode(user_id)
    except (msgspec.DecodeError, RecursionError):
        return user_id, None
    account, device, session = (_word(packed, name) for name in ("account_uuid", "device_id", "session_id"))
    return account or device or (None if session else user_id), session


def _word(packed: dict[str, Any], name: str) -> str | None:
    value = packed.get(name)
    return value if type(value) is str and value else None


def _stop_sequences(fields: Fields) -> list[str]:
    values = fields.take("stop_sequences", list, [])
    for i, value in enumerate(values):
        if type(value) is not str:
            raise ProtocolError(f"stop_sequences[{i}]", f"expected a string, got {json_type(value)}")
    return values


def _betas(header: str | None, fields: Fields) -> list[str]:
    """The header's, and those that Bedrock's form of the API has in the body."""
    if not header and "anthropic_beta" not in fields:
        return []
    named = [name.strip() for name in (header or "").split(",")]
    named += [name for name in fields.lenient("anthropic_beta", list, []) if type(name) is str]
    return list(dict.fromkeys(name for name in named if name))


def _others(fields: Fields, extra: dict[str, Member]) -> None:
    for name, value in (fields.rest() or {}).items():
        if name == "speed" and value == "standard":
            continue
        if name in ESSENTIAL:
            if value:
                problem, code = (
                    f"{name} is not supported for this model",
                    _REFUSED_AS.get(name, "unsupported_parameter"),
                )
                holds = HOLDS.get(name, "")
                extra[name] = Member(value, name, essential=True, problem=problem, code=code, holds=holds)
        else:
            extra[name] = Member(value, name)
