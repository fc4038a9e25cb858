"""Conversations of the router role."""

from __future__ import annotations

import gzip
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import extproc.exchange.router as routing
from extproc.dialects import values
from extproc.dialects.values import top_level
from extproc.envoy_api.envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from extproc.exchange import machine
from extproc.exchange.attributes import MODELS, ROUTES
from extproc.exchange.phases import Phase
from extproc.exchange.router import Router, as_header
from extproc.headers import MODEL_HEADER
from extproc.telemetry.outcome import Ending
from extproc.translation import translation

from .conversation import ANTHROPIC, OPENAI, Conversation, leaf, shared

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"


def router() -> Conversation:
    return Conversation(Router(shared()), mode=0)


@pytest.mark.parametrize(
    "path", [CHAT, MESSAGES, "/anything/v1/messages?beta=true", f"{MESSAGES}/count_tokens?beta=true"]
)
def test_the_model_becomes_a_header_and_the_route_is_chosen_again(path: str) -> None:
    envoy = router()
    envoy.headers(path)
    assert not envoy.cleared
    envoy.body({"messages": [], "model": "gpt-5"})
    assert envoy.upstream[MODEL_HEADER] == "gpt-5"
    assert envoy.cleared
    assert envoy.sent == b'{"messages":[],"model":"gpt-5"}', "the body is not the router's"
    assert envoy.metadata["model_asked"] == "gpt-5"


def test_a_clients_own_word_is_overwritten() -> None:
    envoy = router()
    envoy.headers(CHAT, {MODEL_HEADER: "cheap"})
    envoy.body({"model": "dear"})
    assert envoy.upstream[MODEL_HEADER] == "dear"


@pytest.mark.parametrize("body", [{}, {"model": ""}, {"model": 3}, {"model": None}, {"model": ["a"]}])
def test_without_a_model_a_clients_own_word_is_removed(body: Any) -> None:
    envoy = router()
    envoy.headers(CHAT, {MODEL_HEADER: "cheap"})
    envoy.body(body)
    assert MODEL_HEADER not in envoy.upstream
    assert envoy.cleared, "the route may have been chosen by the client's own word"


@pytest.mark.parametrize(
    ("model", "header"), [("a b", "a b"), ("a\r\nx: y", "a__x: y"), ("modèle", "mod_le"), ("m" * 999, "m" * 256)]
)
def test_any_model_fits_a_header(model: str, header: str) -> None:
    assert as_header(model) == header


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"nope", b'{"model": "a', b"\xff\xfe"])
@pytest.mark.parametrize(("path", "kind"), [(CHAT, "openai"), (MESSAGES, "anthropic")])
def test_a_body_that_is_no_object_is_refused_in_the_clients_shape(path: str, kind: str, body: bytes) -> None:
    envoy = router()
    envoy.headers(path)
    envoy.body(body)
    assert envoy.immediate is not None
    status, headers, error, details = envoy.immediate
    assert (status, details) == (400, "extproc_refused")
    assert headers["content-type"].startswith("application/json")
    assert ("type" in error) == (kind == "anthropic")
    assert error["error"]["type"] == "invalid_request_error"
    assert envoy.close().ending is Ending.REFUSED


def test_a_deep_body_is_refused() -> None:
    envoy = router()
    envoy.headers(CHAT)
    envoy.body(b'{"model":"m","x":' + b"[" * 100_000)
    assert envoy.immediate is not None and envoy.immediate[0] == 400


OTHERS: list[tuple[str, str, dict[str, str], bool]] = [
    ("GET", "/web", {}, True),
    ("HEAD", "/web/a", {}, True),
    ("OPTIONS", "/web", {"origin": "https://app.example"}, True),
    ("POST", "/upload", {"content-type": "multipart/form-data"}, False),
    ("GET", "/socket", {"upgrade": "websocket", "connection": "Upgrade"}, False),
    ("CONNECT", "", {}, False),
]
"""What is no LLM API's, told by its headers: method, path, headers, whether they are all of it."""


