"""A Chat client's request, read."""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from ...llm.failures import ProtocolError
from ...llm.fields import Fields, json_type
from ...llm.losses import LossReport
from ...llm.request import CacheMarker, ClientState, Member, Origin, Output, Reasoning, Request, Sampling
from ..base import ClientCall
from ..shared.members import HOLDS, keep_rest
from ..shared.openai import REQUEST_TIERS
from ..shared.reading import decode
from .parse_messages import read_messages, read_system
from .parse_tools import read_choice, read_tools
from .vocabulary import NAME

AT: Final = {
    "output": "response_format",
    "output_schema": "response_format.json_schema.schema",
    "output_name": "response_format.json_schema.name",
    "output_description": "response_format.json_schema.description",
    "reasoning": "reasoning_effort",
    "effort": "reasoning_effort",
    "user_id": "safety_identifier",
    "session_key": "prompt_cache_key",
    "cache": "cache_control",
}
_TIERS: Final = {word: tier for tier, word in REQUEST_TIERS.items()}
_THINKING: Final[dict[str, Any]] = {
    "enabled": "budget", "adaptive": "adaptive", "disabled": "off", "between_tools": "between_tools",
}  # fmt: skip

_COST_ONLY: Final = frozenset({"prompt_cache_options", "prompt_cache_retention"})
_STATEFUL: Final = frozenset({"container", "mcp_servers"})
"""Members by Anthropic's names, which only a server that knows them can honour; the others of them only tune."""
_DEFAULTS: Final[dict[str, Any]] = {"logit_bias": {}, "metadata": {}, "store": False, "verbosity": "medium"}


class ChatState(ClientState):
    """What the response's emitter needs to know of the request. ``legacy``: the client knows ``function_call`` only."""

    legacy: bool = False


def parse_request(call: ClientCall, losses: LossReport) -> Request:
    """Raises ProtocolError for what the API does not allow."""
    fields = Fields(decode(call.body, ""), "")
    at, extra = dict(AT), dict[str, Member]()
    model = fields.take("model", str, "")
    if "messages" not in fields and "input" in fields:
        raise ProtocolError("input", "this is a request of the Responses API, which is at /v1/responses")
    system, messages = read_messages(fields.take("messages", list))
    if prompt := fields.any("system"):
        system = [read_system(prompt), *system]
    tools, legacy = read_tools(fields, extra)
    legacy = legacy or (not tools and "function_call" in fields)
    choice = read_choice(fields, tools, at, losses, legacy=legacy)
    sampling = _sampling(fields, at, losses)
    stream = fields.take("stream", bool, False)
    _one_plain_choice(fields, extra)
    return Request(
        dialect=NAME,
        model=model,
        system=system,
        messages=messages,
        tools=tools,
        tool_choice=choice,
        output=_output(fields, extra),
        reasoning=_reasoning(fields, at, extra, losses),
        sampling=sampling,
        stream=stream,
        include_usage=_include_usage(fields, extra),
        service_tier=_service_tier(fields, extra),
        session_key=fields.maybe("prompt_cache_key", str) or None,
        user_id=_user_id(fields, at, losses),
        betas=_betas(call.header("anthropic-beta"), fields),
        cache=_cache(fields),
        at=at,
        extra=_others(fields, extra),
        client_state=ChatState(legacy),
        source=Origin(call),
    )


# ---- sampling


def _sampling(fields: Fields, at: dict[str, str], losses: LossReport) -> Sampling:
    return Sampling(
        _max_tokens(fields, at, losses),
        fields.number("temperature"),
        fields.number("top_p"),
        fields.maybe("top_k", int),
        _stop(fields, at),
        fields.maybe("seed", int),
        fields.number("frequency_penalty") or None,
        fields.number("presence_penalty") or None,
    )


def _max_tokens(fields: Fields, at: dict[str, str], losses: LossReport) -> int | None:
    newer, older = fields.maybe("max_completion_tokens", int), fields.maybe("max_tokens", int)
    value, name = (older, "max_tokens") if newer is None else (newer, "max_completion_tokens")
    if newer is not None and older is not None:
        losses.dropped("max_tokens", "max_completion_tokens is there as well")
    at["max_tokens"] = name
    if value is not None and value < 1:
        raise ProtocolError(name, "must be at least 1")
    return value


def _stop(fields: Fields, at: dict[str, str]) -> list[str]:
    value = fields.any("stop")
    if value is None and type(value := fields.any("stop_sequences")) is list:
        at["stop"] = "stop_sequences"
    if value is None:
        return []
    if type(value) is str:
        return [value]
    if type(value) is not list:
        raise ProtocolError("stop", f"expected a string or an array, got {json_type(value)}")
    for i, text in enumerate(value):
        if type(text) is not str:
            raise ProtocolError(f"stop[{i}]", f"expected a string, got {json_type(text)}")
    return value


