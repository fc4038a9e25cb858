"""Properties of requests, over every ordered pair of dialects that have both sides."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc import Refused, Translation

from .conversations import BASE, HOSTED, IN_PATH, MESSAGES, MODELS, PLACE, TOOLS, requests, with_tools
from .test_lossless import GOLDENS

PROVIDER = {
    "openai_chat": ["openai", "openai-compatible", "openrouter", "deepseek"],
    "anthropic_messages": ["anthropic"],
    "openai_responses": ["openai", "openai-compatible"],
    "gemini": ["gemini"],
    "bedrock_converse": ["bedrock"],
    "anthropic_bedrock": ["bedrock-anthropic"],
    "anthropic_vertex": ["vertex-anthropic"],
}
PAIRS = [
    (client, upstream)
    for client in PLACE
    for upstream in PLACE
    # Of one body in two envelopes the one pair tells it all.
    if client != upstream and (client not in HOSTED or upstream not in (*HOSTED, "anthropic_messages"))
]
pairs = pytest.mark.parametrize(("client", "upstream"), PAIRS)


def translate(client: str, upstream: str, body: Any, provider: str | None = None, **members: Any) -> Any:
    """The upstream's body, decoded so that the order of members is kept. *members*: the route's, beside the usual."""
    t = Translation(client, upstream, route={**route_to(upstream, provider), **members}, now=0)
    return json.loads(request(t, client, body).body)


def route_to(upstream: str, provider: str | None = None) -> Any:
    conf = {"project_id": "p", "region": "r"} if upstream == "anthropic_vertex" else {}
    return {"provider": provider or PROVIDER[upstream][0], "provider_conf": conf, "auth": "none"}


def request(t: Translation, client: str, body: Any) -> Any:
    """*body* as a request of *client*, whose path may name the model."""
    path = ""
    if client in IN_PATH and isinstance(body, dict):
        path = IN_PATH[client].format(quote(str(body.get("model")), safe=""))
        body = {name: value for name, value in body.items() if name != "model"}
    return t.request(json.dumps(body).encode(), path=path)


def texts(value: Any) -> str:
    """Every text of a body, in no particular order."""
    if isinstance(value, dict):
        return "\n".join(texts(v) for v in value.values())
    return "\n".join(map(texts, value)) if isinstance(value, list) else str(value)


@pairs
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_what_the_user_said_arrives(client: str, upstream: str, data: st.DataObject) -> None:
    body = data.draw(requests(client, upstream))
    arrived = texts(translate(client, upstream, body))
    for message in body[PLACE[client]]:
        content = message.get("content", message.get("output", message.get("parts")))
        if message.get("role") == "user" and isinstance(content, str):
            assert content in arrived
        for part in content if isinstance(content, list) else []:
            if part.get("type", "text") in ("text", "input_text", "output_text") and "thought" not in part:
                assert part.get("text", "") in arrived


WORDS = st.sampled_from(["", "x", "text", "auto"])
KEYS = st.sampled_from(["type", "x", "text"])
JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(-1, 1), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(KEYS, inner, max_size=2)),
    max_leaves=4,
)
NEW_KEYS = st.sampled_from(["x_new", "type", "content", "id", "cache_control", "citations"])


@st.composite
def damaged(draw: st.DrawFn, value: Any) -> Any:
    """*value* with one thing, anywhere in it, replaced, removed or added."""
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(value)))
        return value | {key: draw(damaged(value[key]))}
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], draw(damaged(value[index])), *value[index + 1 :]]
    if isinstance(value, dict):
        return value | {draw(NEW_KEYS): draw(JUNK)}
    return draw(JUNK)


@pairs
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_bad_input_is_refused_in_the_clients_shape_or_translated(
    client: str, upstream: str, data: st.DataObject
) -> None:
    body = data.draw(damaged(data.draw(requests(client, upstream))))
    try:
        translate(client, upstream, body)
    except Refused as refused:
        told = json.loads(refused.body)
        error = told.get("error", told)
        assert refused.status == 400, refused
        assert error["message"]
        kind = error.get("type", error.get("status")) or dict(refused.headers)["x-amzn-errortype"]
        assert kind in ("invalid_request_error", "INVALID_ARGUMENT", "ValidationException")


WITHOUT_MODEL = b'{"max_tokens":5,"messages":[{"role":"user","content":"x"}]}'


@pairs
@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"3", b'"x"', b"{", b'{"model": 1}', b"\xff\xfe",
        b'{"model":"m","messages":' + b"[" * 100_000,
        b'{"model":"m","max_tokens":5,"messages":[]}', WITHOUT_MODEL,
        b'{"model":"m","max_tokens":5,"messages":[{"role":"owner","content":"x"}]}',
        b'{"model":"m","max_tokens":5,"messages":[{"content":"x"}]}',
        b'{"model":"m","max_tokens":5,"messages":[7]}',
        b'{"model":"m","input":[7]}', b'{"model":"m","input":[{"role":"owner","content":"x"}]}', b'{"input":"x"}',
        b'{"model":"m","input":' + b"[" * 100_000,
    ],
    ids=lambda b: b[:40].decode("latin-1"),
)  # fmt: skip
def test_malformed_bodies(client: str, upstream: str, body: bytes) -> None:
    if client in HOSTED and body == WITHOUT_MODEL:
        body = b"{}"  # their path has it
    route = route_to(upstream)
    with pytest.raises(Refused) as refused:
        Translation(client, upstream, route=route).request(body, path=IN_PATH.get(client, "").format("m"))
    assert refused.value.status == 400
    told = json.loads(refused.value.body)
    assert told.get("error", told)["message"]


@pairs
@pytest.mark.rows("B35")
def test_unknown_members_are_reported_or_refused_never_lost(client: str, upstream: str) -> None:
    """One unknown member at a time, at every object of a body."""
    base = {"model": MODELS[upstream][0], **BASE[client], **with_tools(client, TOOLS[client])}
    new = {"x_new": 1}
    place = PLACE[client]
    content = "parts" if client == "gemini" else "content"
    kind = {} if client in IN_PATH and client not in HOSTED else {"type": "input_text" if place == "input" else "text"}
    part = {**kind, "text": "hi"}
    user = {"role": "user", content: [part]}
    tool = TOOLS[client][0] | new
    if client == "gemini":
        tool = {"functionDeclarations": [{"name": "f", **new}]}
    elif client == "bedrock_converse":
        tool = {"toolSpec": TOOLS[client][0]["toolSpec"] | new}
    spots: list[tuple[str, Any]] = [
        ("x_new", base | {place: [user], **new}),
        (f"{place}[0].x_new", base | {place: [user | new]}),
        (f"{place}[0].{content}[0].x_new", base | {place: [user | {content: [part | new]}]}),
        ("toolConfig" if "toolConfig" in base else "tools[0]", base | {place: [user], **with_tools(client, [tool])}),
    ]
    for path, body in spots:
        t = Translation(client, upstream, route=route_to(upstream), now=0)
        try:
            sent = request(t, client, body).body
        except Refused as refused:
            assert "x_new" in refused.failed.message
            continue
        if b"x_new" in sent and {client, upstream} <= {*HOSTED, "anthropic_messages"}:
            continue  # one API, whose new members are carried to it
        assert b"x_new" not in sent
        assert any(loss.path.startswith(path) and "x_new" in loss.path for loss in t.losses), path


READ_AS_ONE = re.compile(r"cache_control|prompt_cache_breakpoint|[sS]chema|parameters|generationConfig$|unknown")
"""Of a cache mark, which costs nothing but money, and of what is unread anyway the whole is reported; schemas go as
they are, or with a loss of their own."""


@pytest.mark.parametrize(("client", "body"), [case for case in GOLDENS if case.values[0] not in HOSTED])
@pytest.mark.rows("B35")
def test_what_nobody_knows_is_reported_at_any_depth(client: str, body: bytes) -> None:
    asked = {"model": "m", **json.loads(body)}
    for upstream in sorted(set(PLACE) - {client, *HOSTED}):
        if reported(client, upstream, asked) is None:
            continue  # refused as it is
        for path, grown in with_new(asked, ""):
            found = reported(client, upstream, grown)
            told = found is None or "x_new" in found or any(path.startswith(lost) for lost in found.split("\n") if lost)
            assert told or READ_AS_ONE.search(path), (upstream, path, found)


def with_new(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """*value* with a new member in each of its objects in turn, and where."""
    if isinstance(value, dict):
        yield path, value | {"x_new": 1}
        for name, each in value.items():
            at = f"{path}.{name}" if path else name
            yield from ((where, value | {name: other}) for where, other in with_new(each, at))
    elif isinstance(value, list):
        for i, each in enumerate(value):
            grown = with_new(each, f"{path}[{i}]")
            yield from ((where, [*value[:i], other, *value[i + 1 :]]) for where, other in grown)


def reported(client: str, upstream: str, body: Any) -> str | None:
    """The paths of all losses, and what was sent if it holds the new member; ``None`` for a request that is refused."""
    t = Translation(client, upstream, route=route_to(upstream), now=0)
    try:
        sent = request(t, client, body).body
    except Refused:
        return None
    paths = [loss.path for loss in t.losses if loss.action.value == "dropped"]
    return "\n".join([*paths, *(["x_new"] if b"x_new" in sent else [])])


@pytest.mark.parametrize("upstream", PLACE)
def test_whole_numbers_stay_whole(upstream: str) -> None:
    """Some servers take 5 and refuse 5.0."""
    asked = {"temperature": 0, "top_p": 1, "top_k": 5, "seed": 7, "presence_penalty": 1, "frequency_penalty": 1}
    body = {"model": MODELS[upstream][-1], "messages": [{"role": "user", "content": "hi"}], **asked}
    t = Translation("openai_chat", upstream, route=route_to(upstream), now=0)
    assert b".0" not in request(t, "openai_chat", body).body


def test_the_strategies_make_whole_conversations() -> None:
    assert MESSAGES.keys() == TOOLS.keys() == BASE.keys() == PLACE.keys()
