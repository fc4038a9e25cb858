"""The tour: requests in both directions through the running Envoy, each shown and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from ..wire import NoAnswer, SeenAnswer, ask
from . import as_openai, script
from .provider import Received, ScriptedProvider
from .screen import Screen

CLIENT_KEY = "the-clients-own-key"
TIMEOUT = 30.0
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = "What is the weather in Paris and in Rome?"
SKY = "What colour is the sky?"
Claim = tuple[str, Callable[[], bool]]


class Tour:
    """Runs the steps against Envoy on *port*, in front of the two scripted providers."""

    def __init__(self, screen: Screen, port: int, openai: ScriptedProvider, anthropic: ScriptedProvider) -> None:
        self.steps = 0
        self.wrong = 0
        self._screen = screen
        self._port = port
        self._openai = openai
        self._anthropic = anthropic

    def run(self) -> int:
        """All steps; returns how many were wrong."""
        for messages in (anthropic_whole(), anthropic_tool_call(), anthropic_tool_result()):
            self._anthropic_to_openai(*messages)
        for messages in (openai_whole(), openai_tool_call(), openai_tool_result()):
            self._openai_to_anthropic(*messages)
        self._failover()
        return self.wrong

    def _anthropic_to_openai(self, title: str, body: dict[str, Any], expected: Expected) -> None:
        headers = {"x-api-key": CLIENT_KEY, "anthropic-version": "2023-06-01"}

        def checks(seen: Received, got: SeenAnswer) -> list[Claim]:
            return [
                ("the provider was asked in its own API", lambda: "max_completion_tokens" in seen.json()),
                ("with its own key, without the client's", lambda: _keys(seen) == {"authorization"}),
                ("the client was answered in Anthropic's API", lambda: read_anthropic(got) == expected),
            ]

        self._step(f"Anthropic client -> OpenAI upstream: {title}", "/v1/messages", headers, body, self._openai, checks)

    def _openai_to_anthropic(self, title: str, body: dict[str, Any], expected: Expected) -> None:
        headers = {"authorization": f"Bearer {CLIENT_KEY}"}

        def checks(seen: Received, got: SeenAnswer) -> list[Claim]:
            return [
                ("the provider was asked in its own API", lambda: seen.header("anthropic-version") is not None),
                ("with its own key, without the client's", lambda: _keys(seen) == {"x-api-key"}),
                ("the client was answered in OpenAI's API", lambda: read_openai(got) == expected),
            ]

        path = "/v1/chat/completions"
        self._step(f"OpenAI client -> Anthropic upstream: {title}", path, headers, body, self._anthropic, checks)

    def _failover(self) -> None:
        _, body, expected = openai_whole()
        headers = {"authorization": f"Bearer {CLIENT_KEY}"}
        before = len(self._openai.received)

        def checks(seen: Received, got: SeenAnswer) -> list[Claim]:
            tried = self._openai.received[before:]
            return [
                ("OpenAI was tried first", lambda: [_keys(x) for x in tried] == [{"authorization"}]),
                ("Anthropic never saw OpenAI's key", lambda: _keys(seen) == {"x-api-key"}),
                ("and was asked for a model of its own", lambda: seen.json()["model"].startswith("claude")),
                ("the client was answered in OpenAI's API", lambda: read_openai(got) == expected),
            ]

        title = "OpenAI client -> either: OpenAI fails with 503, Envoy goes on to Anthropic"
        with _failing(self._openai):
            body = {**body, "model": "best"}
            self._step(title, "/v1/chat/completions", headers, body, self._anthropic, checks)

    def _step(
        self,
        title: str,
        path: str,
        headers: dict[str, str],
        body: dict[str, Any],
        provider: ScriptedProvider,
        checks: Callable[[Received, SeenAnswer], list[Claim]],
    ) -> None:
        self.steps += 1
        screen = self._screen
        screen.title(f"{self.steps}. {title}")
        screen.labelled("client sent", f"POST {path}  {_shown(body)}")
        before = len(provider.received)
        try:
            got = self._send(path, headers, body)
        except NoAnswer as error:
            self.wrong += 1
            screen.checks([], [f"no answer: {error!r}"])
            return
        received = provider.received[before:]
        for seen in received:
            screen.labelled("provider received", f"{seen.method} {seen.path}  {seen.body.decode()}")
        if got.events:
            screen.events("client got", list(_told_apart(got.events)))
        else:
            screen.labelled("client got", f"{got.status}  {got.body.decode('utf-8', 'replace')}")
        screen.labelled("lost", got.headers.get("x-llm-translation", "nothing").replace(",", ", "), "yellow")
        to_check = checks(received[0], got) if len(received) == 1 else []
        right, wrong = _judge([("the provider was asked once", lambda: len(received) == 1), *to_check])
        self.wrong += bool(wrong)
        screen.checks(right, wrong)

    def _send(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> SeenAnswer:
        seen = ask(f"http://127.0.0.1:{self._port}", path, msgspec.json.encode(body), headers=headers, seconds=TIMEOUT)
        if seen.broken:
            raise NoAnswer("it broke off")
        return seen


# ---- what is asked, and what must come back


@dataclass(frozen=True)
class Expected:
    """The meaning of an answer, whatever API it came in."""

    text: str
    calls: tuple[tuple[str, Any], ...]
    stop: str


def _expected(said: script.Said) -> Expected:
    return Expected(said.text, tuple((name, given) for _, name, given in said.calls), "calls" if said.calls else "end")


_SKY = _expected(script.decide(SKY, [], []))
_CALLS = _expected(script.decide(WEATHER, ["get_weather"], []))
_RESULTS = _expected(script.decide("", [], ["21 degrees, sunny", "24 degrees, hazy"]))

Question = tuple[str, dict[str, Any], Expected]


def anthropic_whole() -> Question:
    cached = {"type": "text", "text": "Answer briefly.", "cache_control": {"type": "ephemeral"}}
    ask = {"model": "gpt-5", "max_tokens": 1024, "system": [cached], "top_k": 40, "stop_sequences": ["END"]}
    return "a whole answer", {**ask, "messages": [{"role": "user", "content": SKY}]}, _SKY


def anthropic_tool_call() -> Question:
    tools = [{"name": "get_weather", "description": "Today's weather in a city", "input_schema": SCHEMA}]
    ask = {"model": "gpt-5", "max_tokens": 1024, "tools": tools, "stream": True}
    return "a stream with tool calls", {**ask, "messages": [{"role": "user", "content": WEATHER}]}, _CALLS


def anthropic_tool_result() -> Question:
    _, ask, _ = anthropic_tool_call()
    calls = [
        {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Paris"}},
        {"type": "tool_use", "id": "toolu_2", "name": "get_weather", "input": {"city": "Rome"}},
    ]
    results = [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "21 degrees, sunny"},
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": "24 degrees, hazy"},
    ]
    turns = [{"role": "assistant", "content": calls}, {"role": "user", "content": results}]
    return "the tools' results, answered in a stream", {**ask, "messages": [*ask["messages"], *turns]}, _RESULTS


def openai_whole() -> Question:
    messages = [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": SKY}]
    ask = {"model": "claude-haiku-4-5", "max_completion_tokens": 1024, "seed": 7, "stop": "END"}
    return "a whole answer", {**ask, "messages": messages}, _SKY


def openai_tool_call() -> Question:
    function = {"name": "get_weather", "description": "Today's weather in a city", "parameters": SCHEMA}
    ask = {
        "model": "claude-haiku-4-5",
        "tools": [{"type": "function", "function": function}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return "a stream with tool calls", {**ask, "messages": [{"role": "user", "content": WEATHER}]}, _CALLS


def openai_tool_result() -> Question:
    _, ask, _ = openai_tool_call()

    def call(number: int, city: str) -> dict[str, Any]:
        given = msgspec.json.encode({"city": city}).decode()
        return {"id": f"call_{number}", "type": "function", "function": {"name": "get_weather", "arguments": given}}

    turns = [
        {"role": "assistant", "content": None, "tool_calls": [call(1, "Paris"), call(2, "Rome")]},
        {"role": "tool", "tool_call_id": "call_1", "content": "21 degrees, sunny"},
        {"role": "tool", "tool_call_id": "call_2", "content": "24 degrees, hazy"},
    ]
    return "the tools' results, answered in a stream", {**ask, "messages": [*ask["messages"], *turns]}, _RESULTS


# ---- reading answers


def read_anthropic(got: SeenAnswer) -> Expected:
    """An answer in Anthropic's API. Raises ValueError, LookupError or TypeError when it is not one."""
    if not got.events:
        message = got.json
        blocks = message["content"]
    else:
        events = [data for _, data in got.events if data["type"] != "ping"]
        if (events[0]["type"], events[-1]["type"]) != ("message_start", "message_stop"):
            raise ValueError("the stream does not begin or end as it must")
        message = {"stop_reason": next(e["delta"]["stop_reason"] for e in events if e["type"] == "message_delta")}
        blocks = _folded(events)
    text = "".join(block["text"] for block in blocks if block["type"] == "text")
    calls = tuple((block["name"], block["input"]) for block in blocks if block["type"] == "tool_use")
    return Expected(text, calls, {"end_turn": "end", "tool_use": "calls"}[message["stop_reason"]])