@pytest.mark.parametrize(("method", "path", "headers", "end"), OTHERS, ids=str)
def test_what_is_no_llm_api_goes_by_unread_on_a_route_of_its_own(
    method: str, path: str, headers: dict[str, str], end: bool
) -> None:
    envoy = router()
    answer = envoy.headers(path, {**headers, MODEL_HEADER: "gpt-5"}, method=method, end=end)
    assert answer is not None and envoy.immediate is None
    mode = answer.mode_override
    assert (mode.request_body_mode, mode.response_body_mode) == (ProcessingMode.NONE, ProcessingMode.NONE)
    assert mode.response_header_mode == ProcessingMode.SKIP, "its route says nothing to us: Envoy's errors stay its own"
    assert MODEL_HEADER not in envoy.upstream and envoy.cleared, "a client's own must never choose a route"
    # Where Envoy may not do so, what comes all the same is left alone.
    if not end:
        envoy.body(b"whatever")
    envoy.answer(503, {"content-type": "text/plain"}, details="no_healthy_upstream")
    assert envoy.client == {":status": "503", "content-type": "text/plain"} and not envoy.got
    assert envoy.close().ending is Ending.PASSED


@pytest.mark.parametrize(("method", "path", "headers", "end"), OTHERS, ids=str)
def test_a_route_may_refuse_what_is_no_llm_api(method: str, path: str, headers: dict[str, str], end: bool) -> None:
    envoy = router()
    envoy.headers(path, headers, method=method, end=end, attributes=leaf("other_paths: refuse"))
    if not end and envoy.immediate is None:
        envoy.body(b"whatever")
    assert envoy.immediate is not None and (envoy.immediate[0], envoy.immediate[3]) == (404, "extproc_not_found")


def test_json_at_an_unknown_path_is_read_before_it_goes_by() -> None:
    envoy = router()
    envoy.headers("/hook", {"content-type": "application/json", MODEL_HEADER: "x"})
    envoy.body({"event": "push"})
    assert envoy.immediate is None and envoy.sent == b'{"event":"push"}'
    assert MODEL_HEADER not in envoy.upstream and envoy.cleared
    envoy = router()
    envoy.headers("/anything", {"content-type": "application/json"})
    envoy.body({"model": "m", "messages": []})
    assert envoy.upstream[MODEL_HEADER] == "m"


def test_the_route_for_what_has_no_route_answers_in_our_shape() -> None:
    envoy = router()
    envoy.headers("/web", method="GET", end=True, attributes=leaf("losses: report"))
    envoy.answer(404, {"content-type": "text/plain"}, end=True, details="cluster_not_found")
    assert envoy.client[":status"] == "404" and b"no LLM API is served at GET /web" in envoy.got
    assert envoy.close().ending is Ending.PASSED


@pytest.mark.parametrize(("status", "seen"), [(404, "200"), (200, "200"), (503, "503")])
def test_the_host_is_there_for_a_client_that_asks_where_nobody_else_answers(status: int, seen: str) -> None:
    envoy = router()
    envoy.headers("/", method="HEAD", end=True, attributes=leaf("losses: report"))
    envoy.answer(status, end=True, details="cluster_not_found" if status >= 400 else "via_upstream")
    assert envoy.client[":status"] == seen


def test_responses_headers_are_asked_for_once_a_request_has_come() -> None:
    """Row b30 of the field's cases: configured, they would keep back what Envoy's codec refuses."""
    answer = router().headers(CHAT)
    assert answer is not None
    mode = answer.mode_override
    assert mode.request_body_mode == ProcessingMode.BUFFERED and mode.response_header_mode == ProcessingMode.SEND
    assert mode.response_body_mode == ProcessingMode.NONE


