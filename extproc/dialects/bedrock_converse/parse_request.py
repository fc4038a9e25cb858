"""A Converse client's request, read (Bedrock Runtime API reference, "Converse", November 2026)."""

from __future__ import annotations

from typing import Any, Final

from ...llm.failures import ProtocolError
from ...llm.fields import Fields, json_type
from ...llm.losses import LossReport
from ...llm.request import (
    Block,
    CacheMarker,
    Member,
    Message,
    Origin,
    Output,
    Reasoning,
    Request,
    Sampling,
    Tool,
    ToolChoice,
)
from ..base import Asked, ClientCall
from ..shared.members import HOLDS, keep_rest
from ..shared.reading import decode
from .parse_blocks import blocks, cache_point
from .words import NAME, read_tier

AT: Final = {
    "max_tokens": "inferenceConfig.maxTokens",
    "temperature": "inferenceConfig.temperature",
    "top_p": "inferenceConfig.topP",
    "top_k": "additionalModelRequestFields.top_k",
    "stop": "inferenceConfig.stopSequences",
    "tools": "toolConfig.tools",
    "tool_choice": "toolConfig.toolChoice",
    "parallel": "additionalModelRequestFields.tool_choice.disable_parallel_tool_use",
    "reasoning": "additionalModelRequestFields.thinking",
    "effort": "outputConfig.effort",
    "output": "outputConfig.textFormat",
    "output_schema": "outputConfig.textFormat.structure.jsonSchema.schema",
    "output_name": "outputConfig.textFormat.structure.jsonSchema.name",
    "output_description": "outputConfig.textFormat.structure.jsonSchema.description",
    "betas": "additionalModelRequestFields.anthropic_beta",
    "service_tier": "serviceTier",
}
PLACES: Final = {
    "max_tokens": AT["max_tokens"],
    "max_completion_tokens": AT["max_tokens"],
    "max_output_tokens": AT["max_tokens"],
    "temperature": AT["temperature"],
    "top_p": AT["top_p"],
    "top_k": AT["top_k"],
    "stop": AT["stop"],
}
"""Where a route's options stand here."""
ESSENTIAL: Final = {
    "guardrailConfig": "no guardrail of Bedrock's looks at what another upstream answers",
    "promptVariables": "a prompt that is kept in Bedrock is not known here",
}
"""Members without which the answer would be another one, and why."""
RENAMED: Final = {"requestMetadata": "metadata"}
"""Members that Chat and Responses have under another name."""

_THINKING: Final[dict[str, Any]] = {
    "enabled": "budget", "adaptive": "adaptive", "disabled": "off", "between_tools": "between_tools",
}  # fmt: skip
_CHOICES: Final[dict[str, Any]] = {"auto": "auto", "any": "required", "tool": "tool"}


def parse_request(call: ClientCall, asked: Asked, losses: LossReport) -> Request:
    """*asked* is what the path says. Raises ProtocolError for what the API does not allow."""
    if not asked.model:
        raise ProtocolError("modelId", "is missing: the path names the model")
    fields = Fields(decode(call.body, ""), "")
    extra: dict[str, Member] = {}
    system = _system(fields)
    messages = _messages(fields, empty=bool(system))
    more = Fields(fields.take("additionalModelRequestFields", dict, {}), "additionalModelRequestFields")
    tools, choice = _tools(fields)
    parallel = _parallel(more)
    output, effort = _output(fields, extra)
    request = Request(
        dialect=NAME,
        model=asked.model,
        system=system,
        messages=messages,
        tools=tools,
        tool_choice=ToolChoice(choice.mode or ("auto" if parallel is False else None), choice.names, parallel),
        output=output,
        reasoning=_reasoning(more, effort),
        sampling=_sampling(fields, more),
        stream=asked.stream,
        service_tier=read_tier(fields.maybe("serviceTier", dict)),
        betas=[name for name in more.lenient("anthropic_beta", list, []) if type(name) is str],
        at=dict(AT),
        extra=extra,
        source=Origin(call),
    )
    _others(fields, more, extra)
    return request


# ---- what is said


def _system(fields: Fields) -> list[Message]:
    content = blocks(fields.take("system", list, []), "system", "system")
    return [Message("system", content, "system")] if content else []


def _messages(fields: Fields, *, empty: bool) -> list[Message]:
    values = fields.take("messages", list)
    if not values and not empty:
        raise ProtocolError("messages", "at least one message is required")
    return [_message(value, f"messages[{i}]") for i, value in enumerate(values)]


def _message(value: Any, at: str) -> Message:
    fields = Fields(value, at)
    role: Any = fields.take("role", str)
    if role not in ("user", "assistant", "system"):
        raise ProtocolError(f"{at}.role", f"expected user, assistant or system, got {role!r}")
    content: list[Block] = blocks(fields.take("content", list), f"{at}.content", role)
    return Message(role, content, at, extra=fields.rest())


# ---- tools


def _tools(fields: Fields) -> tuple[list[Tool], ToolChoice]:
    config = Fields(fields.take("toolConfig", dict, {}), "toolConfig")
    tools: list[Tool] = []
    for i, value in enumerate(config.take("tools", list, [])):
        _add_tool(tools, value, f"toolConfig.tools[{i}]")
    return tools, _choice(config.maybe("toolChoice", dict))


