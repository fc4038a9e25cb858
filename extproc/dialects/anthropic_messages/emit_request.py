"""A request, written for an upstream that speaks the Messages API."""

from __future__ import annotations

import re
from typing import Any, Final

from ...llm import signers
from ...llm.failures import Unsupported
from ...llm.losses import Action, LossReport
from ...llm.request import Request
from ..base import Headers, Undo, Upstream, UpstreamCall
from ..shared import claude_schema as subset
from ..shared.claude_reasoning import Plan, Planner
from ..shared.claude_sampling import no_seed_no_penalties, unwanted
from ..shared.limits import leave_out, max_tokens, stop_sequences
from ..shared.naming import ToolIds, sha256
from ..shared.output import enforced, instruction
from ..shared.turns import Turns, system_texts
from .emit_blocks import BlockWriter, with_cache
from .emit_tools import Tools, write_tools
from .marks import settle_marks
from .vocabulary import BINDING_BETA, FAMILY, ILLEGAL_IN_TOOL_ID, KNOWN_BETAS, UPSTREAM_VERSION

DEFAULT_MAX_TOKENS: Final = 8192
"""For a model of which nothing is known. The API demands the member; a large value costs nothing by itself."""
MAX_USER_ID: Final = 256


CARRIED: Final = frozenset({
    "billing_policy", "compaction", "container", "context_management", "diagnostics", "fallback_credit_token",
    "fallbacks", "inference_geo", "mcp_servers", "speed", "thread",
})  # fmt: skip
"""Members of this API that a client of another one may send under the same name."""
_HEADERS: Final = {"user_profile_id": "anthropic-user-profile-id", "workspace_id": "anthropic-workspace-id"}

_SERVICE_TIERS: Final = {"auto": "auto", "priority": "auto", "fast": "auto"}
_PHONE: Final = re.compile(r"\+?[\d\s().-]{7,}\Z")


def emit_request(request: Request, upstream: Upstream, losses: LossReport, address: tuple[str, str]) -> UpstreamCall:
    """*address*: method and path. Raises Unsupported for what this API cannot carry."""
    return _RequestWriter(request, upstream, losses).write(address)


