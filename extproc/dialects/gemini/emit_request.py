"""A request, written for an upstream that speaks the Gemini API."""

from __future__ import annotations

from typing import Any, Final

from ...llm.losses import Action, LossReport
from ...llm.request import Request
from ..base import Headers, Undo, Upstream, UpstreamCall
from ..shared.history import settled
from ..shared.limits import leave_out, max_tokens, stop_sequences
from ..shared.output import enforced, instruction
from ..shared.turns import with_leading_systems
from . import schema as subset
from .emit_contents import Contents
from .emit_tools import write_tools
from .reasoning import thinking_config
from .words import NAME, camel

CARRIED: Final = frozenset({"cachedContent", "labels", "safetySettings"})
"""Members of this API that a client of another one may send under the same name, in either spelling."""
CARRIED_CONFIG: Final = frozenset({
    "audioTimestamp", "enableAffectiveDialog", "enableEnhancedCivicAnswers", "imageConfig", "mediaResolution",
    "modelSelectionConfig", "routingConfig", "speechConfig",
})  # fmt: skip
"""The same of members of ``generationConfig``."""
_TIERS: Final = {"standard": "standard", "flex": "flex", "priority": "priority", "fast": "priority"}
_WITH_CACHE = ("systemInstruction", "tools", "toolConfig")
"""What a cached content holds already: beside it, the API refuses these."""


def emit_request(request: Request, upstream: Upstream, method: str, path: str, losses: LossReport) -> UpstreamCall:
    """Raises Unsupported for what this API cannot carry."""
    return _RequestWriter(request, upstream, losses).write(method, path)


class _RequestWriter:
    def __init__(self, request: Request, upstream: Upstream, losses: LossReport) -> None:
        self._request = request = with_leading_systems(settled(request, losses), NAME, losses)
        self._upstream = upstream
        self._row = upstream.capabilities
        self._losses = losses
        self._own = request.dialect == NAME
        self._members: dict[str, Any] = {}
        self._config: dict[str, Any] = {}

    def write(self, method: str, path: str) -> UpstreamCall:
        request, members = self._request, self._members
        contents = Contents(request, self._row, self._losses)
        tools = write_tools(request, self._row, contents.names, self._losses)
        instruction = self._output(with_tools="tools" in tools.members)
        members["contents"] = contents.written()
        if (system := contents.system(request.system, instruction)) is not None:
            members["systemInstruction"] = system
        members |= tools.members
        if (asked := max_tokens(request, self._row, self._losses)) is not None:
            self._config["maxOutputTokens"] = asked
        self._sampling()
        if stop := stop_sequences(request, self._row, self._losses):
            self._config["stopSequences"] = stop
        if (thinking := thinking_config(request, self._row, self._losses)) is not None:
            self._config["thinkingConfig"] = thinking
        self._who_and_how()
        self._extensions()
        if self._config:
            members["generationConfig"] = self._config
        self._beside_a_cache()
        headers: Headers = [("content-type", "application/json")]
        undo = Undo(tools.names, tools.custom, instruction is not None)
        return UpstreamCall(method, path, headers, members, request, undo)

    # ---- the form of the answer

    def _output(self, *, with_tools: bool) -> str | None:
        """Sets the form; the instruction that must do it instead, if any."""
        output, request = self._request.output, self._request
        if output is None:
            return None
        if with_tools and not self._row.json_with_tools:
            self._losses.add(request.path_of("output"), Action.EMULATED, "by an instruction: there are tools")
            return instruction(output)
        self._config["responseMimeType"] = "application/json"
        if output.kind == "json_object" or output.schema is None:
            return None
        if output.description is not None:
            self._losses.dropped(request.path_of("output_description"))
        if self._row.json_schema_members:
            self._config["responseJsonSchema"] = output.schema
            return None
        schema = enforced(request, output.schema, subset.to_google, self._losses)
        if schema is None:
            return instruction(output)
        self._config["responseSchema"] = schema
        return None

    # ---- sampling

    def _sampling(self) -> None:
        wish = self._request.sampling
        values = {
            "temperature": wish.temperature,
            "topP": wish.top_p,
            "topK": wish.top_k,
            "seed": wish.seed,
            "presencePenalty": wish.presence_penalty,
            "frequencyPenalty": wish.frequency_penalty,
        }
        self._config |= {name: value for name, value in values.items() if value is not None}

    # ---- the rest

    def _who_and_how(self) -> None:
        request, losses = self._request, self._losses
        if request.user_id:
            losses.dropped(request.path_of("user_id"))
        if request.session_key is not None and request.path_of("session_key") != request.path_of("user_id"):
            losses.dropped(request.path_of("session_key"), cost_only=True)
        tier = request.service_tier
        if tier in _TIERS:
            self._members["serviceTier"] = _TIERS[tier]
        elif tier not in (None, "auto"):
            losses.dropped(request.path_of("service_tier"))

    def _extensions(self) -> None:
        for name, member in self._request.extra.items():
            plain = camel(name.rpartition(".")[2])
            if self._own and member.path.startswith(("generationConfig.", "generation_config.")):
                self._config.setdefault(plain, member.value)
            elif plain in CARRIED or self._own:
                self._members.setdefault(plain, member.value)
            elif plain in CARRIED_CONFIG:
                self._config.setdefault(plain, member.value)
            elif plain == "generationConfig" and type(member.value) is dict:
                self._config = {camel(key): value for key, value in member.value.items()} | self._config
            elif plain == "thinking" and self._request.reasoning.mode is not None:
                pass  # read as far as it is understood
            else:
                leave_out(member, self._losses)

    def _beside_a_cache(self) -> None:
        if not self._members.get("cachedContent"):
            return
        for name in _WITH_CACHE:
            if self._members.pop(name, None) is not None:
                word = {"systemInstruction": "system", "toolConfig": "tool_choice"}.get(name, name)
                self._losses.dropped(self._request.path_of(word), "it is the cached content's to say")