def _add_tool(tools: list[Tool], value: Any, at: str) -> None:
    if type(value) is not dict:
        raise ProtocolError(at, f"expected an object, got {json_type(value)}")
    if (marker := cache_point(value)) is not None:
        if tools:
            tools[-1] = _cached(tools[-1], marker)
        return
    if (spec := value.get("toolSpec")) is None:
        own = value.get("systemTool")
        name = own.get("name") if type(own) is dict else None
        tools.append(Tool(name if type(name) is str else "", "provider", native=value, dialect=NAME, at=at))
        return
    fields = Fields(spec, f"{at}.toolSpec")
    schema = Fields(fields.take("inputSchema", dict, {}), f"{at}.toolSpec.inputSchema")
    tools.append(
        Tool(
            fields.take("name", str),
            description=fields.maybe("description", str),
            schema=schema.maybe("json", dict),
            strict=fields.maybe("strict", bool),
            dialect=NAME,
            at=f"{at}.toolSpec",
            extra=fields.rest(),
        )
    )


def _cached(tool: Tool, marker: CacheMarker) -> Tool:
    return Tool(
        tool.name, tool.kind, tool.description, tool.schema, tool.strict, tool.grammar, tool.search, tool.native,
        tool.dialect, tool.at, marker, tool.extra,
    )  # fmt: skip


def _choice(value: dict[str, Any] | None) -> ToolChoice:
    if not value:
        return ToolChoice()
    kind = next(iter(value))
    if kind not in _CHOICES:
        raise ProtocolError("toolConfig.toolChoice", f"expected auto, any or tool, got {kind!r}")
    if kind != "tool":
        return ToolChoice(_CHOICES[kind])
    return ToolChoice("tool", [Fields(value[kind], "toolConfig.toolChoice.tool").take("name", str)])


def _parallel(more: Fields) -> bool | None:
    """Claude's own switch, which Converse has no word for."""
    choice = more.lenient("tool_choice", dict, {})
    return False if choice.get("disable_parallel_tool_use") is True else None


# ---- how to answer


def _output(fields: Fields, extra: dict[str, Member]) -> tuple[Output | None, str | None]:
    config = Fields(fields.take("outputConfig", dict, {}), "outputConfig")
    effort, form = config.maybe("effort", str), config.maybe("textFormat", dict)
    keep_rest(config, extra)
    if form is None:
        return None, effort
    at = AT["output"]
    text = Fields(form, at)
    if (kind := text.take("type", str)) != "json_schema":
        raise ProtocolError(f"{at}.type", f"expected json_schema, got {kind!r}")
    structure = Fields(text.take("structure", dict), f"{at}.structure")
    wanted = Fields(structure.take("jsonSchema", dict), f"{at}.structure.jsonSchema")
    schema = decode(wanted.take("schema", str).encode(), AT["output_schema"])
    if type(schema) is not dict:
        raise ProtocolError(AT["output_schema"], f"expected the text of an object, got {json_type(schema)}")
    return Output("json_schema", schema, wanted.maybe("name", str), wanted.maybe("description", str), True), effort


def _reasoning(more: Fields, effort: str | None) -> Reasoning:
    value = more.lenient("thinking", dict, {})
    if not value:
        return Reasoning(effort=effort)
    thinking = Fields(value, AT["reasoning"])
    kind = thinking.take("type", str)
    mode = _THINKING.get(kind)
    if mode is None:
        known = ", ".join(_THINKING)
        raise ProtocolError(f"{AT['reasoning']}.type", f"expected one of {known}, got {kind!r}")
    budget = thinking.take("budget_tokens", int) if mode == "budget" else None
    return Reasoning(mode, effort, budget, thinking.maybe("display", str), extra=thinking.rest())


def _sampling(fields: Fields, more: Fields) -> Sampling:
    config = Fields(fields.take("inferenceConfig", dict, {}), "inferenceConfig")
    stop = config.take("stopSequences", list, [])
    for i, value in enumerate(stop):
        if type(value) is not str:
            raise ProtocolError(f"{AT['stop']}[{i}]", f"expected a string, got {json_type(value)}")
    max_tokens = config.maybe("maxTokens", int)
    if max_tokens is not None and max_tokens < 1:
        raise ProtocolError(AT["max_tokens"], "must be at least 1")
    return Sampling(max_tokens, config.number("temperature"), config.number("topP"), more.maybe("top_k", int), stop)


def _others(fields: Fields, more: Fields, extra: dict[str, Member]) -> None:
    for name, value in (fields.rest() or {}).items():
        why = ESSENTIAL.get(name)
        problem = f"{name} is not supported for this model: {why}" if why else ""
        holds = HOLDS.get(name, "")
        extra[RENAMED.get(name, name)] = Member(value, name, essential=why is not None, problem=problem, holds=holds)
    for name, value in (more.rest() or {}).items():
        # What a model alone knows, by its own name: an API of the same model may have it too.
        extra.setdefault(name, Member(value, more.at(name)))
