"""What requests of OpenAI's two APIs say alike."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from ...capabilities import Capabilities
from ...llm.losses import Action, LossReport
from ...llm.request import Request, Tool
from ..base import Members
from .naming import sha256
from .openai import REQUEST_TIERS
from .openai_schema import is_strict
from .output import instruction

SCHEMA_NAME: Final = "response"
"""The APIs demand a name for a schema; nobody reads it."""


class JsonForm(Struct):
    """``schema``: the members that say it, ``None`` for an object of any shape. ``instruction``: what to tell a model
    that cannot be held to the schema."""

    schema: dict[str, Any] | None = None
    instruction: str | None = None


def json_form(request: Request, row: Capabilities, losses: LossReport) -> JsonForm | None:
    """The form of the answer; ``None`` when the client wants none."""
    output = request.output
    if output is None:
        return None
    path = request.path_of("output")
    if output.kind == "json_object" or output.schema is None:
        return JsonForm()
    if not row.json_schema:
        losses.add(path, Action.EMULATED, "by an instruction: this model cannot be held to a schema")
        return JsonForm(instruction=instruction(output))
    strict = is_strict(output.schema) if output.strict is None else output.strict
    if output.strict is None and not strict:
        losses.add(path, Action.DOWNGRADED, "the schema is outside what the provider can enforce")
    schema: Members = {"name": output.name or SCHEMA_NAME, "strict": strict, "schema": output.schema}
    if output.description:
        schema["description"] = output.description
    return JsonForm(schema)


def one_at_a_time(request: Request, row: Capabilities, members: Members, losses: LossReport) -> None:
    """Say that calls may not come side by side, if that was asked for."""
    if request.tool_choice.parallel is not False:
        return
    if row.parallel_tool_calls:
        members["parallel_tool_calls"] = False
    else:
        losses.dropped(request.path_of("parallel"))


def context_size(tool: Tool, losses: LossReport) -> str | None:
    """How much a web search may bring, for which other APIs say how often it may search."""
    search = tool.search
    if search is None or search.context_size is not None:
        return None if search is None else search.context_size
    if search.max_uses is None:
        return None
    size = "low" if search.max_uses <= 1 else "medium" if search.max_uses <= 5 else "high"
    losses.rewritten(f"{tool.at}.max_uses", f"to search_context_size {size}")
    return size


def put_who_and_how(
    request: Request, row: Capabilities, members: Members, losses: LossReport, *, own: bool = False
) -> None:
    """Who asks, which cache, which tier of service. *own*: the user's id is one that the client wrote for this API; of
    another API it may be a name or an address."""
    if request.user_id:
        members[row.user_field] = request.user_id if own else sha256(request.user_id)
    if request.session_key:
        # Servers that know no safety_identifier are not OpenAI's, and know no prompt_cache_key either.
        if row.user_field == "safety_identifier":
            members["prompt_cache_key"] = request.session_key
        else:
            losses.dropped(request.path_of("session_key"), cost_only=True)
    if request.service_tier is not None:
        if request.service_tier in REQUEST_TIERS:
            members["service_tier"] = REQUEST_TIERS[request.service_tier]
        else:
            losses.dropped(request.path_of("service_tier"))
