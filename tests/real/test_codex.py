"""Codex, headless, through Envoy and the sidecar, against a provider that speaks Anthropic's API."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from extproc.demo.provider import Received, ScriptedAnswer, sse_answer
from tests.support.gateway import Gateway
from tests.support.upstream import chat_stream, events, message_events, text_block

WORD = "juniper"
SIGNATURE = "EqQBCgIYAhIM+/signed=="
CONFIG = """
model = "{model}"
model_provider = "gateway"
[model_providers.gateway]
name = "gateway"
base_url = "{url}/v1"
env_key = "GATEWAY_KEY"
wire_api = "responses"
"""


def thinking(text: str) -> list[dict[str, Any]]:
    return [
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": text},
        {"type": "signature_delta", "signature": SIGNATURE},
    ]


def call(n: int, tool: str, given: dict[str, Any]) -> list[dict[str, Any]]:
    text = json.dumps(given)
    start = {"type": "tool_use", "id": f"toolu_{n}", "name": tool, "input": {}}
    return [start, *({"type": "input_json_delta", "partial_json": part} for part in (text[:9], text[9:]))]


def results(body: dict[str, Any]) -> list[str]:
    blocks = [b for m in body["messages"] if isinstance(m["content"], list) for b in m["content"]]
    return [str(block.get("content")) for block in blocks if block["type"] == "tool_result"]


def agent(request: Received) -> ScriptedAnswer:
    """The provider's model: reads a file, writes what stands in it into another, then says so."""
    found = results(request.json())
    if not found:
        read = call(1, "exec_command", {"cmd": "cat word.txt"})
        return sse_answer(events(*message_events(thinking("I read it."), read, stop="tool_use")))
    if len(found) == 1:
        assert WORD in found[0], found
        write = call(2, "exec_command", {"cmd": f"printf {WORD} > copy.txt && echo written"})
        return sse_answer(events(*message_events(text_block("Now I ", "copy it."), write, stop="tool_use")))
    return sse_answer(events(*message_events(text_block(f"The word is {WORD}."))))


def chat_agent(request: Received) -> ScriptedAnswer:
    """The same of a provider that speaks Chat Completions."""
    found = [m["content"] for m in request.json()["messages"] if m["role"] == "tool"]
    if len(found) == 2:
        return chat_stream({"content": f"The word is {WORD}."})
    command = f"printf {WORD} > copy.txt && echo written" if found else "cat word.txt"
    text = json.dumps({"cmd": command})
    start = {
        "index": 0,
        "id": f"call_{len(found)}",
        "type": "function",
        "function": {"name": "exec_command", "arguments": ""},
    }
    pieces = [{"index": 0, "function": {"arguments": part}} for part in (text[:7], text[7:])]
    said = {"reasoning_content": "I read it."} if not found else {"content": "Now I copy it."}
    return chat_stream(said, *({"tool_calls": [piece]} for piece in (start, *pieces)), finish="tool_calls")


def run_codex(url: str, folder: Path, prompt: str, model: str = "claude-sonnet-4-5") -> list[dict[str, Any]]:
    """What ``codex exec`` prints, event by event."""
    binary = shutil.which("codex")
    if binary is None:
        pytest.skip("codex is not on the PATH: make test-real downloads it")
    home, work = folder / "home", folder / "work"
    home.mkdir()
    (home / "config.toml").write_text(CONFIG.format(url=url, model=model))
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "CODEX_HOME": str(home),
        "GATEWAY_KEY": "key-of-the-client",
    }
    options = ["--skip-git-repo-check", "--json", "--dangerously-bypass-approvals-and-sandbox"]
    done = subprocess.run(
        [binary, "exec", *options, prompt], cwd=work, env=environ, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-2000:]}"
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.rows("F19")
def test_a_task_with_tool_calls(scripted: Gateway, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "word.txt").write_text(f"The word is {WORD}.\n")
    upstream = scripted.anthropic_upstream
    upstream.reset()
    undo = upstream.always(agent)
    try:
        printed = run_codex(scripted.url, tmp_path, "Copy the word in word.txt into copy.txt.")
    finally:
        undo()

    done = [line["item"] for line in printed if line["type"] == "item.completed"]
    assert [item["type"] for item in done if item["type"] in ("agent_message", "command_execution")] == [
        "command_execution", "agent_message", "command_execution", "agent_message",
    ]  # fmt: skip
    assert done[-1]["text"] == f"The word is {WORD}."
    assert (tmp_path / "work" / "copy.txt").read_text() == WORD
    assert printed[-1]["type"] == "turn.completed"
    assert printed[-1]["usage"]["output_tokens"] == 3 * 5

    # What the provider was asked: Anthropic's API, whole.
    assert {request.path for request in upstream.received} == {"/v1/messages"}
    asked = [request.json() for request in upstream.received]
    assert len(asked) == 3 and all(body["stream"] for body in asked)
    assert "key-of-the-client" not in str(upstream.received[-1].headers)
    names = [tool["name"] for tool in asked[0]["tools"]]
    assert "exec_command" in names and "multi_agent_v1__spawn_agent" in names
    # The thinking that led to the first call comes back as it was signed, by way of Codex's own history.
    turns = [message for message in asked[-1]["messages"] if message["role"] == "assistant"]
    assert turns[0]["content"][0] == {"type": "thinking", "thinking": "I read it.", "signature": SIGNATURE}
    assert [block["type"] for turn in turns for block in turn["content"]] == [
        "thinking", "tool_use", "text", "tool_use",
    ]  # fmt: skip
    # Append-only: what was sent before comes again byte for byte, so that the provider's cache holds.
    for before, after in pairwise(asked):
        assert (before["tools"], before["system"]) == (after["tools"], after["system"])
        assert after["messages"][: len(before["messages"])] == before["messages"]


@pytest.mark.rows("F19")
def test_the_same_on_chat_completions(scripted: Gateway, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "word.txt").write_text(f"The word is {WORD}.\n")
    upstream = scripted.openai_upstream
    upstream.reset()
    undo = upstream.always(chat_agent)
    try:
        printed = run_codex(scripted.url, tmp_path, "Copy the word in word.txt into copy.txt.", "gpt-5-by-chat")
    finally:
        undo()
    done = [line["item"] for line in printed if line["type"] == "item.completed"]
    assert [item["text"] for item in done if item["type"] == "agent_message"][-1] == f"The word is {WORD}."
    assert (tmp_path / "work" / "copy.txt").read_text() == WORD
    assert {request.path for request in upstream.received} == {"/v1/chat/completions"}
    last = upstream.received[-1].json()
    assert [message["role"] for message in last["messages"]][-4:] == ["assistant", "tool", "assistant", "tool"]
    assert last["prompt_cache_key"], "Codex's session groups the requests for the provider's cache"
