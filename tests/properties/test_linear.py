"""What a client can make long costs no more than its length: CPU at four times the size, at most six times as much."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from extproc import Refused, Translation, dialects, providers

from .growth import grows_with_its_length, spread
from .long_requests import (
    CONVERSE,
    EMBEDDINGS,
    GEMINI,
    RESPONSES,
    SCHEMAS,
    Json,
    Made,
    branches,
    many,
    schema,
)

CHAT, MESSAGES = "openai_chat", "anthropic_messages"
HI = {"role": "user", "content": "hi"}
THOUGHT = {"type": "thinking", "thinking": "w", "signature": "S"}


def chat_calls(n: int, ids: Callable[[int], str]) -> list[Json]:
    return [{"id": ids(i), "type": "function", "function": {"name": "f", "arguments": "{}"}} for i in range(n)]


def use(id_: str) -> Json:
    return {"type": "tool_use", "id": id_, "name": "f", "input": {}}


def result(id_: str) -> Json:
    return {"type": "tool_result", "tool_use_id": id_, "content": "r"}


def asked(n: int, ids: Callable[[int], str] = "t{}".format) -> Json:
    return {"role": "assistant", "content": None, "tool_calls": chat_calls(n, ids)}


def told(id_: str) -> Json:
    return {"role": "tool", "tool_call_id": id_, "content": "r"}


def chat_schema(make: Made) -> Made:
    def made(n: int) -> Json:
        form = {"name": "n", "strict": True, "schema": make(n)}
        return {"response_format": {"type": "json_schema", "json_schema": form}}

    return made


def messages_schema(make: Made) -> Made:
    return lambda n: {"output_config": {"format": {"type": "json_schema", "schema": make(n)}}}


CHATS: dict[str, Made] = {
    "messages": lambda n: {"messages": [HI, {"role": "assistant", "content": "a"}] * n + [HI]},
    "users in a row": lambda n: {"messages": [HI] * n},
    "late systems": lambda n: {"messages": [HI] + [{"role": "system", "content": "s"}] * n + [HI]},
    "systems and users in turn": lambda n: {"messages": [HI, *[{"role": "system", "content": "s"}, HI] * n]},
    "leading systems": lambda n: {"messages": [{"role": "system", "content": "s"}] * n + [HI]},
    "parts": lambda n: {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}] * n}]},
    "results in reverse": lambda n: {"messages": [HI, asked(n), *(told(f"t{i}") for i in reversed(range(n)))]},
    "results of one id": lambda n: {"messages": [HI, asked(n, lambda _: "t"), *(told("t") for _ in range(n))]},
    "results without ids": lambda n: {"messages": [HI, asked(n, lambda _: ""), *(told("") for _ in range(n))]},
    "results of nothing": lambda n: {"messages": [HI, *(told(f"t{i}") for i in range(n)), HI]},
    "interrupted calls": lambda n: {"messages": [HI, asked(n), HI]},
    "assistants that call": lambda n: {
        "messages": [HI, *(asked(1, f"t{i}.{{}}".format) for i in range(n)), *(told(f"t{i}.0") for i in range(n))]
    },
    "thinking": lambda n: {
        "messages": [HI, *([{"role": "assistant", "content": "a", "reasoning_content": "w"}, HI] * n)]
    },
    "tools": lambda n: {"tools": [{"type": "function", "function": {"name": f"f{i}"}} for i in range(n)]},
    "allowed tools": lambda n: {
        "tools": [{"type": "function", "function": {"name": f"f{i}"}} for i in range(n)],
        "tool_choice": {
            "type": "allowed_tools",
            "mode": "auto",
            "tools": [{"type": "function", "name": f"f{i}"} for i in range(n)],
        },
    },
    "equal names of tools": lambda n: {"tools": [{"type": "function", "function": {"name": "f"}}] * n},
    "illegal property names": lambda n: {
        "tools": [
            {"type": "function", "function": {"name": "f", "parameters": schema({f"a {i}": {} for i in range(n)})}}
        ]
    },
    "branches of a tool": lambda n: {
        "tools": [{"type": "function", "function": {"name": "f", "parameters": branches(n)}}]
    },
    "stops": lambda n: {"stop": [f"s{i}" for i in range(n)]},
    "metadata": lambda n: {"metadata": {f"m{i}": "x" for i in range(n)}},
    "unknown members": lambda n: {f"m{i}": "x" for i in range(n)},
    "cache marks": lambda n: {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"ttl": "1h"}}] * n}]
    },
    **{f"schema: {name}": chat_schema(make) for name, make in SCHEMAS.items()},
}
MESSAGESES: dict[str, Made] = {
    "messages": lambda n: {"messages": [HI, {"role": "assistant", "content": "a"}] * n + [HI]},
    "users in a row": lambda n: {"messages": [HI] * n},
    "late systems": lambda n: {"messages": [HI, {"role": "system", "content": "s"}] * n + [HI]},
    "systems in a row, then users": lambda n: {"messages": [HI, *[{"role": "system", "content": "s"}] * n, *[HI] * n]},
    "blocks": lambda n: {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}] * n}]},
    "system": lambda n: {"system": [{"type": "text", "text": "x"}] * n},
    "results in reverse": lambda n: {
        "messages": [
            HI,
            {"role": "assistant", "content": [use(f"t{i}") for i in range(n)]},
            {"role": "user", "content": [result(f"t{i}") for i in reversed(range(n))]},
        ]
    },
    "results of nothing": lambda n: {"messages": [{"role": "user", "content": [result(f"t{i}") for i in range(n)]}]},
    "interrupted calls": lambda n: {
        "messages": [HI, {"role": "assistant", "content": [use(f"t{i}") for i in range(n)]}, HI]
    },
    "assistants that call": lambda n: {
        "messages": [
            HI,
            *({"role": "assistant", "content": [{"type": "text", "text": "x"}, use(f"t{i}")]} for i in range(n)),
            {"role": "user", "content": [result(f"t{i}") for i in range(n)]},
        ]
    },
    "thinking": lambda n: {
        "messages": [
            HI, {"role": "assistant", "content": [THOUGHT] * n + [use("t")]},
            {"role": "user", "content": [result("t")]},
        ]
    },
    "tool changes": lambda n: {
        "messages": [
            HI,
            {"role": "system", "content": [
                {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": {"name": f"f{i}"}}}
                for i in range(n)
            ]},
        ]
    },
    "tools": lambda n: {"tools": [{"name": f"f{i}", "input_schema": {"type": "object"}} for i in range(n)]},
    "schema of a tool": lambda n: {"tools": [{"name": "f", "strict": True, "input_schema": many(n)}]},
    "arrays of a tool": lambda n: {
        "tools": [{"name": "f", "input_schema": schema({f"p{i}": {"type": "array"} for i in range(n)})}]
    },
    "stops": lambda n: {"stop_sequences": [f"s{i}" for i in range(n)]},
    "metadata": lambda n: {"metadata": {f"m{i}": "x" for i in range(n)}},
    **{f"schema: {name}": messages_schema(make) for name, make in SCHEMAS.items()},
}  # fmt: skip
CLIENTS: dict[str, dict[str, Made]] = {
    CHAT: CHATS,
    MESSAGES: MESSAGESES,
    "openai_responses": RESPONSES,
    "gemini": GEMINI,
    "bedrock_converse": CONVERSE,
}
BASE: dict[str, Json] = {
    CHAT: {"messages": [HI]},
    MESSAGES: {"max_tokens": 9, "messages": [HI]},
    "openai_responses": {"input": "hi", "store": False},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
    "bedrock_converse": {"messages": [{"role": "user", "content": [{"text": "hi"}]}]},
}
MODELS = {
    CHAT: "gpt-4o",
    MESSAGES: "claude-sonnet-5-5",
    "openai_responses": "gpt-5.4-mini",
    "gemini": "gemini-2.5-flash",
    "bedrock_converse": "anthropic.claude-sonnet-5-5-v1:0",
}
PATHS = {"gemini": "/v1beta/models/{}:generateContent", "bedrock_converse": "/model/{}/converse"}
PROVIDERS = {CHAT: "openai-compatible"}
CASES = [
    pytest.param(client, upstream, make, id=f"{client}-{upstream}-{name}")
    for client, cases in CLIENTS.items()
    for place, (name, make) in enumerate(cases.items())
    for upstream in (tuple(MODELS) if "system" in name else spread(tuple(MODELS), place, 3))
]


def asking(client: str, upstream: str, body: Json, path: str = "", headers: Json = ()) -> Callable[[], object]:
    provider = PROVIDERS.get(upstream) or providers.native_to(upstream)
    route = {"provider": provider, "auth": "none", "quirks": {"alternate_roles": True}}
    data = json.dumps(body).encode()

    def ask() -> object:
        try:
            return Translation(client, upstream, route=route, now=0).request(data, path=path, headers=list(headers))
        except Refused as refused:
            assert refused.status == 400, refused
            return None

    return ask


def of_length(client: str, upstream: str, make: Made) -> Callable[[int], Callable[[], object]]:
    model = MODELS[upstream]
    named = {} if client in PATHS else {"model": model}
    path = PATHS.get(client, "").format(model)
    return lambda n: asking(client, upstream, {**BASE[client], **named, **make(n)}, path)


def test_every_dialect_is_here() -> None:
    conversing = {name for name, dialect in dialects.REGISTRY.items() if dialect.converses}
    # Claude on Bedrock and Vertex is the same body behind another path.
    assert conversing - {"anthropic_bedrock", "anthropic_vertex"} == set(CLIENTS) == set(MODELS)


@pytest.mark.parametrize(("client", "upstream", "make"), CASES)
def test_time_grows_with_the_length(client: str, upstream: str, make: Made) -> None:
    grows_with_its_length(of_length(client, upstream, make))


@pytest.mark.parametrize("make", EMBEDDINGS.values(), ids=list(EMBEDDINGS))
def test_time_grows_with_what_is_embedded(make: Made) -> None:
    name = "openai_embeddings"
    grows_with_its_length(lambda n: asking(name, name, {"model": "m", **make(n)}, "/v1/embeddings"))


@pytest.mark.parametrize("upstream", [CHAT, MESSAGES])
def test_time_grows_with_headers(upstream: str) -> None:
    body = {**BASE[CHAT], "model": MODELS[upstream]}

    def headers(n: int) -> Callable[[], object]:
        return asking(CHAT, upstream, body, headers=[(f"x-{i}", "v") for i in range(n)])

    grows_with_its_length(headers)


@pytest.mark.parametrize("upstream", [CHAT, MESSAGES])
@pytest.mark.parametrize("name", ["x{}=v", "key{}=v", "a%2{}=v"])
def test_time_grows_with_the_query(upstream: str, name: str) -> None:
    body = {**BASE[CHAT], "model": MODELS[upstream]}

    def query(n: int) -> Callable[[], object]:
        parameters = "&".join(name.format(i) for i in range(n))
        return asking(CHAT, upstream, body, f"/v1/chat/completions?{parameters}")

    grows_with_its_length(query)


def test_a_quadratic_walk_would_be_seen() -> None:
    def walk(n: int) -> Callable[[], object]:
        names = [str(i) for i in range(n)]
        return lambda: [name for name in names if name not in names]

    with pytest.raises(AssertionError, match="times as long"):
        grows_with_its_length(walk)
