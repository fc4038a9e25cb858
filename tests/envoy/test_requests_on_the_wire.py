"""What an upstream receives, byte by byte: headers, path, query and members, for routes of every kind."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
import zstandard

from extproc.demo.processes import Envoy
from tests.support.gateway import CLIENT_KEY, KEYS, Backends, Gateway, configured
from tests.support.placements import add_model, clusters

HI: Any = [{"role": "user", "content": "hi"}]
KEY = "auth: {header: {Authorization: 'Bearer ${OPENAI_API_KEY}'}}\n"
CLAUDE_KEY = "auth: {header: {x-api-key: '${ANTHROPIC_API_KEY}'}}\n"
BODY = """
options: {temperature: 0.1, model: sent-model}
override:
  llm_options: {max_tokens: 5}
  request_body:
    openai-chat: {temperature: 0.9, max_completion_tokens: 6, stop: [a], metadata: {x: '1', y: '2'}}
    anthropic-messages: {never: 1}
"""
HOST = "api.example"
ENDPOINT = f"https://{HOST}/base/chat?api-version=2024-02-15-preview&from=endpoint&both=endpoint"
CAP = "override: {llm_options: {max_tokens: 5}}\n"
CONF = {"vertex-ai": "provider_conf: {project_id: p, region: r}\n"}
LIMITS = {
    # What the limit is called in Chat Completions, in Responses, in Messages; None where there is no such API.
    "openai": ("max_completion_tokens", "max_output_tokens", None),
    "openai-compatible": ("max_tokens", "max_output_tokens", None),
    "azure-openai": ("max_tokens", None, None),
    "deepseek": ("max_tokens", None, None),
    "aimlapi": ("max_tokens", None, None),
    "openrouter": ("max_tokens", None, None),
    "gemini": ("max_completion_tokens", None, None),
    "vertex-ai": ("max_completion_tokens", None, None),
    "anthropic": ("max_tokens", None, "max_tokens"),
}
"""Row D28, whole."""
TEXTS = {
    "plain": f"provider: openai\n{KEY}",
    "query": "provider: openai\nauth: {header: {api-key: '${OPENAI_API_KEY}'}, query: {both: auth, sig: 'a&b ='}}\n"
    f"override: {{endpoint: '{ENDPOINT}'}}\n",
    "fill": f"provider: openai\n{KEY}{BODY}",
    "force": f"provider: openai\n{KEY}{BODY}  request_body_force_override: true\n",
    "foundry": f"provider: azure-anthropic\n{CLAUDE_KEY}",
    "native": f"provider: anthropic\n{CLAUDE_KEY}",
    "own-header": "provider: openai\nauth: {header: {Authorization: 'Bearer ${OPENAI_API_KEY}', X-Team: gateway}}\n"
    "forward: {headers: [x-trace]}\n",
    **{
        f"{name}-{upstream}": f"provider: {name}\nauth: none\nupstream: {upstream}\n{CAP}{CONF.get(name, '')}"
        for name, limits in LIMITS.items()
        for upstream, limit in zip(("openai_chat", "openai_responses", "anthropic_messages"), limits, strict=True)
        if limit
    },
}


@pytest.fixture(scope="module", params=["upstream", "one-stream"])
def _running(
    request: pytest.FixtureRequest, shared: Backends, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("wire")
    log = folder / "access.log"
    config = configured(shared, request.param, log)
    for name, text in TEXTS.items():
        upstream = shared.anthropic if name in ("foundry", "native") else shared.openai
        add_model(config, name, upstream.port, text)
    # Behind a filter of the listener Envoy puts the endpoint's name over the route's.
    clusters(config)["query"]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["hostname"] = HOST
    with Envoy(folder, config) as envoy:
        yield Gateway(request.param, envoy, shared, log)


@pytest.fixture
def gateway(_running: Gateway) -> Iterator[Gateway]:
    _running.backends.reset()
    yield _running
    assert CLIENT_KEY not in repr([*_running.openai_upstream.received, *_running.anthropic_upstream.received])


# ---- headers


@pytest.mark.rows("A21", "B11", "B26", "B39", "D6")
@pytest.mark.parametrize("api", ["chat", "messages"])
def test_the_gateways_credential_and_the_clients_other_headers(gateway: Gateway, api: str) -> None:
    path = "/v1/chat/completions" if api == "chat" else "/v1/messages"
    mine = {
        "Authorization": f"Bearer {CLIENT_KEY}",
        "X-Api-Key": CLIENT_KEY,
        "X-Team": "client",
        "X-Trace": "kept",
        "X-Corp-Assertion": CLIENT_KEY,
        "Accept-Encoding": "gzip, br",
        "OpenAI-Organization": CLIENT_KEY,
    }
    assert gateway.send(path, {"model": "own-header", "max_tokens": 9, "messages": HI}, mine).status == 200
    seen = gateway.openai_upstream.last
    assert seen.header("authorization") == f"Bearer {KEYS['OPENAI_API_KEY']}"
    assert (seen.header("x-team"), seen.header("x-trace")) == ("gateway", "kept")
    assert (seen.header("host"), seen.header("content-type")) == ("api.openai.com", "application/json")
    assert seen.header("accept-encoding") is None and seen.header("x-api-key") is None
    assert seen.header("content-length") == str(len(seen.body))


@pytest.mark.rows("F4")
def test_one_backend_and_one_credential_serve_both_apis(gateway: Gateway) -> None:
    assert gateway.chat("plain").json["object"] == "chat.completion"
    assert gateway.messages("plain").json["type"] == "message"
    credentials = {seen.header("authorization") for seen in gateway.openai_upstream.received}
    assert credentials == {f"Bearer {KEYS['OPENAI_API_KEY']}"} and len(gateway.openai_upstream.received) == 2


# ---- path and query


@pytest.mark.rows("B16", "D7", "D14")
def test_the_endpoints_query_is_kept_beside_that_of_auth_and_the_clients(gateway: Gateway) -> None:
    body = {"model": "query", "messages": HI}
    assert gateway.send("/v1/chat/completions?mine=1&both=client&from=client&key=x", body).status == 200
    seen = gateway.openai_upstream.last
    query = "mine=1&api-version=2024-02-15-preview&from=endpoint&both=auth&sig=a%26b%20%3D"
    assert seen.path == f"/base/chat?{query}"
    assert (seen.header("host"), seen.header("api-key")) == ("api.example", KEYS["OPENAI_API_KEY"])


@pytest.mark.rows("B10")
def test_no_request_sees_anything_of_another(gateway: Gateway) -> None:
    """Twelve at a time, each with a query, a header and a member of its own, on routes that add theirs."""
    alone = "/base/chat?api-version=2024-02-15-preview&from=endpoint&both=auth&sig=a%26b%20%3D"

    def ask(number: int) -> None:
        body = {"model": ("query", "plain", "fill")[number % 3], "messages": HI, "user": f"user-{number}"}
        gateway.send(f"/v1/chat/completions?n={number}", body, {"x-number": str(number)})

    for _ in range(3):
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(gateway.openai_upstream.received) == 36
    for seen in gateway.openai_upstream.received:
        number = seen.header("x-number")
        assert seen.json()["user"] == f"user-{number}"
        assert [value for name, value in parse_qsl(urlsplit(seen.path).query) if name == "n"] == [number]
        assert ("api-version" in seen.path) is (seen.header("host") == "api.example")
        assert ("metadata" in seen.json()) is (seen.json()["model"] == "sent-model")
    gateway.chat("query")
    assert gateway.openai_upstream.last.path == alone


# ---- the body


@pytest.mark.rows("D12", "D13", "D15", "D16", "D17")
def test_a_request_body_fills_what_is_missing(gateway: Gateway) -> None:
    gateway.chat("fill", temperature=1, stop=["s", "t"], metadata={"x": "0"}, max_tokens=1000)
    body = gateway.openai_upstream.last.json()
    assert (body["model"], body["temperature"], body["stop"]) == ("sent-model", 0.1, ["s", "t"])
    assert body["metadata"] == {"x": "0", "y": "2"}
    assert body["max_completion_tokens"] == 5 and "max_tokens" not in body and "never" not in body


@pytest.mark.rows("D17", "D29", "D30")
def test_a_forced_request_body_replaces_even_the_limit(gateway: Gateway) -> None:
    gateway.chat("force", temperature=1, stop=["s", "t"], metadata={"x": "0", "z": "3"}, max_tokens=1000)
    body = gateway.openai_upstream.last.json()
    assert (body["temperature"], body["stop"], body["max_completion_tokens"]) == (0.9, ["a"], 6)
    assert body["metadata"] == {"x": "1", "y": "2", "z": "3"} and "max_tokens" not in body


@pytest.mark.rows("D16", "D30")
def test_a_translated_request_gets_what_is_said_for_the_upstreams_api(gateway: Gateway) -> None:
    gateway.messages("force", stop_sequences=["s"])
    body = gateway.openai_upstream.last.json()
    assert (body["model"], body["temperature"], body["stop"], body["max_completion_tokens"]) == (
        "sent-model", 0.9, ["a"], 6,
    )  # fmt: skip
    assert "never" not in body


ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "openai_chat": ("/v1/chat/completions", {"messages": HI, "max_tokens": 1000, "max_completion_tokens": 1000}),
    "openai_responses": ("/v1/responses", {"input": "hi", "max_output_tokens": 1000}),
    "anthropic_messages": ("/v1/messages", {"messages": HI, "max_tokens": 1000}),
}
NAMES = {"max_tokens", "max_completion_tokens", "max_output_tokens"}


@pytest.mark.rows("D15", "D28")
@pytest.mark.parametrize("route", [name for name in TEXTS if name.rpartition("-")[2] in ASKED])
def test_exactly_one_limit_goes_out_under_the_providers_name(gateway: Gateway, route: str) -> None:
    provider, _, upstream = route.rpartition("-")
    column = tuple(ASKED).index(upstream)
    expected = LIMITS[provider][column]
    clients = list(ASKED) if upstream != "openai_responses" else ["openai_responses"]
    for client in clients:
        if client == "openai_responses" and upstream != "openai_responses":
            continue
        path, body = ASKED[client]
        gateway.send(path, {"model": route, **body})
        sent = gateway.openai_upstream.last.json()
        assert {name: sent[name] for name in NAMES & set(sent)} == {expected: 5}, client


# ---- OpenAI's clients, Anthropic's upstreams

C2 = {
    "messages": [
        {"role": "system", "content": "You are a mathematician"},
        {"role": "user", "content": "What is 1+1?"},
    ]
}


@pytest.mark.rows("A2", "A21", "C1", "C2", "C3", "C4", "C9")
@pytest.mark.parametrize("route", ["foundry", "native"])
@pytest.mark.parametrize("stream", [False, True])
def test_the_case_of_the_issue(gateway: Gateway, route: str, stream: bool) -> None:
    reply = gateway.send("/v1/chat/completions", {"model": route, **C2, **({"stream": True} if stream else {})})
    assert reply.status == 200, reply.body
    seen = gateway.anthropic_upstream.last
    body = seen.json()
    assert body["system"] == "You are a mathematician" and body["max_tokens"] >= 1024
    assert body["messages"] == [{"role": "user", "content": "What is 1+1?"}]
    assert seen.path == ("/anthropic/v1/messages" if route == "foundry" else "/v1/messages")
    assert (seen.header("x-api-key"), seen.header("anthropic-version")) == (KEYS["ANTHROPIC_API_KEY"], "2023-06-01")
    assert seen.header("content-type") == "application/json" and seen.header("authorization") is None


@pytest.mark.rows("A2", "A3", "A26", "C4", "C5", "C6", "C7")
def test_every_role_of_openais_finds_its_place(gateway: Gateway) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    messages = [
        {"role": "system", "content": "one"},
        {"role": "developer", "content": [{"type": "text", "text": "two"}]},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "done"},
        {"role": "system", "content": "three"},
        {"role": "user", "content": "go on"},
    ]
    reply = gateway.send(
        "/v1/chat/completions", {"model": "native", "messages": messages, "tools": [tool], "max_completion_tokens": 77}
    )
    assert reply.status == 200, reply.body
    usage = reply.json["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"] > 0
    body = gateway.anthropic_upstream.last.json()
    assert body["max_tokens"] == 77
    assert {message["role"] for message in body["messages"]} <= {"user", "assistant"}
    assert [message["role"] for message in body["messages"]][:3] == ["user", "assistant", "user"]
    assert body["messages"][0]["content"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert body["messages"][1]["content"][0] == {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}}
    assert body["messages"][2]["content"][0]["type"] == "tool_result"
    text = repr(body["system"]) + repr(body["messages"][2:])
    assert [word in text for word in ("one", "two", "three", "go on")] == [True] * 4


@pytest.mark.rows("C12")
def test_open_webui_as_a_client(gateway: Gateway) -> None:
    """It streams the chat, and asks for a title without a stream; both behind a system message."""
    headers = {"authorization": "Bearer any-text", "content-type": "application/json"}
    chat = {"stream": True, "stream_options": {"include_usage": True}, "model": "foundry", **C2}
    stream = gateway.send("/v1/chat/completions", chat, headers)
    assert stream.status == 200 and stream.body.endswith(b"data: [DONE]\n\n")
    assert b'"total_tokens"' in stream.body and b'"delta"' in stream.body
    title = {"stream": False, "model": "foundry", "max_completion_tokens": 1000, **C2}
    whole = gateway.send("/v1/chat/completions", title, headers).json
    assert whole["choices"][0]["message"]["content"] and whole["usage"]["total_tokens"] > 0
    assert "any-text" not in repr(gateway.anthropic_upstream.received)


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "text/plain", "application/octet-stream"])
def test_a_body_is_read_whatever_its_content_type_says(gateway: Gateway, kind: str) -> None:
    body = {"model": "native", "messages": HI}
    assert gateway.send("/v1/chat/completions", body, {"content-type": kind}).status == 200
    assert gateway.anthropic_upstream.last.header("content-type") == "application/json"


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "br"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_a_compressed_body_reaches_the_upstream_plain(gateway: Gateway, path: str, encoding: str) -> None:
    plain = msgspec.json.encode({"model": "native", "max_tokens": 9, "messages": HI})
    body = zstandard.compress(plain) if encoding == "zstd" else gzip.compress(plain)
    reply = gateway.send(path, body, {"content-encoding": encoding})
    if encoding == "br":
        assert reply.status == 415 and "'br'" in reply.json["error"]["message"]
        return
    assert reply.status == 200
    seen = gateway.anthropic_upstream.last
    assert seen.header("content-encoding") is None and seen.header("content-length") == str(len(seen.body))
    assert msgspec.json.decode(seen.body)["model"] == "native"


def test_what_only_anthropics_clients_say_stays_with_anthropic(gateway: Gateway) -> None:
    """The query and the betas that Claude Code sends with every request."""
    headers = {"anthropic-version": "2023-06-01", "anthropic-beta": "claude-code-20250219", "x-stainless-os": "Linux"}
    for model in ("plain", "native"):
        reply = gateway.send("/v1/messages?beta=true", {"model": model, "max_tokens": 9, "messages": HI}, headers)
        assert reply.status == 200
    openai, anthropic = gateway.openai_upstream.last, gateway.anthropic_upstream.last
    assert (openai.path, anthropic.path) == ("/v1/chat/completions", "/v1/messages?beta=true")
    assert anthropic.header("anthropic-beta") == "claude-code-20250219"
    for seen in (openai, anthropic):
        assert not [name for name, _ in seen.headers if name.startswith("x-stainless")]
    assert not [name for name, _ in openai.headers if name.startswith("anthropic")]
