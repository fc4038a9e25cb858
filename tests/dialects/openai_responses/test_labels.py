"""Encrypted reasoning of several hosts of this API, through clients of it and of others: whose it is goes with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc import Call, Translation
from extproc.llm import marker

Json = Any
ROUTES: dict[str, Json] = {
    "openai": {"provider": "openai"},
    "router": {"provider": "openrouter"},
    "grok": {"provider": "openai-compatible", "override": {"endpoint": "https://api.x.example/v1/responses"}},
}
MODELS = {"openai": "gpt-5.4-mini", "router": "gpt-5.4-mini", "grok": "grok-5"}
HI: Json = {"role": "user", "content": "hi"}
REASONING: Json = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
SAID: Json = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello"}]}


def asking(host: str, *items: Json, client: str = "openai_responses") -> tuple[Translation, Json, list[str]]:
    """A conversation of *items*, sent to *host*."""
    route = {"auth": "none", "upstream": "openai_responses", **ROUTES[host]}
    t = Translation(client, route=route, now=0)
    body: Json = {"model": MODELS[host], "store": False, "include": ["reasoning.encrypted_content"], "input": [*items]}
    if client == "bedrock_converse":
        body = {"messages": [*items]}
    elif client == "anthropic_messages":
        body = {"model": MODELS[host], "max_tokens": 999, "messages": [*items]}
    made = t.request(json.dumps(body).encode(), path=f"/model/{MODELS[host]}/converse" if "bedrock" in client else "")
    assert isinstance(made, Call)
    return t, json.loads(made.body), [str(loss) for loss in t.losses]


def whole(host: str, client: str = "openai_responses", hello: Json = HI) -> Json:
    t, _, _ = asking(host, hello, client=client)
    t.response_head(200, [("content-type", "application/json")])
    answer = {"id": "r", "object": "response", "status": "completed", "output": [REASONING, SAID]}
    return json.loads(t.response_body(json.dumps(answer).encode(), end_of_stream=True))


def reasoning_of(items: list[Json]) -> list[str]:
    return [item["encrypted_content"] for item in items if item.get("type") == "reasoning"]


@pytest.mark.parametrize("host", ROUTES)
@pytest.mark.parametrize("then", ROUTES)
def test_reasoning_goes_back_to_its_host_and_to_no_other(host: str, then: str) -> None:
    told = whole(host)["output"]
    assert (reasoning_of(told) == ["gAAA"]) is (host == "openai")
    _, sent, losses = asking(then, HI, *told, HI)
    assert reasoning_of(sent["input"]) == (["gAAA"] if host == then else [])
    assert losses == ([] if host == then else ["input[1]:dropped"])


@pytest.mark.parametrize("step", [1, 50, 9999])
def test_a_stream_says_whose_it_is_wherever_it_is_cut(step: int) -> None:
    events: list[Json] = [
        {"type": "response.created", "response": {"id": "r", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**REASONING, "encrypted_content": ""}},
        {"type": "response.output_item.done", "output_index": 0, "item": REASONING},
        {"type": "response.completed", "response": {"id": "r", "status": "completed", "output": [REASONING, SAID]}},
    ]
    wire = b"".join(b"event: %b\ndata: %b\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in events)
    route = {"auth": "none", "upstream": "openai_responses", **ROUTES["grok"]}
    t = Translation("openai_responses", route=route, now=0)
    t.request(json.dumps({"model": "grok-5", "stream": True, "input": "hi"}).encode())
    t.response_head(200, [("content-type", "text/event-stream")])
    out = b"".join(t.response_body(wire[at : at + step]) for at in range(0, len(wire), step))
    out += t.response_body(b"", end_of_stream=True)
    sealed = marker.sealed(marker.Seal("grok-responses-v1", encrypted="gAAA"))
    assert out.count(sealed.encode()) == 2 and out.count(b"gAAA") == 2
    assert b'"encrypted_content": ""' in out, "what holds no seal keeps its bytes"


CLIENTS: dict[str, Json] = {
    "anthropic_messages": {"role": "user", "content": "hi"},
    "bedrock_converse": {"role": "user", "content": [{"text": "hi"}]},
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("host", "then"), [("openai", "openai"), ("router", "router"), ("grok", "grok"), ("router", "grok")]
)
def test_it_comes_back_through_clients_of_other_apis(client: str, host: str, then: str) -> None:
    hello = CLIENTS[client]
    told = whole(host, client, hello)
    turn = (
        told["output"]["message"] if client == "bedrock_converse" else {"role": "assistant", "content": told["content"]}
    )
    _, sent, losses = asking(then, hello, turn, hello, client=client)
    assert reasoning_of(sent["input"]) == (["gAAA"] if host == then else [])
    assert any("dropped" in loss for loss in losses) is (host != then)
