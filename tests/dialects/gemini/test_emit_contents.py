from __future__ import annotations

import pytest

from extproc import Refused
from extproc.dialects.gemini.words import STAND_IN

from .helpers import CALL, CONTENTS, HI, MESSAGES, NEW, OLD, SCHEMA, TOOL, Json, chat, to_gemini


@pytest.mark.parametrize(
    ("messages", "contents"),
    [
        ([HI, {"role": "user", "content": "there"}], [{"role": "user", "parts": [{"text": "hi"}, {"text": "there"}]}]),
        ([HI, {"role": "system", "content": "s"}],
         [{"role": "user", "parts": [{"text": "hi"}, {"text": "<system>\ns\n</system>"}]}]),
        ([{"role": "assistant", "content": "a"}, HI],
         [{"role": "user", "parts": [{"text": "."}]}, {"role": "model", "parts": [{"text": "a"}]}, CONTENTS[0]]),
        ([HI, {"role": "assistant", "content": "a"}],
         [CONTENTS[0], {"role": "model", "parts": [{"text": "a"}]},
          {"role": "user", "parts": [{"text": "Continue."}]}]),
        ([HI, {"role": "assistant", "content": "a", "reasoning_content": "t"}, HI],
         [CONTENTS[0], {"role": "model", "parts": [{"text": "t", "thought": True}, {"text": "a"}]}, CONTENTS[0]]),
    ],
)  # fmt: skip
def test_turns(messages: list[Json], contents: list[Json]) -> None:
    assert chat(messages=messages)[0]["contents"] == contents


def test_results_stand_in_the_order_of_their_calls() -> None:
    calls = [{"id": x, "type": "function", "function": {"name": x, "arguments": '{"n":1e2}'}} for x in "ab"]
    results = [{"role": "tool", "tool_call_id": x, "content": x} for x in "ba"]
    sent, lost = chat(messages=[HI, {"role": "assistant", "tool_calls": calls}, *results])
    model, user = sent["contents"][1:]
    assert [part["functionCall"] for part in model["parts"]] == [
        {"id": "a", "name": "a", "args": {"n": 100.0}}, {"id": "b", "name": "b", "args": {"n": 100.0}},
    ]  # fmt: skip
    assert [part.get("thoughtSignature") for part in model["parts"]] == [STAND_IN, None]
    assert [part["functionResponse"]["name"] for part in user["parts"]] == ["a", "b"]
    assert lost == set()


def test_a_call_that_has_no_result_is_refused() -> None:
    with pytest.raises(Refused, match="the tool call has no result"):
        to_gemini(MESSAGES, {"model": NEW, "max_tokens": 9, "messages": [HI, {"role": "assistant", "content": [CALL]}]})


@pytest.mark.parametrize(
    ("details", "parts"),
    [
        ({"format": "google-gemini-v1", "signature": "S", "text": ""}, [{"text": "a", "thoughtSignature": "S"}]),
        ({"format": "google-gemini-v1", "signature": "S", "text": "t"},
         [{"text": "t", "thought": True, "thoughtSignature": "S"}, {"text": "a"}]),
        ({"format": "anthropic-claude-v1", "signature": "S", "text": "t"}, [{"text": "a"}]),
    ],
)  # fmt: skip
def test_signatures_of_texts_and_thoughts(details: Json, parts: list[Json]) -> None:
    """A signature without a text is that of the text before it, by its place among the blocks."""
    detail = {"type": "reasoning.text", "index": 1 if not details["text"] else 0, **details}
    answer = {"role": "assistant", "content": "a", "reasoning_details": [detail]}
    assert chat(messages=[HI, answer, HI])[0]["contents"][1]["parts"] == parts


def test_the_system_messages_and_what_we_add() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    said = [{"role": "system", "content": "a", "name": "n"}, {"role": "developer", "content": "b"}, HI]
    sent, lost = chat("gemini-2.0-flash", messages=said, tools=[TOOL], response_format=form)
    first, second, added = sent["systemInstruction"]["parts"]
    assert (first, second) == ({"text": "a"}, {"text": "b"}) and "JSON" in added["text"]
    assert "messages[0].name:dropped" in lost


@pytest.mark.parametrize(("model", "stands_in"), [(NEW, True), (OLD, False)])
def test_only_the_first_call_of_a_turn_needs_a_signature(model: str, stands_in: bool) -> None:
    calls = [{"id": x, "type": "function", "function": {"name": "f", "arguments": "{}"}} for x in "ab"]
    results = [{"role": "tool", "tool_call_id": x, "content": x} for x in "ab"]
    sent, _ = chat(model, messages=[HI, {"role": "assistant", "content": "t", "tool_calls": calls}, *results])
    text, first, second = sent["contents"][1]["parts"]
    assert "thoughtSignature" not in text | second and ("thoughtSignature" in first) is stands_in
