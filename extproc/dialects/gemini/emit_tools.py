"""Tools and the choice among them, written for the Gemini API."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct

from ...capabilities import Capabilities
from ...llm.failures import Unsupported
from ...llm.losses import LossReport
from ...llm.request import Request, Tool, WebSearch
from ..shared import freeform
from ..shared.naming import tool_name
from ..shared.schemas import NotInSubset, repaired
from ..shared.tools import carried, check_choice, leave_out, renamed
from . import schema as subset
from .words import NAME

_FREE_TEXT: Final = {name: value for name, value in freeform.SCHEMA.items() if name != "additionalProperties"}
_MODES: Final = {"auto": "AUTO", "none": "NONE", "required": "ANY", "tool": "ANY"}


class Tools(Struct):
    """What a request says of tools: the members to write, and what must be undone in the response."""

    members: dict[str, Any] = {}
    names: dict[str, str] = {}
    """As sent -> as the client knows them, where they differ."""
    custom: frozenset[str] = frozenset()


def function_name(name: str) -> str:
    """*name* as Gemini takes it: as other APIs do, but that it begins with a letter or an underscore."""
    fitting = tool_name(name)
    return fitting if fitting[0].isalpha() or fitting[0] == "_" else f"_{fitting[:63]}"


def write_tools(request: Request, row: Capabilities, called: Iterable[str], losses: LossReport) -> Tools:
    """*called*: the names of the tools in the conversation so far, by the client's names. Raises Unsupported."""
    writer = _ToolWriter(request, row, losses)
    out = Tools(writer.write())
    out.names = renamed(request, called, function_name)
    out.custom = freeform.names(request)
    return out


class _ToolWriter:
    def __init__(self, request: Request, row: Capabilities, losses: LossReport) -> None:
        self._request = request
        self._choice = request.tool_choice
        self._row = row
        self._losses = losses
        self._strict = False

    def write(self) -> dict[str, Any]:
        writers = {"function": self._function, "custom": self._custom, "web_search": self._web_search}
        written = [
            (tool, out)
            for tool in self._request.tools
            if (out := carried(self._request, tool, NAME, self._losses, writers)) is not None
        ]
        declared = [out for tool, out in written if tool.kind in ("function", "custom")]
        groups: list[dict[str, Any]] = [{"functionDeclarations": declared}] if declared else []
        groups += [out for tool, out in written if tool.kind not in ("function", "custom")]
        members: dict[str, Any] = {"tools": groups} if groups else {}
        config = self._config(declared)
        if config is not None:
            members["toolConfig"] = {"functionCallingConfig": config}
        return members

    # ---- the choice

    def _config(self, declared: list[dict[str, Any]]) -> dict[str, Any] | None:
        choice, at = self._choice, self._request.path_of("tool_choice")
        check_choice(self._request, {tool.name for tool in self._request.tools})
        if choice.parallel is False:
            self._losses.dropped(self._request.path_of("parallel"), "this API cannot be held to one call")
        if not declared:
            if choice.mode in ("required", "tool"):
                self._losses.dropped(at, "there are no functions")
            return None
        mode = _MODES.get(choice.mode or "")
        if mode in (None, "AUTO") and (self._strict or choice.names):
            # Calls follow their schemas, and no other functions are called; texts are allowed beside.
            mode = "VALIDATED"
        if mode is None:
            return None
        names = [function_name(name) for name in choice.names]
        return {"mode": mode, "allowedFunctionNames": names} if names and mode != "NONE" else {"mode": mode}

    # ---- the tools

    def _function(self, tool: Tool) -> dict[str, Any]:
        out: dict[str, Any] = {"name": function_name(tool.name)}
        if tool.description:
            out["description"] = tool.description
        self._strict = self._strict or bool(tool.strict)
        if tool.schema:
            out |= self._parameters(tool, repaired(tool.schema))
        if tool.extra and self._request.dialect == NAME:
            out |= tool.extra
        else:
            self._losses.extra(tool.at, tool.extra)
        return self._cached(out, tool)

    def _parameters(self, tool: Tool, schema: dict[str, Any]) -> dict[str, Any]:
        if self._row.json_schema_members:
            return {"parametersJsonSchema": schema}
        try:
            parameters = subset.to_google(schema)
        except NotInSubset as error:
            path = f"{tool.at}: the parameters cannot be told to this model: {error}"
            raise Unsupported(tool.at, path, "invalid_value") from None
        if parameters != schema:
            self._losses.rewritten(tool.at, "the parameters, reduced to what the model reads")
        if parameters.get("type") == "object" and not parameters.get("properties"):
            return {}  # an object without properties is refused
        return {"parameters": parameters}

    def _custom(self, tool: Tool) -> dict[str, Any]:
        out: dict[str, Any] = {"name": function_name(tool.name)}
        if described := freeform.description(tool, self._losses):
            out["description"] = described
        self._losses.extra(tool.at, tool.extra)
        out["parametersJsonSchema" if self._row.json_schema_members else "parameters"] = _FREE_TEXT
        return self._cached(out, tool)

    def _web_search(self, tool: Tool) -> dict[str, Any] | None:
        """Google's search, which goes together with functions only where its calls come back in the conversation."""
        self._cached({}, tool)
        if tool.dialect == NAME and tool.native is not None:
            return tool.native
        if any(other.kind in ("function", "custom") for other in self._request.tools):
            problem = "web search together with functions is"
            leave_out(self._request, tool, self._losses, problem, "web search does not go together with functions")
            return None
        search = tool.search or WebSearch()
        for name, value in (
            ("max_uses", search.max_uses),
            ("search_context_size", search.context_size),
            ("user_location", search.user_location),
        ):
            if value is not None:
                self._losses.dropped(f"{tool.at}.{name}")
        self._losses.extra(tool.at, tool.extra)
        return {"googleSearch": {}}

    def _cached(self, out: dict[str, Any], tool: Tool) -> dict[str, Any]:
        if tool.cache is not None:
            self._losses.dropped(self._request.path_of("cache"), "this API caches by itself", cost_only=True)
        return out
