from __future__ import annotations

from typing import Any

import pytest
from openai.types.responses import Response

from extproc.dialects.base import Env
from extproc.dialects.openai_responses.items import Items, last_status
from extproc.dialects.openai_responses.names import Named
from extproc.dialects.openai_responses.state import ResponsesState
from extproc.llm.events import NO_USAGE, ResponseEnded, ResponseFailed, ResponseStarted, StopReason, Usage
from extproc.llm.failures import ErrorKind
from extproc.llm.fold import OpaqueBlock, TextBlock, ThinkingBlock, ToolCallBlock
from extproc.llm.losses import LossReport
from extproc.llm.request import Message, Request, ToolCall

CLAUDE = "anthropic-claude-v1"


def items(*messages: Message, losses: LossReport | None = None, **state: Any) -> Items:
    request = Request(
        dialect="openai_responses", model="asked", messages=list(messages), client_state=ResponsesState(**state)
    )
    made = Items(request, LossReport() if losses is None else losses)
    made.start(ResponseStarted("r", ""), Env(now=1000.5))
    return made


def test_the_response_object_at_its_start_and_at_its_end() -> None:
    made = items(echo={"temperature": 0.5, "store": True})
    begun = made.unfinished()
    assert (begun["id"], begun["created_at"], begun["model"]) == ("resp_r", 1000, "asked")
    assert (begun["status"], begun["temperature"], begun["store"]) == ("in_progress", 0.5, False)
    ended = made.finished(StopReason.END, ResponseEnded(StopReason.END, Usage(1, 2), service_tier="standard"), [])
    assert (ended["status"], ended["usage"]["total_tokens"], ended["service_tier"]) == ("completed", 3, "default")
    failed = made.failed(ResponseFailed(ErrorKind.RATE_LIMIT, "slow"), [])
    assert failed["status"] == "failed" and failed["error"]["message"] == "slow"
    for each in (begun, ended, failed):
        Response.model_validate(each)


@pytest.mark.parametrize("stop", StopReason)
def test_the_last_items_status_agrees_with_the_responses(stop: StopReason) -> None:
    ended = items().finished(stop, ResponseEnded(stop, NO_USAGE, explanation="why"), [])
    limited = (ended["incomplete_details"] or {}).get("reason") == "max_output_tokens"
    assert (last_status(stop) == "incomplete") == limited
    assert (ended["incomplete_details"] or {}).get("explanation") == ("why" if ended["incomplete_details"] else None)


@pytest.mark.parametrize(
    ("block", "sealed"),
    [
        (ThinkingBlock(["w"]), True),
        (ThinkingBlock(["w"], signature="S", signer=CLAUDE), True),
        (ThinkingBlock([], encrypted="gAAA", signer="openai-responses-v1"), True),
        (ThinkingBlock(["w"], signature="S", signer="google-gemini-v1"), True),
    ],
    ids=repr,
)
def test_thinking_is_sealed_if_the_client_keeps_the_conversation(block: ThinkingBlock, sealed: bool) -> None:
    item = items().reasoning(block, 0)
    assert item is not None and ("encrypted_content" in item) is sealed
    bare = items(seals=False).reasoning(block, 0)
    assert (bare is None) == (not block.text) and "encrypted_content" not in (bare or {})


def test_thinking_of_which_nothing_is_left() -> None:
    assert items().reasoning(ThinkingBlock([]), 0) is None


def test_ids_are_the_same_for_the_same_place_and_no_other() -> None:
    def ids() -> list[str]:
        made, block = items(), ToolCallBlock("c", "f", parts=["{}"])
        return [each["id"] for each in (made.message(0), made.message(1), made.call(block, 0))]

    assert ids() == ids() and len(set(ids())) == 3


def test_a_call_by_its_kind_and_its_namespace() -> None:
    made = items(named={"ns__f": Named("f", "ns")}, searches=True)
    function, custom, search = (
        made.item(block, n)
        for n, block in enumerate(
            (
                ToolCallBlock("a", "ns__f"),
                ToolCallBlock("b", "sh", "custom", parts=["ls"]),
                ToolCallBlock("c", "tool_search", parts=['{"query":1}']),
            )
        )
    )
    assert function is not None and custom is not None and search is not None
    assert (function["name"], function["namespace"], function["arguments"]) == ("f", "ns", "{}")
    assert (custom["type"], custom["input"]) == ("custom_tool_call", "ls")
    assert (search["type"], search["arguments"]) == ("tool_search_call", {"query": 1})
    assert made.calls == 3


def test_an_id_that_another_call_has_is_told() -> None:
    losses = LossReport()
    made = items(Message("assistant", [ToolCall("c", "f", "{}")]), losses=losses)
    assert made.call(ToolCallBlock("c", "f", parts=["{}"]), 0)["call_id"] != "c"
    assert [str(loss) for loss in losses] == ["response.output.call_id:rewritten"]


def test_only_its_own_blocks_pass() -> None:
    losses = LossReport()
    made = items(losses=losses)
    own: dict[str, Any] = {"type": "web_search_call", "id": "ws"}
    assert made.item(OpaqueBlock("openai_responses", own, []), 0) == own
    assert made.item(OpaqueBlock("other", {"x": 1}, []), 0) is None
    assert [str(loss) for loss in losses] == ["response.x:dropped"]


def test_a_refusal_is_a_part_of_its_own_kind() -> None:
    made = items()
    assert made.part(TextBlock(True, ["No."])) == {"type": "refusal", "refusal": "No."} and made.refused
