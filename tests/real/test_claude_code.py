"""Claude Code, headless, through Envoy and the sidecar, against a provider that speaks OpenAI's API."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from extproc.demo import as_responses
from extproc.demo.provider import Received, ScriptedAnswer
from tests.support.gateway import Gateway
from tests.support.upstream import chat, chat_stream

WORDS = ("juniper", "marigold")


def agent(folder: Path) -> Any:
    """The provider's model: reads the folder's files with one call each, at once, then says what stands in them."""

    def respond(request: Received) -> ScriptedAnswer:
        body = request.json()
        results = [m["content"] for m in body["messages"] if m["role"] == "tool"]
        tools = {tool["function"]["name"] for tool in body.get("tools", [])}
        if "Read" not in tools:
            said = "a title"  # Claude Code also asks for a title of the session.
            return chat_stream({"content": said}) if body.get("stream") else chat(said)
        if results:
            found = " and ".join(word for word in WORDS if any(word in str(text) for text in results))
            return chat_stream({"content": "The words are "}, {"content": found})
        calls = [
            {"index": n, "id": f"call_{n}", "type": "function", "function": {"name": "Read", "arguments": ""}}
            for n in range(len(WORDS))
        ]
        arguments = [json.dumps({"file_path": str(folder / f"{word}.txt")}) for word in WORDS]
        halves = [(text[:9], text[9:]) for text in arguments]
        # The calls interleave, as parallel calls do.
        pieces = [{"index": n, "function": {"arguments": half[k]}} for k in (0, 1) for n, half in enumerate(halves)]
        return chat_stream(*({"tool_calls": [piece]} for piece in [*calls, *pieces]), finish="tool_calls")

    return respond


def responses_agent(folder: Path) -> Any:
    """The same by the Responses API: it thinks first, and seals what it thinks."""

    def respond(request: Received) -> ScriptedAnswer:
        body = request.json()
        results = [item["output"] for item in body["input"] if item["type"] == "function_call_output"]
        tools = {tool.get("name") for tool in body.get("tools", [])}
        if "Read" not in tools:
            return as_responses.stream(body, [as_responses.message("a title")])
        if results:
            found = " and ".join(word for word in WORDS if any(word in str(text) for text in results))
            return as_responses.stream(body, [as_responses.reasoning(), as_responses.message(f"The words are {found}")])
        paths = [{"file_path": str(folder / f"{word}.txt")} for word in WORDS]
        calls = [as_responses.call(n, "Read", given) for n, given in enumerate(paths)]
        return as_responses.stream(body, [as_responses.reasoning("I read both."), *calls])

    return respond


def run_claude(
    url: str, folder: Path, prompt: str, model: str = "gpt-5", tools: tuple[str, str] = ("--allowedTools", "Read")
) -> list[dict[str, Any]]:
    """What ``claude -p`` prints, message by message."""
    binary = shutil.which("claude")
    if binary is None:
        pytest.skip("claude is not on the PATH: make test-real downloads it")
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "key-of-the-client",
        "ANTHROPIC_MODEL": model,
        "ANTHROPIC_SMALL_FAST_MODEL": model,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_AUTOUPDATER": "1",
    }
    (folder / "home").mkdir()
    options = ["--output-format", "stream-json", "--verbose", "--include-partial-messages", *tools]
    done = subprocess.run(
        [binary, "-p", prompt, *options], cwd=folder, env=environ, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-2000:]}"
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.rows("F6", "F19")
def test_a_task_with_parallel_tool_calls(scripted: Gateway, tmp_path: Path) -> None:
    for word in WORDS:
        (tmp_path / f"{word}.txt").write_text(f"The word is {word}.\n")
    upstream = scripted.openai_upstream
    upstream.reset()
    undo = upstream.always(agent(tmp_path))
    try:
        printed = run_claude(scripted.url, tmp_path, "Which words stand in the two files here?")
    finally:
        undo()

    (result,) = [line for line in printed if line["type"] == "result"]
    assert result["subtype"] == "success"
    assert result["result"] == "The words are juniper and marigold"

    # The stream, as Claude Code understood it: two calls, one after the other, none of them mixed up.
    events = [line["event"] for line in printed if line["type"] == "stream_event"]
    starts = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    assert [start["name"] for start in starts if start["type"] == "tool_use"] == ["Read", "Read"]
    open_blocks: set[int] = set()
    for event in events:
        if event["type"] == "content_block_start":
            assert not open_blocks, "blocks overlap"
            open_blocks.add(event["index"])
        elif event["type"] == "content_block_stop":
            open_blocks.remove(event["index"])

    # What the provider was asked: OpenAI's API, whole, with the tools' results right after their calls.
    asked = [request for request in upstream.received if "tools" in request.json()]
    assert {request.path for request in upstream.received} == {"/v1/chat/completions"}
    assert len(asked) >= 2
    last = asked[-1].json()
    assert last["stream"] is True
    assert last["stream_options"] == {"include_usage": True}
    roles = [message["role"] for message in last["messages"]]
    calls = next(n for n, message in enumerate(last["messages"]) if message.get("tool_calls"))
    assert roles[calls + 1 : calls + 3] == ["tool", "tool"]
    # In the order in which Claude Code had them, which is whichever file was read first.
    assert {m["tool_call_id"] for m in last["messages"][calls + 1 : calls + 3]} == {"call_0", "call_1"}
    text = asked[-1].body.decode()
    assert "cache_control" not in text
    assert "x-anthropic-billing-header" not in text
    assert "key-of-the-client" not in str(asked[-1].headers)
    assert last["prompt_cache_key"], "the session groups the requests for OpenAI's cache"

    # Append-only: what was sent before comes again byte for byte, so that the provider's cache holds.
    first = asked[0].json()
    assert first["tools"] == last["tools"]
    assert last["messages"][: len(first["messages"])] == first["messages"]


@pytest.mark.rows("F6", "F19")
def test_the_same_by_the_responses_api(scripted: Gateway, tmp_path: Path) -> None:
    """Where the model's own reasoning goes through Claude Code's history, and comes back to it as it was sealed."""
    for word in WORDS:
        (tmp_path / f"{word}.txt").write_text(f"The word is {word}.\n")
    upstream = scripted.openai_upstream
    upstream.reset()
    undo = upstream.always(responses_agent(tmp_path))
    try:
        printed = run_claude(scripted.url, tmp_path, "Which words stand in the two files here?", "gpt-5-by-responses")
    finally:
        undo()
    (result,) = [line for line in printed if line["type"] == "result"]
    assert (result["subtype"], result["result"]) == ("success", "The words are juniper and marigold")
    assert {request.path for request in upstream.received} == {"/v1/responses"}
    last = [request.json() for request in upstream.received if "tools" in request.json()][-1]
    sealed = [item["encrypted_content"] for item in last["input"] if item["type"] == "reasoning"]
    assert sealed == [as_responses.SEALED]
    assert last["store"] is False
    kinds = [item["type"] for item in last["input"]]
    calls = kinds.index("reasoning")
    assert kinds[calls + 1 : calls + 5] == ["function_call"] * 2 + ["function_call_output"] * 2


def searcher(request: Received) -> ScriptedAnswer:
    """The provider's model, by either API: asks for WebSearch where it is offered, then says what came of it."""
    body = request.json()
    chats = "messages" in body
    tools = [tool.get("function", tool).get("name", tool["type"]) for tool in body.get("tools", [])]
    if chats:
        results = [message["content"] for message in body["messages"] if message["role"] == "tool"]
    else:
        results = [item["output"] for item in body["input"] if item["type"] == "function_call_output"]
    said = str(results[0]) if results else "nothing" if "WebSearch" in tools else "no such tool"
    if "web_search" in tools:
        said = "Juniper is evergreen."  # Claude Code's own request for a search.
    call = "WebSearch" in tools and not results
    if not chats:
        items = [as_responses.call(0, "WebSearch", {"query": "juniper"})] if call else [as_responses.message(said)]
        return as_responses.stream(body, items)
    if not body.get("stream"):
        return chat(said)
    if not call:
        return chat_stream({"content": said})
    function = {"name": "WebSearch", "arguments": '{"query": "juniper"}'}
    made = {"index": 0, "id": "call_0", "type": "function", "function": function}
    return chat_stream({"tool_calls": [made]}, finish="tool_calls")


@pytest.mark.parametrize(
    ("model", "tools", "says"),
    [
        ("gpt-5", ("--allowedTools", "WebSearch"), "web search is not supported for this model"),
        ("gpt-5-by-responses", ("--allowedTools", "WebSearch"), "Juniper is evergreen."),
        ("gpt-5", ("--disallowedTools", "WebSearch"), "no such tool"),
    ],
)
def test_a_search_on_an_upstream_of_another_maker(
    scripted: Gateway, tmp_path: Path, model: str, tools: tuple[str, str], says: str
) -> None:
    """What docs/clients.md says of it."""
    upstream = scripted.openai_upstream
    upstream.reset()
    undo = upstream.always(searcher)
    try:
        printed = run_claude(scripted.url, tmp_path, "Search the web for juniper.", model, tools)
    finally:
        undo()
    (result,) = [line for line in printed if line["type"] == "result"]
    assert says in result["result"], printed