# ---- the shape of the answer


def _one_plain_choice(fields: Fields, extra: dict[str, Member]) -> None:
    """What would make the answer one of another shape."""

    def essential(name: str, value: Any, problem: str, code: str) -> None:
        extra[name] = Member(value, name, essential=True, problem=f"{problem} for this model", code=code)

    n = fields.take("n", int, 1)
    if n < 1:
        raise ProtocolError("n", "must be at least 1")
    if n > 1:
        essential("n", n, "n must be 1", "unsupported_value")
    logprobs, top = fields.take("logprobs", bool, False), fields.take("top_logprobs", int, 0)
    if logprobs:
        essential("logprobs", logprobs, "logprobs is not supported", "unsupported_parameter")
    if top:
        essential("top_logprobs", top, "top_logprobs is not supported", "unsupported_parameter")
    modalities = fields.take("modalities", list, ["text"])
    if any(modality != "text" for modality in modalities):
        what = "audio" if "audio" in modalities else "another"
        essential("modalities", modalities, f"{what} output is not supported", "unsupported_value")
    if (audio := fields.any("audio")) is not None:
        essential("audio", audio, "audio output is not supported", "unsupported_parameter")


def _output(fields: Fields, extra: dict[str, Member]) -> Output | None:
    if "response_format" not in fields:
        return None
    value = fields.any("response_format")
    form = Fields(value, "response_format")
    kind = form.take("type", str)
    if kind == "text":
        return None
    if kind == "json_object":
        # A schema beside it, as Together and llama.cpp take it, is meant to hold.
        schema = form.maybe("schema", dict)
        keep_rest(form, extra)
        return Output("json_object") if schema is None else Output("json_schema", schema)
    if kind != "json_schema":
        problem = f"response_format of type {kind!r} is not supported for this model"
        extra["response_format"] = Member(value, "response_format.type", True, problem, "unsupported_value")
        return None
    inner = Fields(form.take("json_schema", dict), "response_format.json_schema")
    output = Output(
        "json_schema",
        inner.maybe("schema", dict),
        inner.maybe("name", str),
        inner.maybe("description", str),
        inner.maybe("strict", bool),
    )
    for name, member in {**(form.rest() or {}), **(inner.rest() or {})}.items():
        extra[f"response_format.{name}"] = Member(member, f"response_format.{name}")
    return output


def _include_usage(fields: Fields, extra: dict[str, Member]) -> bool:
    options = Fields(fields.take("stream_options", dict, {}), "stream_options")
    include = options.take("include_usage", bool, False)
    options.ignore("include_obfuscation")  # padding of the stream's bytes
    keep_rest(options, extra)
    return include


# ---- reasoning


def _reasoning(fields: Fields, at: dict[str, str], extra: dict[str, Member], losses: LossReport) -> Reasoning:
    """The first of the ways to say it: Anthropic's ``thinking``, OpenRouter's ``reasoning``, OpenAI's
    ``reasoning_effort``, the switches of those who serve open models."""
    effort = fields.maybe("reasoning_effort", str)
    found: Reasoning | None = None
    config = fields.maybe("output_config", dict)
    if config is not None:
        # Anthropic's place for an effort.
        wished = config.pop("effort", None)
        if type(wished) is str and effort is None:
            effort, at["effort"] = wished, "output_config.effort"
        elif wished is not None:
            losses.dropped("output_config.effort", "reasoning_effort is there as well")
        if config:
            extra["output_config"] = Member(config, "output_config")
    if "thinking" in fields:
        thinking = _thinking(fields.any("thinking"))
        found = _anthropics(thinking, extra)
        at["reasoning"] = "thinking"
        if at["effort"] == "output_config.effort":
            found, effort = replace(found, effort=effort), None
        else:
            at["effort"] = "thinking"
    if "reasoning" in fields and found is not None:
        fields.ignore("reasoning")
        losses.dropped("reasoning", "thinking is there as well")
    elif "reasoning" in fields:
        found = _openrouters(Fields(_openrouters_object(fields.any("reasoning")), "reasoning"))
        at |= {"reasoning": "reasoning", "effort": "reasoning.effort"}
    if found is None and effort is None:
        return _switched(fields, at, extra)
    if found is None:
        return Reasoning(effort=effort)
    if effort is not None and effort != found.effort:
        losses.dropped("reasoning_effort", f"{at['reasoning']} is there as well")
    return found