def test_a_path_of_nobody_is_not_found_where_the_route_keeps_it() -> None:
    envoy = router()
    envoy.headers("/v1/nothing", attributes=leaf("other_paths: refuse"))
    envoy.body({"model": "m"})
    assert envoy.immediate is not None
    status, _, error, details = envoy.immediate
    assert (status, details) == (404, "extproc_not_found")
    assert "type" not in error and "POST /v1/nothing" in error["error"]["message"]


def test_another_endpoint_of_an_api_is_not_found_in_its_shape() -> None:
    envoy = router()
    envoy.headers("/v1/messages/drafts")
    envoy.body({"requests": []})
    assert envoy.immediate is not None
    status, _, error, _ = envoy.immediate
    assert status == 404 and error["type"] == "error" and error["error"]["type"] == "not_found_error"


def test_a_request_without_a_body() -> None:
    envoy = router()
    envoy.headers("/v1/models", method="GET", end=True)
    assert envoy.immediate is not None and envoy.immediate[0] == 404
    envoy = router()
    envoy.headers(MESSAGES, end=True)
    assert envoy.immediate is not None
    assert envoy.immediate[0] == 400 and envoy.immediate[2]["type"] == "error"


@pytest.mark.parametrize("headers", [{"upgrade": "websocket", "connection": "Upgrade"}])
def test_an_upgrade_is_refused_at_once_because_its_body_never_ends(headers: dict[str, str]) -> None:
    envoy = router()
    envoy.headers(CHAT, headers, method="GET")
    assert envoy.immediate is not None and envoy.immediate[0] == 404


def test_the_upstreams_answer_passes() -> None:
    envoy = router()
    envoy.headers(CHAT)
    envoy.body({"model": "m"})
    envoy.answer(503, {"content-type": "text/plain", "x": "y"})
    assert envoy.client == {":status": "503", "content-type": "text/plain", "x": "y"}
    assert envoy.chunk(b"whatever", end=True) == b"whatever"
    envoy.trailers()
    assert envoy.close().ending is Ending.PASSED


@pytest.mark.parametrize("details", ["extproc_refused", "extproc_route_error", ""])
def test_our_own_answers_pass_and_so_does_what_cannot_be_told(details: str) -> None:
    envoy = router()
    envoy.headers(MESSAGES)
    envoy.body({"model": "m"})
    envoy.answer(500, {"content-type": "application/json"}, details=details)
    assert envoy.got == b"" and envoy.client["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "details", "answered", "kind"),
    [
        (503, "no_healthy_upstream", 529, "overloaded_error"),
        (504, "upstream_response_timeout", 504, "timeout_error"),
        (413, "request_payload_too_large", 413, "request_too_large"),
        (429, "request_rate_limited", 429, "rate_limit_error"),
        (403, "rbac_access_denied_matched_policy[none]", 403, "permission_error"),
        (500, "ext_proc_error_gRPC_error_14{127.0.0.1:1}", 500, "api_error"),
    ],
)
def test_envoys_own_errors_get_the_clients_shape(status: int, details: str, answered: int, kind: str) -> None:
    envoy = router()
    envoy.headers(MESSAGES)
    envoy.body({"model": "m"})
    envoy.answer(status, {"content-type": "text/plain", "content-length": "19", "retry-after": "3"}, details=details)
    assert envoy.client[":status"] == str(answered)
    assert envoy.client["content-type"].startswith("application/json")
    assert envoy.client["content-length"] == str(len(envoy.got))
    assert envoy.got_json["error"]["type"] == kind
    assert "127.0.0.1" not in envoy.got_json["error"]["message"]
    assert envoy.metadata["error"] == details


def test_a_model_that_no_route_serves() -> None:
    envoy = router()
    envoy.headers(CHAT)
    envoy.body({"model": "gpt-99"})
    envoy.answer(404, {"content-type": "text/plain"}, details="direct_response")
    assert envoy.got_json["error"]["code"] == "model_not_found"
    assert "`gpt-99`" in envoy.got_json["error"]["message"]