class _RequestWriter:
    """One request's writing: what the parts decide together is kept here."""

    def __init__(self, request: Request, upstream: Upstream, losses: LossReport) -> None:
        self._request = request
        self._upstream = upstream
        self._row = upstream.capabilities
        self._losses = losses
        model = upstream.model or request.model
        self._claude = "claude" in model.lower()
        self._signer = signers.signer(upstream.provider, model)
        self._own = request.dialect in FAMILY
        self._betas: list[str] = []
        self._headers: Headers = [("content-type", "application/json"), ("anthropic-version", UPSTREAM_VERSION)]
        self._members: dict[str, Any] = {}
        self._instruction: str | None = None
        self._output: dict[str, Any] | None = None

    def write(self, address: tuple[str, str]) -> UpstreamCall:
        request, members = self._request, self._members
        members["model"] = request.model
        members["max_tokens"] = max_tokens = self._max_tokens()
        self._betas += request.betas
        writer = BlockWriter(
            self._losses,
            self._betas,
            own=self._own,
            strict_text=self._claude,
            addresses=self._row.url_sources,
            signer=self._signer,
            keys=subset.input_names(request.tools),
        )
        conversation = self._conversation(writer)
        self._decide_output()
        if (system := self._system(writer)) is not None:
            members["system"] = system
        tools = write_tools(request, self._row, conversation.names, self._losses)
        plan = self._plan(conversation, max_tokens, tools)
        prefill = self._row.prefill and not plan.thinks and self._output is None
        members["messages"] = conversation.written(prefill=prefill)
        if tools.tools:
            members["tools"] = tools.tools
        if tools.choice is not None:
            members["tool_choice"] = tools.choice
        self._betas += tools.betas
        self._put_plan(plan)
        self._sampling(plan)
        self._plain_members()
        self._extensions()
        self._put_betas()
        settle_marks(members, self._losses, request.path_of("cache"))
        undo = Undo(tools.names, tools.custom, self._instruction is not None, tools.keys, self._signer)
        return UpstreamCall(*address, self._headers, members, request, undo)

    # ---- size

    def _max_tokens(self) -> int:
        asked = max_tokens(self._request, self._row, self._losses)
        return asked or self._row.max_output or DEFAULT_MAX_TOKENS

    # ---- what is said

    def _conversation(self, writer: BlockWriter) -> Turns:
        mid_system = self._row.mid_system and self._claude
        ids = ToolIds(ILLEGAL_IN_TOOL_ID)
        conversation = Turns(writer, ids, mid_system=mid_system, bound_thinking=self._row.preserved_thinking)
        if not self._request.messages and not self._request.system:
            raise Unsupported("messages", "messages must hold at least one message", "invalid_value")
        conversation.add_all(self._request.messages)
        return conversation

    def _system(self, writer: BlockWriter) -> str | list[dict[str, Any]] | None:
        sources = self._request.system
        blocks: list[dict[str, Any]] = []
        for message in sources:
            if message.name is not None:
                self._losses.dropped(f"{message.at}.name")
            self._losses.extra(message.at, message.extra)
            blocks += [out for text in system_texts(message, self._losses) if (out := writer.text(text)) is not None]
        if self._instruction is not None:
            blocks.append({"type": "text", "text": self._instruction})
        elif len(sources) == 1 and type(sources[0].content) is str and blocks:
            return sources[0].content
        return blocks or None

    # ---- the form of the answer

    def _decide_output(self) -> None:
        output, request, losses = self._request.output, self._request, self._losses
        if output is None:
            return
        if output.kind == "json_object" or output.schema is None:
            self._instruction = instruction(output)
            losses.add(request.path_of("output"), Action.EMULATED, "by an instruction")
            return
        for word, value in (("output_name", output.name), ("output_description", output.description)):
            if value is not None:
                losses.dropped(request.path_of(word))
        schema = enforced(request, output.schema, subset.transform, losses, able=self._row.json_schema)
        if schema is None:
            self._instruction = instruction(output)
        else:
            self._output = {"type": "json_schema", "schema": schema}

    # ---- thinking

    def _plan(self, conversation: Turns, max_tokens: int, tools: Tools) -> Plan:
        request = self._request
        planner = Planner(request, self._row, claude=self._claude, losses=self._losses)
        verbatim = request.extra.get("thinking")
        if verbatim is not None and type(verbatim.value) is dict and type(verbatim.value.get("type")) is str:
            plan = Plan(dict(verbatim.value))
        else:
            plan = planner.plan(max_tokens, forced=tools.forced, unsigned_loop=conversation.answers_unsigned)
            self._carry_reasoning_extra(plan)
        if conversation.replays_thinking and self._row.preserved_thinking:
            self._bind(plan)
        return plan

    def _carry_reasoning_extra(self, plan: Plan) -> None:
        extra = self._request.reasoning.extra
        verbatim = self._own or (not self._claude and self._request.path_of("reasoning") == "thinking")
        if extra and verbatim and plan.thinking is not None:
            plan.thinking |= extra
        else:
            self._losses.extra(self._request.path_of("reasoning"), extra)

    def _bind(self, plan: Plan) -> None:
        """Replayed thinking that no longer fits its conversation is left out by the provider; by default it refuses the
        request, and nobody could send it again (Anthropic, "Preserved thinking")."""
        if plan.thinking is None:
            plan.thinking = {"type": "adaptive"}
        if plan.thinks:
            plan.thinking.setdefault("block_binding", {"prefix_mismatch_behavior": "drop_block"})

    def _put_plan(self, plan: Plan) -> None:
        if plan.thinking is not None:
            self._members["thinking"] = plan.thinking
            if "block_binding" in plan.thinking:
                self._betas.append(BINDING_BETA)
        config: dict[str, Any] = {}
        if plan.effort is not None:
            config["effort"] = plan.effort
        if self._output is not None:
            config["format"] = self._output
        for name, member in self._request.extra.items():
            if name == "output_config" and type(member.value) is dict:
                config |= member.value
            elif self._own and _is_of_config(name):
                config[name.removeprefix("output_config.")] = member.value
        if config:
            self._members["output_config"] = config

    # ---- sampling

    def _sampling(self, plan: Plan) -> None:
        request, losses = self._request, self._losses
        wish = request.sampling
        values = {"temperature": wish.temperature, "top_p": wish.top_p, "top_k": self._top_k()}
        for name in unwanted(wish, self._row, thinks=plan.thinks):
            value = values.pop(name)
            if value is not None and not (value == 1 and name != "top_k"):
                # 1 is the default: leaving it out changes nothing.
                losses.dropped(request.path_of(name))
        temperature = values.get("temperature")
        if temperature is not None and temperature > 1:
            values["temperature"] = 1
            losses.add(request.path_of("temperature"), Action.CLAMPED, "to 1, the highest of this API")
        self._members |= {name: value for name, value in values.items() if value is not None}
        no_seed_no_penalties(request, losses)
        if stop := stop_sequences(request, self._row, losses, blank=False):
            self._members["stop_sequences"] = stop

    def _top_k(self) -> int | None:
        member = self._request.extra.get("top_k")
        if self._request.sampling.top_k is None and member is not None and type(member.value) is int:
            return member.value
        return self._request.sampling.top_k

    # ---- the rest

    def _plain_members(self) -> None:
        request, members, losses = self._request, self._members, self._losses
        if request.stream:
            members["stream"] = True
        if request.user_id:
            members["metadata"] = {"user_id": _user_id(request.user_id)}
        if request.service_tier == "batch":
            losses.dropped(request.path_of("service_tier"))
        elif request.service_tier is not None:
            members["service_tier"] = _SERVICE_TIERS.get(request.service_tier, "standard_only")
            if request.service_tier == "fast":
                losses.add(request.path_of("service_tier"), Action.DOWNGRADED, "to auto")
        if request.session_key is not None and request.path_of("session_key") != request.path_of("user_id"):
            losses.dropped(request.path_of("session_key"), cost_only=True)
        with_cache(members, request.cache)

    def _extensions(self) -> None:
        for name, member in self._request.extra.items():
            if name in CARRIED:
                self._members[name] = member.value
            elif name in _HEADERS and type(member.value) is str:
                self._headers.append((_HEADERS[name], member.value))
            elif name == "cache_control" and type(member.value) is dict:
                self._members.setdefault(name, member.value)
            elif name == "betas" and type(member.value) is list:
                self._betas += [beta for beta in member.value if type(beta) is str]
            elif self._taken_elsewhere(name):
                pass
            else:
                leave_out(member, self._losses)

    def _taken_elsewhere(self, name: str) -> bool:
        if self._own and (_is_of_config(name) or name.startswith("tools[")):
            return True
        return name in ("thinking", "output_config", "top_k")

    def _put_betas(self) -> None:
        """One header with those names that the provider knows; a model of another maker gets none."""
        if not self._claude:
            return
        wanted = list(dict.fromkeys(self._betas))
        for name in wanted:
            if name not in KNOWN_BETAS:
                self._losses.dropped(self._request.path_of("betas"), f"{name} is not a known beta")
        if known := [name for name in wanted if name in KNOWN_BETAS]:
            self._headers.append(("anthropic-beta", ",".join(known)))


def _is_of_config(name: str) -> bool:
    return name.startswith("output_config.") and "." not in name.removeprefix("output_config.")


def _user_id(user_id: str) -> str:
    """Anthropic forbids names, addresses and phone numbers here."""
    if "@" in user_id or len(user_id) > MAX_USER_ID or _PHONE.match(user_id):
        return sha256(user_id)
    return user_id
