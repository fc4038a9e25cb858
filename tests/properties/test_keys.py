"""README's third promise, over any order of attempts: no key of one provider reaches another, nor a client's any.

Envoy hands each attempt the headers that the one before it left, and the metadata of the endpoint that it selected now.
Who gets which key is drawn: at which level of the metadata it stands, under which names of headers and of the query, in
which API; the client sends keys of its own under any of these names.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.headers import CREDENTIAL_HEADERS
from tests.exchange.conversation import Conversation, leaf

from .conversations import BASE, HOSTED, IN_PATH, PLACE

Json = Any
CLIENTS = [name for name in PLACE if name not in HOSTED]
PATHS = {
    "openai_chat": "/v1/chat/completions", "anthropic_messages": "/v1/messages", "openai_responses": "/v1/responses",
    **{name: IN_PATH[name].format("m") for name in ("gemini", "bedrock_converse")},
}  # fmt: skip
SAYS: Json = {
    "openai_chat": [{"role": "user", "content": "hi"}],
    "anthropic_messages": [{"role": "user", "content": "hi"}],
    "openai_responses": [{"role": "user", "content": "hi"}],
    "gemini": [{"role": "user", "parts": [{"text": "hi"}]}],
    "bedrock_converse": [{"role": "user", "content": [{"text": "hi"}]}],
}
PROVIDERS = [
    {"provider": "openai"},
    {"provider": "openai", "upstream": "openai_responses"},
    {"provider": "anthropic"},
    {"provider": "gemini"},
    {"provider": "openai-compatible", "override": {"endpoint": "https://llm.example/v1/chat/completions"}},
    {"provider": "azure-openai", "provider_conf": {"resource": "r"}},
    {"provider": "bedrock", "provider_conf": {"region": "eu-west-1"}},
]
# Names that only one provider knows are no credential's to the others: what stood there must go all the same.
SPECIAL = ["x-special", "x_tenant", "X-Team"]
HEADERS = [*sorted(CREDENTIAL_HEADERS), "X-Goog-Api-Key", "Api_Key", "x-litellm-api-key"]
QUERY = ["key", "api_key", "sig", "access_token", "special"]


class Key(NamedTuple):
    """One credential, as a route gives it."""

    header: dict[str, str]
    query: dict[str, str]

    @property
    def secrets(self) -> list[str]:
        return [*self.header.values(), *self.query.values()]


class Attempt(NamedTuple):
    """Which levels of metadata say what, and whose key counts."""

    levels: dict[str, str]
    own: list[str]


@st.composite
def keys(draw: st.DrawFn, names: Any) -> Key:
    either = st.one_of(st.sampled_from(SPECIAL), st.sampled_from(HEADERS))
    header = draw(st.lists(either, max_size=2, unique_by=lambda name: name.lower().replace("_", "-")))
    query = draw(st.lists(st.sampled_from(QUERY), max_size=1))
    if not header and not query:
        header = ["Authorization"]
    return Key({name: next(names) for name in header}, {name: next(names) for name in query})


@st.composite
def attempts(draw: st.DrawFn, names: Any) -> Attempt:
    """A level names a provider with its key, or a key alone for the provider that one below has named."""
    levels: dict[str, str] = {}
    own: list[str] = []
    for level in ("route", "cluster", "endpoint"):
        kinds = ["nothing", "provider"] + (["key", "no key"] if levels else [])
        kind = draw(st.sampled_from(kinds)) if levels or level != "endpoint" else "provider"
        if kind == "nothing":
            continue
        said: Json = dict(draw(st.sampled_from(PROVIDERS))) if kind == "provider" else {}
        key = Key({}, {}) if kind == "no key" else draw(keys(names))
        own = key.secrets
        said["auth"] = {"header": key.header, "query": key.query} if own else "none"
        levels[level] = json.dumps(said)
    return Attempt(levels, own)


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[list[Attempt], dict[str, str], str, list[str]]:
    """Attempts, the client's headers and query, and every secret that there is."""
    names = (f"secret-{n:04d}-of-somebody" for n in range(1000, 9999))
    made: list[str] = []

    def noted() -> Any:
        for name in names:
            made.append(name)
            yield name

    source = noted()
    tried = draw(st.lists(attempts(source), min_size=2, max_size=4))
    header = {name: next(source) for name in draw(st.lists(st.sampled_from(HEADERS), max_size=4, unique=True))}
    query = [f"{name}={next(source)}" for name in draw(st.lists(st.sampled_from(QUERY[:-1]), max_size=2))]
    return tried, header, "&".join(query), made


@pytest.mark.parametrize("client", CLIENTS)
@given(exchange=exchanges(), stream=st.booleans())
@settings(max_examples=100, deadline=None)
def test_each_attempt_bears_its_own_key_and_no_other(
    client: str, exchange: tuple[list[Attempt], dict[str, str], str, list[str]], stream: bool
) -> None:
    tried, header, query, secrets = exchange
    body = {"model": "m", **BASE[client], PLACE[client]: SAYS[client]}
    raw: Json = None
    left: Json = None
    for number, attempt in enumerate(tried, 1):
        envoy = Conversation()
        attributes = {"upstream.request_attempt_count": float(number), **leaf(**attempt.levels)}
        path = f"{PATHS[client]}?{query}" if query else PATHS[client]
        sent = {"content-type": "application/json", "user-agent": "sdk", **{k.lower(): v for k, v in header.items()}}
        envoy.headers(path, sent, attributes=attributes, raw=raw, recalled=left)
        envoy.body({**body, "stream": stream} if client not in IN_PATH else body)
        assert envoy.immediate is None, envoy.immediate
        told = f"{envoy.request} {envoy.sent.decode()}"
        assert {each for each in secrets if each in told} == set(attempt.own)
        assert not [each for each in secrets if each in f"{envoy.left} {envoy.elsewhere}"], "Envoy logs what is left"
        raw, left = envoy.request, envoy.left