def test_envoys_redirects_pass() -> None:
    envoy = router()
    envoy.headers(CHAT)
    envoy.body({"model": "m"})
    envoy.answer(301, {"location": "https://elsewhere"}, end=True, details="direct_response")
    assert envoy.client == {":status": "301", "location": "https://elsewhere"}


def test_an_answer_before_the_body_came_is_envoys_own() -> None:
    envoy = router()
    envoy.headers(MESSAGES)
    envoy.answer(413, {"content-type": "text/plain"}, details="")
    assert envoy.got_json["error"]["type"] == "request_too_large"


def test_a_refusal_by_a_filter_before_this_one() -> None:
    envoy = router()
    details = "jwt_authn_access_denied{Jwt_is_missing}"
    envoy.answer(401, {"content-type": "text/plain"}, details=details, attributes={"request.path": "/v1/messages"})
    assert envoy.client[":status"] == "401"
    assert envoy.got_json["type"] == "error", "the path told the client's API"
    assert envoy.got_json["error"]["message"].startswith("the gateway could not authenticate")
    assert "{" not in envoy.got_json["error"]["message"]


@pytest.mark.rows("F2")
@pytest.mark.parametrize(
    ("path", "served"), [("/anthropic/v1/messages", True), ("/v1/messages", False), ("/v1/chat/completions", True)]
)
@pytest.mark.parametrize("prefixes", ["anthropic_messages: /anthropic", "anthropic-messages: /anthropic/"])
def test_an_api_is_served_only_behind_its_prefix(prefixes: str, path: str, served: bool) -> None:
    envoy = router()
    envoy.headers(path, attributes=leaf(f"prefixes: {{{prefixes}}}"))
    envoy.body({"model": "m"})
    if served:
        assert envoy.upstream[MODEL_HEADER] == "m"
        return
    assert envoy.immediate is not None
    status, _, error, details = envoy.immediate
    assert (status, details, error["type"]) == (404, "extproc_not_found", "error")


@pytest.mark.parametrize(
    "route", ["", "losses: report", "{provider: openai, auth: {header: {Authorization: '${NO_KEY}'}}}"]
)
def test_a_route_need_not_be_whole_to_be_chosen_from(route: str) -> None:
    envoy = router()
    envoy.headers(MESSAGES, attributes=leaf(route))
    envoy.body({"model": "m"})
    assert envoy.upstream[MODEL_HEADER] == "m"


@pytest.mark.parametrize("route", ["prefixes: [", "prefixes: {anthropic_messages: anthropic}", "prefix: {}"])
def test_a_wrong_route_is_said_where_no_translator_would(route: str) -> None:
    for _ in range(2):
        envoy = router()
        envoy.headers(MESSAGES, attributes=leaf(route))
        assert envoy.immediate is not None
        assert (envoy.immediate[0], envoy.immediate[3]) == (500, "extproc_route_error")
        assert "gateway configuration: route:" in envoy.immediate[2]["error"]["message"]


CATALOGUE = '{gpt-5: {owned_by: openai}, best: {model: gpt-5, name: The best}, "v/*": {model: "*"}}'


def with_models(path: str, text: str = CATALOGUE, **options: Any) -> Conversation:
    envoy = router()
    envoy.headers(path, attributes={MODELS: text}, **options)
    return envoy


