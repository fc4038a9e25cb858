"""A request, written for Converse and ConverseStream."""

from __future__ import annotations

from typing import Any, Final

from ...llm import signers
from ...llm.losses import Action, LossReport
from ...llm.request import Output, Request
from ..base import Headers, Members, Undo, Upstream, UpstreamCall, encode
from ..shared import claude_schema as subset
from ..shared.claude_reasoning import Plan, Planner
from ..shared.claude_sampling import no_seed_no_penalties, unwanted
from ..shared.history import settled
from ..shared.limits import leave_out, max_tokens, stop_sequences
from ..shared.naming import ToolIds
from ..shared.openai_effort import reasoning_effort
from ..shared.output import enforced, instruction
from ..shared.turns import Turns, system_texts, with_leading_systems
from .emit_blocks import BlockWriter, CachePoints, expanded
from .emit_tools import Tools, write_tools
from .words import CLAUDE, ILLEGAL_IN_TOOL_ID, MAX_TOOL_ID, NAME, write_tier

ROOM_TO_THINK: Final = 8192
"""What a budget of thinking is measured by where nothing says how long the answer may be."""
MAX_METADATA: Final = 16
"""Pairs of ``requestMetadata``."""

CARRIED: Final = frozenset({
    "additionalModelResponseFieldPaths", "guardrailConfig", "outputConfig", "performanceConfig", "projectIdentifier",
    "promptVariables",
})  # fmt: skip
"""Members of this API that a client of another one may send under the same name."""
_SPELT: Final = {"guardrail_config": "guardrailConfig", "performance_config": "performanceConfig"}
CLAUDES: Final = frozenset({"context_management", "inference_geo", "speed"})
"""Members of the Messages API that Claude takes through Converse as well, beside Converse's own."""


def emit_request(request: Request, upstream: Upstream, losses: LossReport, address: tuple[str, str]) -> UpstreamCall:
    """*address*: method and path. Raises Unsupported for what this API cannot carry."""
    return _RequestWriter(request, upstream, losses).write(address)


