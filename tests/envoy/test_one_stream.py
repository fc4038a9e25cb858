"""The placement in which the router's own stream translates: what only it can get wrong."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from extproc.demo import as_anthropic, as_openai
from extproc.demo.processes import Envoy
from extproc.demo.provider import Gate, json_answer, sse_answer
from extproc.reference import config as envoy_config
from tests.support import placements
from tests.support.gateway import CLIENT_KEY, KEYS, Backends, Gateway, configured, gateway
from tests.support.upstream import chat, chat_chunk, chat_stream, events, eventually


@pytest.fixture(scope="module")
def _one(shared: Backends) -> Iterator[Gateway]:
    with gateway(shared, "one-stream", name="one-stream-only") as made:
        yield made


@pytest.fixture
def one(_one: Gateway) -> Iterator[Gateway]:
    _one.backends.reset()
    yield _one
    assert _one.envoy.alive(), _one.envoy.tail()
    assert _one.backends.sidecar.alive(), _one.backends.sidecar.tail()


def exchanges(gateway: Gateway) -> dict[str, int]:
    """How many have ended, by role, when all have that had begun: a client has its answer before."""
    assert eventually(lambda: "\nextproc_open_streams 0\n" in gateway.backends.metrics())
    found: dict[str, int] = {}
    for role, count in re.findall(r'extproc_exchanges_total\{role="(\w+)".*\} (\d+)', gateway.backends.metrics()):
        found[role] = found.get(role, 0) + int(count)
    return found


def more(gateway: Gateway, before: dict[str, int]) -> dict[str, int]:
    return {role: count - before.get(role, 0) for role, count in exchanges(gateway).items()}


def messages(gateway: Gateway) -> Counter[str]:
    """How many have come, by phase."""
    found = re.findall(r'extproc_messages_total\{phase="(\w+)"\} (\d+)', gateway.backends.metrics())
    return Counter({phase: int(count) for phase, count in found})


def test_one_exchange_is_four_messages_and_each_body_one_of_them(one: Gateway) -> None:
    before = messages(one)
    assert one.messages("gpt-5", messages=[{"role": "user", "content": "x" * 500_000}]).status == 200
    phases = ("request_headers", "request_body", "response_headers", "response_body")
    assert messages(one) - before == Counter(phases)


@pytest.mark.parametrize("stream", [False, True])
def test_one_exchange_is_one_stream(one: Gateway, stream: bool) -> None:
    before = exchanges(one)
    reply = one.messages("gpt-5", stream=stream)
    assert reply.status == 200 and (b"message_stop" in reply.body) is stream, reply.body
    assert eventually(lambda: more(one, before).get("router") == 1)
    assert more(one, before).get("translator", 0) == 0


def test_a_large_image_arrives_whole_in_either_direction(one: Gateway) -> None:
    """It goes from body to body unread, with what stands around it translated."""
    data = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 12_000).decode()
    source = {"type": "base64", "media_type": "image/png", "data": data}
    image, url = {"type": "image", "source": source}, f"data:image/png;base64,{data}"
    assert one.messages("gpt-5", messages=[{"role": "user", "content": [image]}]).status == 200
    received = one.openai_upstream.last
    assert received.json()["messages"][0]["content"] == [{"type": "image_url", "image_url": {"url": url}}]
    assert received.header("content-length") == str(len(received.body))
    part = {"type": "image_url", "image_url": {"url": url}}
    assert one.chat("claude-haiku-4-5", messages=[{"role": "user", "content": [part]}]).status == 200
    assert one.anthropic_upstream.last.json()["messages"][0]["content"] == [image]


@pytest.mark.parametrize("stream", [False, True])
def test_a_route_that_fails_over_keeps_its_own_filter(one: Gateway, stream: bool) -> None:
    before = exchanges(one)
    one.openai_upstream.will(as_openai.failure(503, "not now", "server_error"))
    reply = one.messages("best", stream=stream)
    assert reply.status == 200 and (b"message_stop" in reply.body) is stream, reply.body
    assert eventually(lambda: more(one, before) == {"router": 1, "translator": 2})
    first, second = one.openai_upstream.last, one.anthropic_upstream.last
    assert first.header("authorization") == f"Bearer {KEYS['OPENAI_API_KEY']}" and not first.header("x-api-key")
    assert second.header("x-api-key") == KEYS["ANTHROPIC_API_KEY"] and not second.header("authorization")


def test_behind_such_a_route_a_stream_comes_piece_by_piece(one: Gateway) -> None:
    gate = Gate()
    first, *rest = events(chat_chunk(content="one"), chat_chunk(content="two"), chat_chunk("stop"), done=True)
    one.openai_upstream.will(sse_answer([first, gate, *rest]))
    with one.openai().chat.completions.create(
        model="best", messages=[{"role": "user", "content": "hi"}], stream=True
    ) as stream:
        assert next(iter(stream)).choices[0].delta.content == "one", "before the rest has been said"
        gate.set()


def test_a_second_try_at_the_same_provider_is_the_first_again(one: Gateway) -> None:
    one.openai_upstream.will(as_openai.failure(503, "not now", "server_error"))
    reply = one.messages("gpt-5")
    assert reply.status == 200 and reply.json["type"] == "message", reply.body
    first, second = one.openai_upstream.received
    assert (first.path, first.body) == (second.path, second.body)
    assert first.header("authorization") == second.header("authorization") == f"Bearer {KEYS['OPENAI_API_KEY']}"


def test_a_request_that_was_tried_twice_is_one_exchange_in_log_and_metrics(one: Gateway) -> None:
    # No other test here asks for it: the log must have one line about it.
    (whole,) = chat("hi").chunks
    assert isinstance(whole, bytes)
    answered = {**json.loads(whole), "model": "tried-twice"}
    one.openai_upstream.will(as_openai.failure(503, "not now", "server_error"), json_answer(answered))
    before = exchanges(one)
    reply = one.messages("gpt-tried-twice")
    assert reply.status == 200 and len(one.openai_upstream.received) == 2
    assert eventually(lambda: more(one, before).get("router") == 1)
    line = one.logged(answered["model"])
    assert (line["attempts"], line["status"], line["route"]) == (2, 200, "openai")
    assert line["input_tokens"] == answered["usage"]["prompt_tokens"] and not line["error"]


HOSTS = ("one.example", "two.example")


@pytest.fixture(scope="module")
def _hosted(shared: Backends) -> Iterator[Gateway]:
    """OpenAI behind two endpoints with names of their own, the second where the first one fails; Anthropic's route
    leaves the host alone. What the endpoints say of routes is not read here."""
    folder = shared.new_folder("one-stream-hosts")
    config = configured(shared, "one-stream", folder / "access.log")
    made = placements.clusters(config)["openai"]["load_assignment"]
    (first,) = made["endpoints"]
    made["endpoints"] = [{**envoy_config.copy_all(first), "priority": number} for number in (0, 1)]
    for locality, host in zip(made["endpoints"], HOSTS, strict=True):
        (endpoint,) = locality["lb_endpoints"]
        endpoint["endpoint"]["hostname"] = host
        placements.set_text(endpoint, "provider: anthropic\nauth: none\noptions: {model: another}\n")
    taken = placements.route(config, "any_provider")["route"]["retry_policy"]["retry_priority"]
    placements.route(config, "openai")["route"]["retry_policy"]["retry_priority"] = taken
    placements.route(config, "anthropic")["route"]["auto_host_rewrite"] = False
    with Envoy(folder, config) as envoy:
        yield Gateway("one-stream", envoy, shared, folder / "access.log")


def test_the_host_is_that_of_the_endpoint_on_each_attempt(_hosted: Gateway) -> None:
    _hosted.backends.reset()
    _hosted.openai_upstream.will(as_openai.failure(503, "not now", "server_error"))
    assert _hosted.messages("gpt-5").status == 200
    assert [seen.header("host") for seen in _hosted.openai_upstream.received] == [*HOSTS]


def test_without_rewriting_the_provider_gets_the_clients_host(_hosted: Gateway) -> None:
    _hosted.backends.reset()
    assert _hosted.messages("claude-sonnet-4-5").status == 200
    assert _hosted.anthropic_upstream.last.header("host") == f"127.0.0.1:{_hosted.envoy.port}"


def test_what_an_endpoint_says_of_a_route_is_not_read(_hosted: Gateway) -> None:
    _hosted.backends.reset()
    assert _hosted.messages("gpt-5").status == 200
    seen = _hosted.openai_upstream.last
    assert (seen.path, seen.json()["model"]) == ("/v1/chat/completions", "gpt-5")
    assert seen.header("authorization") == f"Bearer {KEYS['OPENAI_API_KEY']}"


@pytest.mark.parametrize("own", ["anthropic", "openai", "no_such_route", "x" * 300])
@pytest.mark.parametrize("model", ["gpt-5", "best", "unheard-of"])
def test_a_client_cannot_choose_the_route(one: Gateway, own: str, model: str) -> None:
    headers = {"x-extproc-route": own, "x-extproc-model": "claude-sonnet-4-5", "authorization": f"Bearer {CLIENT_KEY}"}
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    reply = one.send("/v1/chat/completions", body, headers)
    assert one.anthropic_upstream.received == []
    if model == "unheard-of":
        assert reply.status == 404 and reply.json["error"]["code"] == "model_not_found", reply.body
    else:
        assert reply.status == 200
        seen = one.openai_upstream.last
        assert not [name for name, _ in seen.headers if name.startswith("x-extproc")]


@pytest.mark.parametrize("model", ["", None])
def test_without_a_model_a_clients_own_header_leads_nowhere(one: Gateway, model: str | None) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], **({} if model is None else {"model": model})}
    reply = one.send("/v1/chat/completions", body, {"x-extproc-route": "openai", "x-extproc-model": "gpt-5"})
    assert reply.status == 400 and one.openai_upstream.received == one.anthropic_upstream.received == []


@pytest.fixture(scope="module")
def _moved(shared: Backends) -> Iterator[Gateway]:
    """The same providers, and a second one that takes over where OpenAI fails."""
    folder = shared.new_folder("moved-to-two")
    config = placements.two_streams(configured(shared, "one-stream", folder / "access.log"))
    found = placements.clusters(config)
    second = {**found["anthropic"]["load_assignment"]["endpoints"][0], "priority": 1}
    found["openai"]["load_assignment"]["endpoints"].append(second)
    policy = placements.route(config, "openai")["route"]["retry_policy"]
    policy["retry_priority"] = placements.route(config, "any_provider")["route"]["retry_policy"]["retry_priority"]
    with Envoy(folder, config) as envoy:
        yield Gateway("upstream", envoy, shared, folder / "access.log")


ASKED: dict[str, Any] = {
    "whole": {},
    "stream": {"stream": True},
    "a loss": {"top_k": 5, "seed": 7},
    "no message": {"messages": []},
    "wrong": {"messages": 7},
    "another name": {"model": "fast"},
    "nobody's": {"model": "llama"},
    "no model": {"model": ""},
}
ANSWERED: dict[str, Any] = {
    "usually": None,
    "an error": as_openai.failure(400, "no such parameter"),
    "a stream that ends early": chat_stream({"content": "one"}, finish=None, done=False),
}
VARIES = {"date", "x-request-id", "x-envoy-upstream-service-time", "content-length", "transfer-encoding"}
"""The last two: Envoy may know the length of a body or not."""


EXCHANGES = [
    *((asked, answered) for asked in ASKED for answered in ("usually", "an error")),
    # Of a whole answer it would be tried again: that the second one takes over is what it is there for.
    ("stream", "a stream that ends early"),
]


@pytest.mark.parametrize(("asked", "answered"), EXCHANGES)
@pytest.mark.parametrize("api", ["chat", "messages"])
def test_clients_see_no_difference_when_a_second_provider_joins(
    one: Gateway, _moved: Gateway, api: str, asked: str, answered: str
) -> None:
    seen = []
    for each in (one, _moved):
        each.backends.reset()
        if ANSWERED[answered] is not None:
            each.openai_upstream.will(ANSWERED[answered])
        members = {"model": "gpt-5", **ASKED[asked]}
        reply = each.chat(**members) if api == "chat" else each.messages(**members)
        headers = {name: value for name, value in reply.headers.items() if name not in VARIES}
        made = re.sub(rb'"id":"[^"]*"|"created":\d+', b"", reply.body)
        sent = [(got.path, got.body, got.header("authorization")) for got in each.openai_upstream.received]
        seen.append((reply.status, headers, made, reply.broken, sent))
    assert seen[0] == seen[1]
    # What there is to compare is no empty thing.
    assert seen[0][2] and (seen[0][4] or seen[0][0] >= 400)


def test_another_name_for_a_model(one: Gateway) -> None:
    # No other test here asks for it: the log must have one line about it.
    reply = one.messages("claude/opus-4-8")
    assert reply.status == 200 and one.anthropic_upstream.last.json()["model"] == "claude-opus-4-8"
    line = one.logged(reply.json["model"])
    assert (line["route"], line["cluster"], line["provider"]) == ("anthropic", "anthropic", "anthropic")
    assert line["input_tokens"] and line["attempts"] == 1


def test_a_key_goes_where_its_route_leads_or_nowhere(shared: Backends) -> None:
    folder = shared.new_folder("one-stream-misrouted")
    config = configured(shared, "one-stream", folder / "access.log")
    routes = placements.routes(config)
    # The operator has forgotten the route that the list names, and others stand there for what bears a model.
    routes[:] = [item for item in routes if item["name"] != "openai"]
    shared.reset()
    with Envoy(folder, config) as envoy:
        made = Gateway("one-stream", envoy, shared, folder / "access.log")
        reply = made.messages("gpt-5")
        assert reply.status == 404 and reply.json["type"] == "error", reply.body
        assert "no such route" in reply.json["error"]["message"]
        assert shared.openai.received == shared.anthropic.received == []
        assert made.messages("claude-sonnet-4-5").status == 200
        assert KEYS["OPENAI_API_KEY"] not in repr(shared.anthropic.received)


def test_a_stream_that_breaks_off_is_told(one: Gateway) -> None:
    one.openai_upstream.will(chat_stream({"content": "one"}, finish=None, done=False))
    reply = one.messages("gpt-5", stream=True)
    assert b"event: error" in reply.body and b"message_stop" not in reply.body, reply.body


def test_an_error_of_the_upstream_has_the_clients_shape(one: Gateway) -> None:
    one.anthropic_upstream.will(*[as_anthropic.failure(429, "slow down", "rate_limit_error")] * 2)
    reply = one.chat("claude-sonnet-4-5")
    assert reply.status == 429 and reply.json["error"]["message"] == "slow down", reply.body