def _thinking(value: Any) -> dict[str, Any]:
    """An object; its type alone stands for it, and so does whether it is wanted."""
    if type(value) is bool:
        return {"type": "enabled" if value else "disabled"}
    if type(value) is str and value in _THINKING:
        return {"type": value}
    return Fields({"thinking": value}, "").take("thinking", dict)


def _openrouters_object(value: Any) -> Any:
    if type(value) is bool:
        return {"enabled": value}
    return {"effort": value} if type(value) is str else value


def _switched(fields: Fields, at: dict[str, str], extra: dict[str, Member]) -> Reasoning:
    """Qwen's and GLM's ``enable_thinking``, Ollama's ``think``, and what vLLM and SGLang hand to a chat template."""
    for name in ("enable_thinking", "think"):
        value = fields.any(name)
        if type(value) is bool:
            at["reasoning"] = at["effort"] = name
            return Reasoning("adaptive" if value else "off")
        if type(value) is str:
            at["reasoning"] = at["effort"] = name
            return Reasoning(effort=value)
        if value is not None:
            extra[name] = Member(value, name)
    template = fields.any("chat_template_kwargs")
    wanted: list[bool] = []
    if type(template) is dict:
        wanted = [template.pop(name) for name in ("enable_thinking", "thinking") if type(template.get(name)) is bool]
    if template:
        extra["chat_template_kwargs"] = Member(template, "chat_template_kwargs")
    if not wanted:
        return Reasoning()
    at["reasoning"] = at["effort"] = "chat_template_kwargs"
    return Reasoning("adaptive" if all(wanted) else "off")


def _anthropics(thinking: dict[str, Any], extra: dict[str, Member]) -> Reasoning:
    kind, budget, display = thinking.get("type"), thinking.get("budget_tokens"), thinking.get("display")
    if type(kind) is not str:
        raise ProtocolError("thinking.type", "expected a string")
    mode = _THINKING.get(kind)
    if mode is None:
        extra["thinking"] = Member(thinking, "thinking")
        return Reasoning()
    rest = {name: value for name, value in thinking.items() if name not in ("type", "budget_tokens", "display")}
    if type(budget) is str and budget.isdecimal():
        budget = int(budget[:9])
    if mode == "budget" and type(budget) is not int:
        if budget is not None:
            rest["budget_tokens"] = budget
        # A switch without a number, as GLM and DeepSeek have it: Anthropic's own form demands the number.
        return Reasoning("adaptive", extra=rest or None)
    return Reasoning(
        mode,
        budget=budget if mode == "budget" else None,
        display=display if type(display) is str else None,
        extra=rest or None,
    )


def _openrouters(reasoning: Fields) -> Reasoning:
    effort, budget = reasoning.maybe("effort", str), reasoning.maybe("max_tokens", int)
    enabled, exclude = reasoning.maybe("enabled", bool), reasoning.take("exclude", bool, False)
    mode: Any = None
    if enabled is False:
        mode = "off"
    elif enabled and effort is None and budget is None:
        mode = "adaptive"
    return Reasoning(mode, effort, budget, exclude=exclude, extra=reasoning.rest())


# ---- the rest


def _service_tier(fields: Fields, extra: dict[str, Member]) -> str | None:
    tier = fields.maybe("service_tier", str)
    if tier is None:
        return None
    if tier not in _TIERS:
        extra["service_tier"] = Member(tier, "service_tier")
        return None
    return _TIERS[tier]


def _user_id(fields: Fields, at: dict[str, str], losses: LossReport) -> str | None:
    newer, older = fields.maybe("safety_identifier", str), fields.maybe("user", str)
    if newer and older and newer != older:
        losses.dropped("user", "safety_identifier is there as well")
    at["user_id"] = "safety_identifier" if newer else "user"
    return newer or older or None


def _betas(header: str | None, fields: Fields) -> list[str]:
    named = [name.strip() for name in (header or "").split(",")]
    named += [name for name in fields.take("betas", list, []) if type(name) is str]
    return list(dict.fromkeys(name for name in named if name))


def _cache(fields: Fields) -> CacheMarker | None:
    control = fields.maybe("cache_control", dict)
    if control is None:
        return None
    ttl = control.get("ttl")
    return CacheMarker(ttl if type(ttl) is str else None)


def _others(fields: Fields, extra: dict[str, Member]) -> dict[str, Member]:
    for name, value in (fields.rest() or {}).items():
        if name in _DEFAULTS and value == _DEFAULTS[name]:
            continue
        holds = HOLDS.get(name, "")
        if name in _STATEFUL:
            if value:
                problem = f"{name} is not supported for this model"
                extra[name] = Member(value, name, essential=True, problem=problem, holds=holds)
        else:
            extra[name] = Member(value, name, cost_only=name in _COST_ONLY, holds=holds)
    return extra
