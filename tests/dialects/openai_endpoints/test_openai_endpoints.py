"""What else there is of OpenAI's API passes: which paths, by which provider, with which model, and what is read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc import Call, Refused, Translation, dialects
from extproc.dialects.base import ClientCall
from extproc.dialects.openai_endpoints import OpenAIEndpoints

from .test_forms import FILE, form, named

KEY = {"header": {"Authorization": "Bearer k"}}
OPENAI: dict[str, Any] = {"provider": "openai", "auth": KEY}
JSON = [("content-type", "application/json")]
FORM = [("content-type", "multipart/form-data; boundary=BOUND")]
DIALECT = OpenAIEndpoints()


def test_behind_a_prefix() -> None:
    only = {DIALECT.name: "/llm"}
    assert dialects.detect("/llm/v1/files", b"", only) == DIALECT.name
    assert dialects.detect("/v1/files", b"", only) is None


@pytest.mark.parametrize(
    ("route", "path", "sent"),
    [
        (OPENAI, "/v1/images/generations", "/v1/images/generations"),
        (OPENAI, "/mine/v1/audio/speech?a=b&api_key=x", "/v1/audio/speech?a=b"),
        ({**OPENAI, "override": {"endpoint": "https://h/x/v1/chat/completions"}}, "/v1/audio/speech",
         "/x/v1/audio/speech"),
        ({**OPENAI, "override": {"endpoint": "https://h"}}, "/v1/audio/speech", "/v1/audio/speech"),
        ({**OPENAI, "provider": "azure-openai"}, "/v1/images/generations", "/openai/v1/images/generations"),
        ({**OPENAI, "provider": "azure-openai", "provider_conf": {"deployment": "d", "api_version": "v"}},
         "/v1/images/generations", "/openai/deployments/d/images/generations?api-version=v"),
        ({**OPENAI, "provider": "cohere"}, "/v1/rerank", "/v2/rerank"),
        (OPENAI, "/v1/responses/compact", "/v1/responses/compact"),
        ({**OPENAI, "provider": "openai-compatible"}, "/tokenize", "/tokenize"),
        ({**OPENAI, "provider": "openai-compatible"}, "/a/v1/score", "/v1/score"),
        ({**OPENAI, "override": {"endpoint": "https://h/x/v1/chat/completions"}}, "/detokenize", "/x/detokenize"),
        ({**OPENAI, "provider": "gemini"}, "/v1/images/generations", "/v1beta/openai/images/generations"),
        ({**OPENAI, "endpoints": ["files"]}, "/v1/files/f/content", "/v1/files/f/content"),
        ({**OPENAI, "endpoints": "all"}, "/v1/responses/r", "/v1/responses/r"),
        ({**OPENAI, "upstream": "openai_chat"}, "/v1/moderations", "/v1/moderations"),
    ],
)  # fmt: skip
def test_where_they_go(route: dict[str, Any], path: str, sent: str) -> None:
    t = Translation(route=route)
    theirs = [("authorization", "Bearer theirs"), ("cookie", "a=b"), ("x-app", "1"), *JSON]
    call = t.passing("POST", path, theirs, empty=False)
    assert call is not None and (call.method, call.path, call.body) == ("POST", sent, b"")
    assert dict(call.all_headers()) == {"authorization": "Bearer k", "x-app": "1", "content-type": "application/json"}


@pytest.mark.parametrize(
    ("route", "path"),
    [
        (OPENAI, "/v1/files"), ({**OPENAI, "endpoints": "none"}, "/v1/images/generations"),
        ({**OPENAI, "endpoints": ["audio"]}, "/v1/images/generations"),
        ({"provider": "anthropic", "auth": KEY}, "/v1/images/generations"),
        ({"provider": "cohere", "auth": KEY}, "/v1/images/generations"),
        ({"provider": "deepseek", "auth": KEY, "endpoints": "all"}, "/v1/files"),
    ],
)  # fmt: skip
def test_what_nobody_serves_is_a_404_in_the_clients_shape(route: dict[str, Any], path: str) -> None:
    for headers, kind in (([], "invalid_request_error"), ([("anthropic-version", "2023-06-01")], "error")):
        for unread in (True, False):
            t = Translation(route=route)
            with pytest.raises(Refused) as refused:
                if unread:
                    t.passing("POST", path, headers, empty=False)
                else:
                    t.request(b"{}", path=path, headers=headers)
            body = json.loads(refused.value.body)
            assert refused.value.status == 404 and path in body["error"]["message"]
            assert (body.get("type") == "error") is (kind == "error")


@pytest.mark.parametrize(
    ("headers", "body", "renamed"),
    [
        (JSON, b'{"model":"a", "prompt":  "x", "n": 1.0}', b'{"model":"m","prompt":"x","n":1.0}'),
        (JSON, b'{"prompt": "x"}', b'{"prompt":"x","model":"m"}'),
        (FORM, form(FILE, (named(b"model"), b"a")), form(FILE, (named(b"model"), b"m"))),
        (FORM, form((named(b"model"), b"a"), FILE), form((named(b"model"), b"m"), FILE)),
        (FORM, form(FILE), form((named(b"model"), b"m"), FILE)),
    ],
)
def test_the_model_that_the_route_sets_and_not_a_byte_more(
    headers: list[tuple[str, str]], body: bytes, renamed: bytes
) -> None:
    route = {**OPENAI, "options": {"model": "m", "temperature": 1}}
    path = "/v1/audio/transcriptions" if headers is FORM else "/v1/images/generations"
    t = Translation(route=route)
    assert t.passing("POST", path, headers, empty=False) is None, "its body must be read"
    t = Translation(route=route)
    call = t.request(body, path=path, headers=headers)
    assert isinstance(call, Call) and call.path == path and call.headers == headers
    assert call.body == renamed or json.loads(call.body) == json.loads(renamed)
    assert t.model_sent == "m"


@pytest.mark.parametrize("body", [b'{"model": "m", "prompt":  "x"}', b"no json at all", b""])
def test_what_nobody_asks_for_is_not_read(body: bytes) -> None:
    assert Translation(route=OPENAI).passing("POST", "/v1/images/generations", JSON, empty=False) is not None
    if body.startswith(b"{"):
        call = Translation(route=OPENAI).request(body, path="/v1/images/generations", headers=JSON)
        assert isinstance(call, Call) and call.body == body


def test_a_form_that_is_broken_is_the_clients_fault() -> None:
    with pytest.raises(Refused) as refused:
        Translation(route={**OPENAI, "options": {"model": "m"}}).request(
            b"--BOUND\r\n", path="/v1/audio/transcriptions", headers=FORM
        )
    assert refused.value.status == 400


def test_the_model_in_the_query() -> None:
    t = Translation(route={**OPENAI, "options": {"model": "gpt-realtime/2"}})
    call = t.passing("GET", "/v1/realtime?model=x&a=b", [], empty=False)
    assert call is not None and call.path == "/v1/realtime?model=gpt-realtime%2F2&a=b"
    assert (t.model_asked, t.model_sent) == ("x", "gpt-realtime/2")


def test_a_model_in_azures_path_is_read() -> None:
    route = {**OPENAI, "provider": "azure-openai", "provider_conf": {"api_version": "v"}}
    assert Translation(route=route).passing("POST", "/v1/audio/speech", JSON, empty=False) is None
    call = Translation(route=route).request(b'{"model": "tts-1"}', path="/v1/audio/speech", headers=JSON)
    assert isinstance(call, Call) and call.path == "/openai/deployments/tts-1/audio/speech?api-version=v"
    with pytest.raises(Refused, match="model is required"):
        Translation(route=route).request(b"{}", path="/v1/audio/speech", headers=JSON)


def test_what_must_be_signed_is_read() -> None:
    aws = {"aws": {"access_key_id": "a", "secret_access_key": "b", "region": "r"}}
    route = {"provider": "openai-compatible", "auth": aws, "override": {"endpoint": "https://h"}}
    assert Translation(route=route).passing("POST", "/v1/audio/speech", JSON, empty=False) is None
    signed = Translation(route=route).passing("GET", "/v1/audio/speech", [], empty=True)
    assert signed is not None and "authorization" in dict(signed.all_headers())


# ---- answers


def answered(body: bytes, media_type: str, status: int = 200) -> tuple[Translation, bytes]:
    t = Translation(route=OPENAI)
    t.passing("POST", "/v1/images/generations", JSON, empty=False)
    t.response_head(status, [("content-type", media_type), ("set-cookie", "a"), ("x-ratelimit-limit-requests", "9")])
    out = b"".join(t.response_body(body[at : at + 7]) for at in range(0, len(body), 7))
    return t, out + t.response_body(b"", end_of_stream=True)


@pytest.mark.parametrize("media_type", ["image/png", "audio/mpeg", "text/plain", "application/octet-stream"])
def test_bytes_pass_unwatched(media_type: str) -> None:
    body = bytes(range(256)) * 9
    t, out = answered(body, media_type)
    assert out == body and t.unwatched and not t.whole
    assert dict(t.head.headers) == {"content-type": media_type, "x-ratelimit-limit-requests": "9"}


def test_json_passes_and_its_usage_is_read() -> None:
    picture = "A" * 100_000
    body = b'{"created": 1, "data": [{"b64_json": "%b"}], "usage": {"input_tokens": 5, "output_tokens": 7}}'
    body %= picture.encode()
    t, out = answered(body, "application/json")
    assert out == body and not t.unwatched
    assert (t.usage.input_tokens, t.usage.output_tokens) == (5, 7) and t.ended is not None


def test_errors_are_whole_and_json() -> None:
    own = b'{"error": {"message": "no", "type": "invalid_request_error"}}'
    t, out = answered(own, "application/json", 400)
    assert out == own and t.failed is not None and t.failed.message == "no"
    t, out = answered(b"<html>", "text/html", 503)
    assert json.loads(out)["error"]["type"] == "overloaded_error" and t.head.status == 503
    t = Translation(route=OPENAI)
    t.passing("GET", "/v1/realtime", [], empty=True)
    t.response_head(302, [("location", "https://elsewhere")])
    assert json.loads(t.response_body(b"", end_of_stream=True))["error"]["code"] == "upstream_redirect"


def test_a_large_answer_has_a_bound_where_the_route_sets_one() -> None:
    t = Translation(route={**OPENAI, "max_response_bytes": 10})
    t.passing("POST", "/v1/audio/speech", JSON, empty=False)
    t.response_head(200, [("content-type", "audio/mpeg")])
    assert not t.unwatched
    t.response_body(b"x" * 20)
    assert t.cut


def test_it_holds_no_conversation() -> None:
    assert not DIALECT.claims({"input": 1}) and DIALECT.peek("/v1/files", {"model": "m"}).model == ""
    call = ClientCall("POST", "/v1/files", [], b"")
    assert DIALECT.model_of(call) == "" and DIALECT.renamed(call, "m") is call