def _folded(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    pieces: list[str] = []
    for event in events:
        if event["type"] == "content_block_start":
            blocks.append(event["content_block"])
            pieces = []
        elif event["type"] == "content_block_delta":
            pieces.append(event["delta"].get("text", event["delta"].get("partial_json", "")))
        elif event["type"] == "content_block_stop":
            block = blocks[event["index"]]
            whole = "".join(pieces)
            block.update({"text": whole} if block["type"] == "text" else {"input": msgspec.json.decode(whole or "{}")})
    return blocks


def read_openai(got: SeenAnswer) -> Expected:
    """An answer in OpenAI's API."""
    if not got.events:
        choice = got.json["choices"][0]
        message, reason = choice["message"], choice["finish_reason"]
        calls = [call["function"] for call in message.get("tool_calls") or []]
    else:
        if got.events[-1][1] != "[DONE]":
            raise ValueError("the stream does not end with [DONE]")
        choices = [choice for _, data in got.events[:-1] for choice in data["choices"]]
        message = {"content": "".join(choice["delta"].get("content") or "" for choice in choices)}
        reason = next(choice["finish_reason"] for choice in choices if choice["finish_reason"])
        calls = []
        for item in (item for choice in choices for item in choice["delta"].get("tool_calls") or []):
            if item["index"] == len(calls):
                calls.append({"name": item["function"]["name"], "arguments": ""})
            calls[item["index"]]["arguments"] += item["function"].get("arguments") or ""
    made = tuple((call["name"], msgspec.json.decode(call["arguments"])) for call in calls)
    return Expected(message["content"] or "", made, {"stop": "end", "tool_calls": "calls"}[reason])


def _keys(seen: Received) -> set[str]:
    """The headers that bear a credential. ValueError when the client's own is among their values."""
    if any(CLIENT_KEY in value for _, value in seen.headers):
        raise ValueError("the client's key reached the provider")
    return {name for name, _ in seen.headers if name in ("authorization", "x-api-key", "cookie", "api-key")}


def _judge(checks: list[Claim]) -> tuple[list[str], list[str]]:
    right: list[str] = []
    wrong: list[str] = []
    for name, holds in checks:
        try:
            (right if holds() else wrong).append(name)
        except (AttributeError, LookupError, TypeError, ValueError, StopIteration) as error:
            wrong.append(f"{name}: {error!r}")
    return right, wrong


def _told_apart(events: list[tuple[str, Any]]) -> Iterator[str]:
    """A line for each event, without the members that it shares with the one before or with its own name."""
    before: dict[str, Any] = {}
    for event, data in events:
        if isinstance(data, dict):
            shown = {k: v for k, v in data.items() if before.get(k) != v and v != event}
            yield f"{event} {_shown(shown)}".strip()
            before = data
        else:
            yield data


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


@contextmanager
def _failing(provider: ScriptedProvider) -> Iterator[None]:
    """*provider* answers every request with OpenAI's 503 for a while."""
    respond = provider.respond
    provider.respond = lambda request: as_openai.failure(503, "The server is overloaded", "server_error")
    try:
        yield
    finally:
        provider.respond = respond