@pytest.mark.parametrize(("asked", "sent"), [("best", "gpt-5"), ("v/org/lora", "org/lora"), ("gpt-5", "gpt-5")])
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_another_name_for_a_model_is_routed_and_sent_as_the_model(path: str, asked: str, sent: str) -> None:
    envoy = with_models(path, headers={"content-length": "62"})
    body = b'{"a" : [1,  {"model":"best"}], "model": "%s", "z":1e2, "model2":""}' % asked.encode()
    envoy.body(body)
    assert envoy.upstream[MODEL_HEADER] == sent
    assert envoy.sent_json == {**msgspec.json.decode(body), "model": sent}
    if asked == sent:
        assert envoy.sent == body
    else:
        assert b'[1,  {"model":"best"}]' in envoy.sent and b"1e2" in envoy.sent, "the others stay to the byte"
        assert envoy.upstream["content-length"] == str(len(envoy.sent))
    assert envoy.metadata["model_named"] == asked


@pytest.mark.parametrize(("path", "kind"), [(CHAT, "openai"), (MESSAGES, "anthropic")])
def test_a_model_that_is_not_listed_is_a_404_that_lists_those_that_are(path: str, kind: str) -> None:
    envoy = with_models(path)
    envoy.body({"model": "gpt-99", "messages": []})
    assert envoy.immediate is not None
    status, _, body, details = envoy.immediate
    assert (status, details) == (404, "extproc_model_not_found")
    assert "`gpt-99`" in body["error"]["message"] and body["error"]["message"].endswith("there are gpt-5, best, v/*")
    assert body["error"].get("code", "not_found_error") in ("model_not_found", "not_found_error")
    assert ("type" in body) == (kind == "anthropic")


def test_the_models_in_openais_form() -> None:
    envoy = with_models("/v1/models", method="GET", end=True, headers={"authorization": "Bearer x"})
    assert envoy.immediate is not None
    status, headers, body, details = envoy.immediate
    assert (status, headers["content-type"], details) == (200, "application/json", "extproc_models")
    assert body["object"] == "list" and [model["id"] for model in body["data"]] == ["gpt-5", "best"]
    assert body["data"][0] == {"id": "gpt-5", "object": "model", "created": 0, "owned_by": "openai"}
    assert [model.get("name") for model in body["data"]] == [None, "The best"]
    assert envoy.metadata["error"] == ""


@pytest.mark.parametrize("header", [{"anthropic-version": "2023-06-01"}, {"x-api-key": "k"}])
def test_the_models_in_anthropics_form(header: dict[str, str]) -> None:
    envoy = with_models("/anthropic/v1/models?limit=1", method="GET", end=True, headers=header)
    assert envoy.immediate is not None
    body = envoy.immediate[2]
    assert [model["id"] for model in body["data"]] == ["gpt-5"] and body["has_more"] is True
    envoy = with_models("/v1/models?limit=no", method="GET", end=True, headers=header)
    assert envoy.immediate is not None
    assert envoy.immediate[0] == 400 and envoy.immediate[2]["error"]["type"] == "invalid_request_error"


def test_one_model() -> None:
    for path, id_ in (("/v1/models/best", "best"), ("/v1/models/v%2Forg%2Flora", "v/org/lora")):
        envoy = with_models(path, method="GET", end=True)
        assert envoy.immediate is not None
        assert envoy.immediate[0] == 200 and envoy.immediate[2]["id"] == id_
    envoy = with_models("/v1/models/gpt-99", method="GET", end=True)
    assert envoy.immediate is not None
    assert envoy.immediate[0] == 404 and envoy.immediate[2]["error"]["code"] == "model_not_found"


def test_a_catalogue_that_is_wrong_is_the_operators_fault() -> None:
    for path, options in ((CHAT, {}), ("/v1/models", {"method": "GET", "end": True})):
        envoy = with_models(path, "{a: 3}", **options)
        assert envoy.immediate is not None
        status, _, body, details = envoy.immediate
        assert (status, details) == (500, "extproc_route_error")
        assert "virtual host: models: a: expected a mapping" in body["error"]["message"]


def test_what_no_route_serves_although_it_might_have_is_told_what_there_is() -> None:
    envoy = with_models(CHAT, '{gpt-5: {}, "*": {}}')
    envoy.body({"model": "gpt-99"})
    assert envoy.upstream[MODEL_HEADER] == "gpt-99"
    envoy.answer(404, {"content-type": "text/plain"}, details="direct_response")
    assert envoy.got_json["error"]["message"].endswith("there are gpt-5")


NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    before=st.dictionaries(st.text(), VALUES, max_size=4),
    after=st.dictionaries(st.text(), VALUES, max_size=4),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 0, 3]),
)
def test_a_renamed_body_is_the_same_but_for_the_model(
    before: dict[str, Any], after: dict[str, Any], ascii_only: bool, indent: int | None
) -> None:
    asked = {**before, "model": "best", **{name: value for name, value in after.items() if name != "model"}}
    envoy = with_models(CHAT)
    envoy.body(json.dumps(asked, ensure_ascii=ascii_only, indent=indent).encode())
    sent = json.loads(envoy.sent)
    assert sent == {**asked, "model": "gpt-5"}
    assert list(sent) == list(asked), "providers' caches go by the order too"


@given(name=st.binary(max_size=6), value=st.binary(max_size=6))
def test_no_bytes_are_a_bug_of_ours(name: bytes, value: bytes) -> None:
    envoy = with_models(CHAT)
    envoy.body(b'{"' + name + b'":"' + value + b'","model":"best"}')
    assert envoy.immediate is None or envoy.immediate[0] in (400, 404)


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_a_member_whose_name_is_no_text_is_the_clients_fault(path: str) -> None:
    envoy = with_models(path)
    envoy.body(b'{"\xff":1,"model":"best"}')
    assert envoy.immediate is not None
    assert (envoy.immediate[0], envoy.immediate[3]) == (400, "extproc_refused")
    assert envoy.immediate[2]["error"]["type"] == "invalid_request_error"


# ---- one stream that also translates

ROUTED: dict[str, Any] = {
    MODELS: 'gpt-5: {route: openai}\nfast: {model: gpt-5-mini, route: openai}\nbest: {}\n"claude-*": {route: claude}\n'
    'lost: {route: lost}\n"*":\n',
    f"{ROUTES}['openai']": OPENAI,
    f"{ROUTES}['claude']": ANTHROPIC,
}


