"""What else there is of Anthropic's API passes: which paths, whose, with which models."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc import Call, Refused, Translation, dialects
from extproc.dialects.anthropic_messages.endpoints import AnthropicEndpoints
from extproc.dialects.base import ClientCall

DIALECT = AnthropicEndpoints()
KEY = {"header": {"x-api-key": "k"}}
ROUTE: dict[str, Any] = {"provider": "anthropic", "auth": KEY, "endpoints": "all"}
VERSION = [("anthropic-version", "2023-06-01"), ("anthropic-beta", "files-api-2025-04-14")]
BATCH: Any = {
    "requests": [
        {"custom_id": "1", "params": {"model": "claude-haiku-4-5", "max_tokens": 1.0, "messages": []}},
        {"custom_id": "2", "params": {"model": "claude-opus-4-8", "messages": []}},
    ],
    "other": 1,
}


@pytest.mark.parametrize(
    ("path", "headers", "name"),
    [
        ("/v1/messages/batches", [], "anthropic_endpoints"),
        ("/mine/v1/messages/batches/b_1/results", [], "anthropic_endpoints"),
        ("/v1/files/f", VERSION, "anthropic_endpoints"),
        ("/v1/files/f", [], "openai_endpoints"),
        ("/v1/skills", [], "anthropic_endpoints"),
        ("/v1/messages", VERSION, "anthropic_messages"),
        ("/v1/messages/count_tokens", VERSION, "anthropic_messages"),
        ("/v1/messages/batches/../x", VERSION, None),
    ],
)
def test_whose_a_path_is(path: str, headers: list[tuple[str, str]], name: str | None) -> None:
    assert dialects.detect(path, b"", headers=headers) == name


@pytest.mark.rows("E4")
def test_it_passes_with_the_providers_key() -> None:
    t = Translation(route=ROUTE)
    theirs = [("x-api-key", "theirs"), *VERSION, ("content-type", "multipart/form-data; boundary=B")]
    call = t.passing("POST", "/mine/v1/files?beta=true", theirs, empty=False)
    assert call is not None and (call.path, call.body) == ("/v1/files?beta=true", b"")
    assert dict(call.all_headers()) == {"x-api-key": "k", **dict(theirs[1:])}
    base = {**ROUTE, "override": {"endpoint": "https://h/x/v1/messages"}}
    call = Translation(route=base).passing("GET", "/v1/messages/batches/b", VERSION, empty=True)
    assert call is not None and call.path == "/x/v1/messages/batches/b"


def test_the_routes_model_takes_the_place_of_a_batchs() -> None:
    named = {**ROUTE, "options": {"model": "claude-sonnet-5"}}
    assert Translation(route=named).passing("POST", "/v1/messages/batches", VERSION, empty=False) is None
    t = Translation(route=named)
    made = t.request(json.dumps(BATCH).encode(), "POST", "/v1/messages/batches", VERSION)
    assert isinstance(made, Call) and t.model_asked == "claude-haiku-4-5"
    sent = json.loads(made.body)
    assert [each["params"].pop("model") for each in sent["requests"]] == ["claude-sonnet-5"] * 2
    assert b"1.0" in made.body and sent["other"] == 1
    untouched = Translation(route=ROUTE).request(json.dumps(BATCH).encode(), "POST", "/v1/messages/batches", VERSION)
    assert isinstance(untouched, Call) and untouched.body == json.dumps(BATCH).encode()


@pytest.mark.parametrize(
    ("route", "path"),
    [
        ({**ROUTE, "endpoints": "none"}, "/v1/messages/batches"),
        ({"provider": "anthropic", "auth": KEY}, "/v1/files"),
        ({"provider": "openai", "auth": KEY, "endpoints": "all"}, "/v1/messages/batches"),
    ],
)
def test_what_nobody_serves_is_a_404_in_the_clients_shape(route: dict[str, Any], path: str) -> None:
    with pytest.raises(Refused) as refused:
        Translation(route=route).passing("GET", path, VERSION, empty=True)
    told = json.loads(refused.value.body)
    assert refused.value.status == 404 and told["type"] == "error" and "is not served" in told["error"]["message"]


@pytest.mark.parametrize(
    "body", [b"", b'{"requests": []}', b'{"requests": [{}]}', b'{"requests": [{"params": {"model": 1}}]}']
)
def test_a_batch_may_name_none(body: bytes) -> None:
    call = ClientCall("POST", "/v1/messages/batches", [], body)
    assert DIALECT.model_of(call) == "" and DIALECT.renamed(ClientCall("GET", "/v1/files", [], body), "m").body == body


def test_a_batch_that_is_none_is_refused() -> None:
    with pytest.raises(Refused, match="requests"):
        Translation(route=ROUTE).request(b'{"requests": 7}', "POST", "/v1/messages/batches", VERSION)