class _RequestWriter:
    """One request's writing: what the parts decide together is kept here."""

    def __init__(self, request: Request, upstream: Upstream, losses: LossReport) -> None:
        self._request = request = with_leading_systems(settled(request, losses), NAME, losses)
        self._row = upstream.capabilities
        self._losses = losses
        self._own = request.dialect == NAME
        # A profile's name says nothing of the model: a route's quirks may say that it thinks as Claude does.
        self._claude = "claude" in (upstream.model or request.model).lower() or self._row.thinking != "none"
        self._signer = CLAUDE if self._claude else signers.signer(upstream.provider, upstream.model or request.model)
        self._members: Members = {}
        self._more: Members = {}  # additionalModelRequestFields
        self._config: Members = {}  # outputConfig
        self._instructions: list[str] = []
        self._fences = False  # one of them asks for JSON
        marked = sum([tool.cache is not None for tool in request.tools])
        known = self._own or self._claude or self._row.cache_points
        self._points = CachePoints(losses, known=known, tools=marked)

    def write(self, address: tuple[str, str]) -> UpstreamCall:
        request, members = self._request, self._members
        keys = subset.input_names(request.tools) if self._claude and not self._own else {}
        writer = BlockWriter(self._losses, self._points, own=self._own, signer=self._signer, keys=keys)
        system = self._system(writer)
        conversation = self._conversation(writer)
        self._points.come_to_tools()
        tools = write_tools(
            request,
            self._points,
            conversation.names,
            self._losses,
            claude=self._claude,
            forcible=self._row.forced_tool,
        )
        if tools.instruction:
            self._instructions.append(tools.instruction)
        self._output()
        plan = self._plan(conversation, tools)
        prefill = self._claude and self._row.prefill and not plan.thinks and not self._config
        turns = conversation.written(prefill=prefill)
        members["messages"] = [{"role": turn["role"], "content": self._content(turn["content"])} for turn in turns]
        system += [{"text": text} for text in self._instructions]
        if system:
            members["system"] = expanded(system)
        self._inference(plan)
        if tools.config is not None:
            members["toolConfig"] = tools.config
        if not self._own:
            self._points.order(members, request.path_of("cache"))
        if tools.claudes_choice is not None:
            self._more["tool_choice"] = tools.claudes_choice
        self._put_plan(plan)
        self._plain_members()
        self._extensions()
        for name, value in (("outputConfig", self._config), ("additionalModelRequestFields", self._more)):
            if value:
                members[name] = value
        headers: Headers = [("content-type", "application/json")]
        undo = Undo(tools.names, tools.custom, self._fences, subset.undone(keys), self._signer)
        return UpstreamCall(*address, headers, members, request, undo)

    # ---- what is said

    def _system(self, writer: BlockWriter) -> list[Members]:
        out: list[Members] = []
        for message in self._request.system:
            if message.name is not None:
                self._losses.dropped(f"{message.at}.name")
            self._losses.extra(message.at, message.extra)
            if self._own and not isinstance(message.content, str):
                blocks = [writer.content(block) for block in message.content]
            else:
                blocks = [writer.text(text) for text in system_texts(message, self._losses)]
            out += [block for block in blocks if block is not None]
        return out

    def _conversation(self, writer: BlockWriter) -> Turns:
        ids = ToolIds(ILLEGAL_IN_TOOL_ID, MAX_TOOL_ID)
        mid_system = self._row.mid_system and self._claude
        conversation = Turns(writer, ids, mid_system=mid_system, bound_thinking=self._row.preserved_thinking)
        conversation.add_all(self._request.messages)
        return conversation

    def _content(self, content: str | list[Members]) -> list[Members]:
        """A turn's blocks: Converse takes no bare string."""
        if isinstance(content, str):
            return [{"text": content}]
        out = expanded(content)
        names = [block["document"]["name"] for block in out if "document" in block]
        if names and not any("text" in block for block in out):
            self._losses.add("messages", Action.SYNTHESIZED, "the API demands a text beside a document")
            out.append({"text": names[0]})
        return out

    # ---- the form of the answer, and how much to think

    def _output(self) -> None:
        output, request, losses = self._request.output, self._request, self._losses
        if output is None:
            return
        if output.kind == "json_object" or output.schema is None:
            self._instruct(output)
            losses.add(request.path_of("output"), Action.EMULATED, "by an instruction")
            return
        schema = output.schema
        if not self._own:
            reduced = enforced(request, schema, subset.transform, losses, able=self._row.json_schema)
            if reduced is None:
                self._instruct(output)
                return
            schema = reduced
        wanted: Members = {"schema": encode(schema).decode()}
        for name, value in (("name", output.name), ("description", output.description)):
            if value is not None:
                wanted[name] = value
        self._config["textFormat"] = {"type": "json_schema", "structure": {"jsonSchema": wanted}}

    def _instruct(self, output: Output) -> None:
        self._instructions.append(instruction(output))
        self._fences = True

    def _plan(self, conversation: Turns, tools: Tools) -> Plan:
        request, limit = self._request, self._row.max_output
        if not self._claude:
            self._effort()
            return Plan()
        max_tokens = request.sampling.max_tokens or limit or ROOM_TO_THINK
        planner = Planner(request, self._row, claude=True, losses=self._losses)
        plan = planner.plan(max_tokens, forced=tools.forced, unsigned_loop=conversation.answers_unsigned)
        extra = request.reasoning.extra
        if extra and plan.thinking is not None and self._own:
            plan.thinking |= extra
        else:
            self._losses.extra(request.path_of("reasoning"), extra)
        return plan

    def _effort(self) -> None:
        """How much a model that is none of Claude's is to think, where that can be told it here."""
        request, losses, wish = self._request, self._losses, self._request.reasoning
        if wish.mode is None and wish.effort is None and wish.budget is None:
            return
        if self._row.converse_effort == "none":
            losses.dropped(request.path_of("reasoning"), "this model cannot be told here how much to think")
            return
        if self._row.converse_effort == "nova" and "none" in (wish.effort, {"off": "none"}.get(wish.mode or "")):
            return  # it does not think where nobody says so
        word = reasoning_effort(request, self._row, losses, tools=False)
        if word is None and wish.mode == "adaptive":
            word = "medium"
        if word is None:
            return
        if self._row.converse_effort == "openai":
            self._more["reasoning_effort"] = word
            return
        sampling = request.sampling
        if word == "high" and (sampling.max_tokens, sampling.temperature, sampling.top_p) != (None, None, None):
            losses.add(request.path_of("effort"), Action.DOWNGRADED, "to medium: beside high, nothing may be bounded")
            word = "medium"
        self._more["reasoningConfig"] = {"type": "enabled", "maxReasoningEffort": word}

    def _put_plan(self, plan: Plan) -> None:
        if plan.thinking is not None:
            self._more["thinking"] = plan.thinking
        if plan.effort is not None:
            self._config["effort"] = plan.effort

    # ---- sampling

    def _inference(self, plan: Plan) -> None:
        request, losses, wish = self._request, self._losses, self._request.sampling
        config: Members = {}
        if (asked := max_tokens(request, self._row, losses)) is not None:
            config["maxTokens"] = asked
        out_of_place = unwanted(wish, self._row, thinks=plan.thinks)
        for word, name, value in (("temperature", "temperature", wish.temperature), ("top_p", "topP", wish.top_p)):
            if value is None:
                continue
            if word in out_of_place:
                if value != 1:
                    # 1 is the default: leaving it out changes nothing.
                    losses.dropped(request.path_of(word))
            elif value > 1:
                losses.add(request.path_of(word), Action.CLAMPED, "to 1, the highest of this API")
                config[name] = 1
            else:
                config[name] = value
        if stop := stop_sequences(request, self._row, losses, blank=False):
            config["stopSequences"] = stop
        if config:
            self._members["inferenceConfig"] = config
        self._others(out_of_place)

    def _others(self, out_of_place: tuple[str, ...]) -> None:
        """What Converse has no member for."""
        request, losses, wish = self._request, self._losses, self._request.sampling
        if wish.top_k is not None:
            if self._claude and "top_k" not in out_of_place:
                self._more["top_k"] = wish.top_k
            else:
                losses.dropped(request.path_of("top_k"))
        no_seed_no_penalties(request, losses)

    # ---- the rest

    def _plain_members(self) -> None:
        request, losses = self._request, self._losses
        if request.service_tier is not None:
            tier = write_tier(request.service_tier)
            if tier is not None:
                self._members["serviceTier"] = tier
            elif request.service_tier != "auto":
                losses.dropped(request.path_of("service_tier"))
        if request.user_id:
            losses.dropped(request.path_of("user_id"))
        if request.session_key is not None and request.path_of("session_key") != request.path_of("user_id"):
            losses.dropped(request.path_of("session_key"), cost_only=True)
        if request.cache is not None:
            losses.dropped(request.path_of("cache"), "only single blocks can be marked here", cost_only=True)
        if request.betas and self._claude:
            self._more["anthropic_beta"] = list(dict.fromkeys(request.betas))
        elif request.betas:
            losses.dropped(request.path_of("betas"))

    def _extensions(self) -> None:
        for name, member in self._request.extra.items():
            own = _SPELT.get(name, name)
            if self._own and member.path.startswith("additionalModelRequestFields."):
                self._more[name] = member.value
            elif self._own and name.startswith("outputConfig."):
                self._config[name.removeprefix("outputConfig.")] = member.value
            elif self._own or own in CARRIED:
                self._members[member.path if self._own else own] = member.value
            elif name == "metadata" and type(member.value) is dict:
                self._metadata(member.value, member.path)
            elif self._claude and name in CLAUDES:
                self._more[name] = member.value
            else:
                leave_out(member, self._losses)

    def _metadata(self, given: dict[str, Any], path: str) -> None:
        kept = {name: value for name, value in given.items() if type(value) is str and name and value}
        if len(kept) < len(given) or len(kept) > MAX_METADATA:
            self._losses.dropped(path, f"at most {MAX_METADATA} pairs of texts")
        if kept:
            self._members["requestMetadata"] = dict(list(kept.items())[:MAX_METADATA])
