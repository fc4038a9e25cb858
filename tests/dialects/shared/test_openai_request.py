from __future__ import annotations

from typing import Any

import pytest

from extproc import capabilities
from extproc.dialects.shared.openai_request import JsonForm, context_size, json_form, one_at_a_time, put_who_and_how
from extproc.llm.losses import LossReport
from extproc.llm.request import Output, Request, Tool, ToolChoice, WebSearch

STRICT: dict[str, Any] = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
LOOSE: dict[str, Any] = {"type": "object", "properties": {}}


def asked(**members: Any) -> Request:
    return Request(dialect="d", model="m", messages=[], **members)


def row(**quirks: Any) -> capabilities.Capabilities:
    return capabilities.packaged().find("openai", "gpt-5.4-mini", quirks)


def lost(losses: LossReport) -> list[str]:
    return [str(loss) for loss in losses]


@pytest.mark.parametrize(
    ("output", "form", "losses"),
    [
        (None, None, []),
        (Output("json_object"), JsonForm(), []),
        (Output("json_schema"), JsonForm(), []),
        (Output("json_schema", STRICT), {"name": "response", "strict": True, "schema": STRICT}, []),
        (
            Output("json_schema", LOOSE, "n", "d"),
            {"name": "n", "strict": False, "schema": LOOSE, "description": "d"},
            ["output:downgraded"],
        ),
        # What the client says of it goes on as it was said.
        (Output("json_schema", LOOSE, strict=True), {"name": "response", "strict": True, "schema": LOOSE}, []),
        (Output("json_schema", STRICT, strict=False), {"name": "response", "strict": False, "schema": STRICT}, []),
    ],
    ids=repr,
)
def test_the_form_of_the_answer(output: Output | None, form: Any, losses: list[str]) -> None:
    report = LossReport()
    got = json_form(asked(output=output), row(), report)
    assert got == (JsonForm(form) if type(form) is dict else form)
    assert lost(report) == losses


def test_a_model_that_cannot_be_held_to_it_is_told() -> None:
    report = LossReport()
    form = json_form(asked(output=Output("json_schema", LOOSE)), row(json_schema=False), report)
    assert form is not None and form.schema is None and form.instruction is not None
    assert form.instruction.endswith('{"type":"object","properties":{}}') and lost(report) == ["output:emulated"]


@pytest.mark.parametrize(
    ("parallel", "takes", "members", "losses"),
    [
        (None, True, {}, []),
        (True, True, {}, []),
        (False, True, {"parallel_tool_calls": False}, []),
        (False, False, {}, ["parallel:dropped"]),
    ],
)
def test_one_call_at_a_time(parallel: bool | None, takes: bool, members: dict[str, Any], losses: list[str]) -> None:
    report, got = LossReport(), dict[str, Any]()
    request = asked(tool_choice=ToolChoice(parallel=parallel))
    one_at_a_time(request, row(parallel_tool_calls=takes), got, report)
    assert (got, lost(report)) == (members, losses)


@pytest.mark.parametrize(
    ("search", "size", "losses"),
    [
        (None, None, []),
        (WebSearch(), None, []),
        (WebSearch(context_size="high", max_uses=1), "high", []),
        (WebSearch(max_uses=1), "low", ["t.max_uses:rewritten"]),
        (WebSearch(max_uses=5), "medium", ["t.max_uses:rewritten"]),
        (WebSearch(max_uses=6), "high", ["t.max_uses:rewritten"]),
    ],
    ids=repr,
)
def test_how_much_a_search_may_bring(search: WebSearch | None, size: str | None, losses: list[str]) -> None:
    report = LossReport()
    assert context_size(Tool("s", "web_search", search=search, at="t"), report) == size
    assert lost(report) == losses


def test_who_asks_and_which_tier() -> None:
    request = asked(user_id="ann@example.com", session_key="k", service_tier="standard")
    report, members = LossReport(), dict[str, Any]()
    put_who_and_how(request, row(user_field="safety_identifier"), members, report)
    assert members.pop("safety_identifier") != "ann@example.com", "an address leaves the gateway"
    assert members == {"prompt_cache_key": "k", "service_tier": "default"} and not list(report)
    put_who_and_how(request, row(user_field="user"), members := {}, report, own=True)
    assert members == {"user": "ann@example.com", "service_tier": "default"}
    assert lost(report) == ["session_key:dropped"] and next(iter(report)).cost_only
    put_who_and_how(asked(service_tier="batch"), row(), members := {}, report := LossReport())
    assert (members, lost(report)) == ({}, ["service_tier:dropped"])