def one_stream(model: str, path: str = "/v1/messages", headers: Any = None, **members: Any) -> Conversation:
    envoy = Conversation(Router(shared()), mode=ProcessingMode.NONE)
    envoy.headers(path, headers, attributes={**ROUTED, "upstream.request_attempt_count": None})
    envoy.body({"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **members})
    return envoy


def test_a_model_whose_line_names_a_route_is_translated_at_once() -> None:
    envoy = one_stream("gpt-5")
    assert envoy.cleared and envoy.upstream["x-extproc-route"] == "openai"
    assert envoy.upstream[":path"] == "/v1/chat/completions" and "x-extproc-model" not in envoy.upstream
    assert envoy.upstream["authorization"] == "Bearer key-of-openai" and "max_completion_tokens" in envoy.sent_json
    assert "memory" not in envoy.metadata and envoy.metadata["provider"] == "openai"
    envoy.answer(200, {"content-type": "application/json"})
    assert envoy.override == ProcessingMode.BUFFERED or envoy.exchange.response_mode == ProcessingMode.BUFFERED
    envoy.chunk(b'{"id":"r","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"a"},'
                b'"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}', end=True)  # fmt: skip
    assert envoy.got_json["content"] == [{"type": "text", "text": "a"}]
    outcome = envoy.close()
    assert (outcome.role, outcome.ending, outcome.provider) == ("router", Ending.COMPLETE, "openai")
    assert outcome.usage.output_tokens == 2


@pytest.mark.replaces_code
@pytest.mark.parametrize("model", ["gpt-5", "fast"])
def test_a_body_is_looked_through_once(model: str, monkeypatch: Any) -> None:
    looked_for: list[bytes] = []
    opened: list[bytes] = []
    monkeypatch.setattr(machine, "found", looked_for.append)
    monkeypatch.setattr(translation, "found", looked_for.append)

    def counted(body: bytes) -> dict[str, Any]:
        opened.append(body)
        return top_level(body)

    monkeypatch.setattr(routing, "top_level", counted)
    monkeypatch.setattr(values, "top_level", counted)
    envoy = one_stream(model, tools=[{"name": "t", "description": "x" * 2000, "input_schema": {"type": "object"}}])
    assert envoy.exchange.phase is Phase.SENT
    assert len(opened) == 1
    assert len(looked_for) == (1 if model == "gpt-5" else 2), "a body in which another model is named is another body"


def test_its_streams_come_event_by_event() -> None:
    envoy = one_stream("claude-x", "/v1/chat/completions", stream=True)
    assert envoy.upstream["x-extproc-route"] == "claude"
    envoy.answer(200, {"content-type": "text/event-stream"})
    assert envoy.override == ProcessingMode.STREAMED


def test_another_name_is_sent_and_the_clients_own_is_told() -> None:
    envoy = one_stream("fast")
    assert envoy.sent_json["model"] == "gpt-5-mini"
    assert envoy.metadata["model_named"] == "fast" and envoy.metadata["model"] == "gpt-5-mini"


@pytest.mark.parametrize("model", ["best", "unheard-of"])
def test_what_names_no_route_is_left_to_others(model: str) -> None:
    envoy = one_stream(model, headers={"x-extproc-route": "openai", "content-length": "7"})
    assert envoy.upstream["x-extproc-model"] == model and "x-extproc-route" not in envoy.upstream and envoy.cleared
    assert envoy.upstream[":path"] == "/v1/messages" and "authorization" not in envoy.upstream
    envoy.answer(200, {"content-type": "text/event-stream"})
    assert envoy.override == ProcessingMode.NONE, "its body is the translator's behind this filter"
    assert envoy.close().ending is Ending.PASSED


@pytest.mark.parametrize("model", ["gpt-5", "claude-x"])
def test_a_clients_own_headers_choose_no_route(model: str) -> None:
    own = {"x-extproc-route": "lost", "x-extproc-model": "other", "x-forwarded-proto": "https"}
    envoy = one_stream(model, headers=own)
    assert envoy.upstream["x-extproc-route"] == ("openai" if model == "gpt-5" else "claude")
    assert "x-extproc-model" not in envoy.upstream
    assert envoy.upstream["x-forwarded-proto"] == "https", "Envoy chooses no route without it"


def test_a_route_that_did_not_come_is_the_operators_fault() -> None:
    envoy = one_stream("lost")
    assert envoy.immediate is not None and envoy.immediate[0] == 500
    assert "ask for it in request_attributes" in envoy.immediate[2]["error"]["message"]


def test_a_route_that_envoy_does_not_know() -> None:
    envoy = one_stream("gpt-5")
    envoy.answer(404, details="route_not_found")
    assert envoy.got_json["error"]["message"] == "the gateway has no such route"


@pytest.mark.parametrize("body", [{}, {"model": ""}, {"model": 3}, {"model": None}, {"model": ["a"]}])
@pytest.mark.parametrize(("path", "kind"), [(CHAT, "openai"), (MESSAGES, "anthropic"), ("/v1/responses", "openai")])
def test_what_names_no_model_and_has_no_route_is_the_clients_fault(path: str, kind: str, body: Any) -> None:
    envoy = router()
    envoy.headers(path)
    envoy.body(body)
    envoy.answer(404, {"content-type": "text/plain"}, details="route_not_found")
    assert envoy.client[":status"] == "400"
    error = envoy.got_json["error"]
    assert error["type"] == "invalid_request_error" and error["message"].startswith("model is required")
    assert (envoy.got_json.get("type") == "error") == (kind == "anthropic")
    assert kind == "anthropic" or error["param"] == "model"


@pytest.mark.parametrize(
    ("path", "header", "members"),
    [
        ("/v1/organization", {"anthropic-version": "2023-06-01"}, {"type", "error"}),
        ("/v1/messages/drafts", {}, {"type", "error"}),
        ("/v1beta/models/gemini-3-pro:generateAnswer", {}, {"code", "message", "status"}),
        ("/v1/organization", {}, {"message", "type", "param", "code"}),
    ],
)
def test_other_paths_of_an_api_are_not_found_in_its_shape(path: str, header: dict[str, str], members: set[str]) -> None:
    envoy = router()
    envoy.headers(path, header, attributes=leaf("other_paths: refuse"))
    envoy.body({"x": 1})
    assert envoy.immediate is not None
    status, _, body, _ = envoy.immediate
    assert status == 404 and members in ({*body}, {*body["error"]})


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/v1/files", {}), ("DELETE", "/v1/files/file-1", {}),
        ("POST", "/v1/files", {"content-type": "multipart/form-data; boundary=B"}),
        ("POST", "/v1/batches", {"content-type": "application/json"}),
        ("POST", "/v1/audio/transcriptions", {"content-type": "audio/wav"}),
        ("GET", "/v1/realtime?model=m", {"connection": "Upgrade", "upgrade": "websocket"}),
    ],
)  # fmt: skip
def test_what_names_no_model_goes_by_unread(method: str, path: str, headers: dict[str, str]) -> None:
    envoy = router()
    envoy.headers(path, headers, method=method, attributes=leaf("other_paths: refuse"))
    assert envoy.immediate is None and envoy.exchange.phase is Phase.LET_BY


