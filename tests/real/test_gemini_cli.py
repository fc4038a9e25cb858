"""Gemini CLI, headless, through Envoy and the sidecar, against providers that speak Anthropic's API and OpenAI's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from extproc.demo.provider import Received, ScriptedAnswer, sse_answer
from tests.support.gateway import Gateway
from tests.support.upstream import chat_stream, events, message_events, text_block

from .test_codex import SIGNATURE, call, results, thinking
from .test_launch import home as home
from .test_launch import launched

WORD = "juniper"
DONE = f"The word is {WORD}."


def steps(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    return [
        ("read_file", {"file_path": str(folder / "word.txt")}),
        ("write_file", {"file_path": str(folder / "copy.txt"), "content": f"{WORD}\n"}),
    ]


def claude(request: Received, folder: Path) -> ScriptedAnswer:
    """The provider's model: reads a file, writes what stands in it into another, then says so."""
    body = request.json()
    found = results(body)
    if not body.get("tools"):  # what the program asks beside the task
        return sse_answer(events(*message_events(text_block("{}"))))
    if len(found) == 2:
        return sse_answer(events(*message_events(text_block(DONE))))
    if found:
        assert WORD in found[0], found
        said = [block for m in body["messages"] for block in m["content"] if isinstance(block, dict)]
        signed = [block["signature"] for block in said if block["type"] == "thinking"]
        assert signed == ([SIGNATURE] if body.get("thinking") else [])
    name, given = steps(folder)[len(found)]
    before = thinking("I read it.") if not found and body.get("thinking") else text_block("Now I ", "go on.")
    return sse_answer(events(*message_events(before, call(len(found), name, given), stop="tool_use")))


def gpt(request: Received, folder: Path) -> ScriptedAnswer:
    """The same of a provider that speaks Chat Completions."""
    body = request.json()
    found = [m["content"] for m in body["messages"] if m["role"] == "tool"]
    if not body.get("tools"):
        return chat_stream({"content": "{}"})
    if len(found) == 2:
        return chat_stream({"content": DONE})
    if found:
        assert WORD in str(found[0]), found
    name, given = steps(folder)[len(found)]
    text = json.dumps(given)
    start = {"index": 0, "id": f"call_{len(found)}", "type": "function", "function": {"name": name, "arguments": ""}}
    pieces = [{"index": 0, "function": {"arguments": part}} for part in (text[:9], text[9:])]
    said = {"reasoning_content": "I read it."} if not found else {"content": "Now I copy it."}
    return chat_stream(said, *({"tool_calls": [piece]} for piece in (start, *pieces)), finish="tool_calls")


@pytest.fixture
def work(home: Path) -> Iterator[Path]:
    """A folder with a file to read. What is below its home the program trusts."""
    folder = home / "work"
    folder.mkdir(exist_ok=True)
    (folder / "word.txt").write_text(f"The word is {WORD}.\n")
    yield folder
    for file in folder.iterdir():
        file.unlink()


@pytest.mark.parametrize(("model", "agent"), [("claude-opus-4-8", claude), ("gpt-5.4-mini", gpt)])
@pytest.mark.rows("F19")
def test_a_task_with_tool_calls(scripted: Gateway, home: Path, work: Path, model: str, agent: Any) -> None:
    upstream = scripted.anthropic_upstream if agent is claude else scripted.openai_upstream
    upstream.reset()
    undo = upstream.always(lambda request: agent(request, work))
    try:
        prompt = "Copy the word in word.txt into copy.txt."
        printed = launched(
            scripted, home, work, "gemini", "--model", model, "--skip-trust", "--approval-mode", "yolo", "-p", prompt
        )
    finally:
        undo()
    assert printed.strip().endswith(DONE)
    assert (work / "copy.txt").read_text() == f"{WORD}\n"
    asked = [request for request in upstream.received if request.json().get("tools")]
    assert len(asked) == 3 and {request.json()["model"] for request in asked} == {model}
    assert prompt in str(asked[0].json()["messages"])
    # What was sent once recurs, byte for byte, in each request after it.
    told = [request.json()["messages"] for request in asked]
    for before, after in pairwise(told):
        assert after[: len(before)] == before