FORM = (
    b'--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n\x00\xff\r\n'
    b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\n%b\r\n--B--\r\n'
)


@pytest.mark.parametrize(("model", "sent"), [(b"whisper-1", b"whisper-1"), (b"fast", b"gpt-5.4-mini")])
def test_a_form_is_routed_by_its_model_and_else_untouched(model: bytes, sent: bytes) -> None:
    attributes = leaf("losses: report") | {MODELS: "fast: {model: gpt-5.4-mini}\nwhisper-1:\n"}
    envoy = router()
    envoy.headers(
        "/v1/audio/transcriptions", {"content-type": "multipart/form-data; boundary=B"}, attributes=attributes
    )
    envoy.body(FORM % model)
    assert envoy.upstream["x-extproc-model"] == sent.decode()
    assert envoy.sent == FORM % sent


def gzipped(value: Any) -> bytes:
    return gzip.compress(msgspec.json.encode(value), mtime=0)


@pytest.mark.parametrize("model", ["gpt-5", ""])
def test_a_compressed_body_goes_on_plain(model: str) -> None:
    body = {"messages": [], "model": model}
    envoy = router()
    envoy.headers(CHAT, {"content-encoding": "gzip", "content-length": "1"})
    envoy.body(gzipped(body))
    assert envoy.upstream.get(MODEL_HEADER, "") == model
    assert envoy.sent_json == body and "content-encoding" not in envoy.upstream
    assert envoy.upstream["content-length"] == str(len(envoy.sent))


def test_a_compressed_body_that_is_no_apis_goes_by_as_it_came() -> None:
    envoy = router()
    envoy.headers("/web", {"content-encoding": "gzip"})
    body = gzipped({"x": 1})
    envoy.body(body)
    assert envoy.sent == body and envoy.upstream["content-encoding"] == "gzip"


def test_an_encoding_that_nobody_knows_is_named_in_the_clients_shape() -> None:
    envoy = router()
    envoy.headers(MESSAGES, {"content-encoding": "br"})
    envoy.body(b"xyz")
    assert envoy.immediate is not None
    status, _, body, _ = envoy.immediate
    assert status == 415 and body["type"] == "error" and "'br'" in body["error"]["message"]
