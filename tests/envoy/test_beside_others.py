"""What else lives on a user's own Envoy: other paths, browsers, odd clients; and Envoy's own errors (b29 to b31 of the
field's cases, 16 of the hardening's)."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.demo import as_openai
from extproc.demo.processes import Envoy, Sidecar
from extproc.demo.provider import ScriptedAnswer, ScriptedProvider, json_answer
from tests.support import placements
from tests.support.gateway import KEYS, PLACEMENTS, Backends, Gateway, configured
from tests.support.raw import raw

BROWSERS = yaml.safe_load((Path(__file__).parents[2] / "deploy" / "browsers.yaml").read_text("utf-8"))
ORIGIN = {"origin": "https://app.example"}
ASKS = {
    **ORIGIN,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
}
CHAT = json.dumps({"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}).encode()
MESSAGES = json.dumps({"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}).encode()


def post(
    extra: bytes = b"", version: bytes = b"1.1", path: bytes = b"/v1/chat/completions", body: bytes = CHAT
) -> bytes:
    head = b"POST %s HTTP/%s\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n" % (path, version)
    return head + extra + b"Content-Length: %d\r\n\r\n" % len(body) + body


# ---- odd clients


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (post(b"session_id: 1\r\n"), 200),
        (post(version=b"1.0"), 200),
        (post(b"x-large: " + b"a" * 70_000 + b"\r\n"), 431),
        (post(b"Content-Length: 5\r\n"), 400),
        (post(b"Upgrade: TLS/1.2\r\nConnection: Upgrade\r\n"), 200),
        (post(b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"), 200),
    ],
    ids=["underscore", "HTTP/1.0", "large header", "two lengths", "TLS upgrade", "h2c upgrade"],
)
def test_an_odd_client_is_served_or_told(envoy: Gateway, request_: bytes, status: int) -> None:
    seen, body = raw(envoy.envoy.port, request_)
    assert seen == status
    assert b'"chat.completion"' in body if status == 200 else body, "an error says something"


def test_java_may_ask_for_the_models(reference: Gateway) -> None:
    head = b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close, Upgrade\r\nUpgrade: TLS/1.2\r\n\r\n"
    status, body = raw(reference.envoy.port, head)
    assert status == 200 and b'"object":"list"' in body


# ---- browsers


@pytest.fixture(scope="module", params=["one-stream", "upstream"])
def _browsers(
    request: pytest.FixtureRequest, shared: Backends, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("browsers")
    config = configured(shared, request.param, folder / "access.log")
    manager = placements.manager(config)
    manager["http_filters"].insert(0, BROWSERS["http_filter"])
    manager["route_config"]["virtual_hosts"][0].update(BROWSERS["virtual_host"])
    with Envoy(folder, config) as process:
        yield Gateway(request.param, process, shared, folder / "access.log")


@pytest.fixture
def browsers(_browsers: Gateway) -> Gateway:
    _browsers.backends.reset()
    return _browsers


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/models"])
def test_a_preflight_an_answer_and_a_refusal_are_for_the_browser(browsers: Gateway, path: str) -> None:
    preflight = browsers.send(path, None, ASKS, "OPTIONS")
    assert preflight.status == 200
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    body = MESSAGES if "messages" in path else CHAT
    answer = browsers.send(path, None, ORIGIN, "GET") if "models" in path else browsers.send(path, body, ORIGIN)
    assert answer.status == 200, answer.body
    refusal = browsers.send("/v1/chat/completions", {"model": "claude-x", "messages": []}, ORIGIN)
    assert refusal.status == 400
    for reply in (preflight, answer, refusal):
        assert reply.headers["access-control-allow-origin"] == ORIGIN["origin"], reply


def test_another_page_may_not_ask(browsers: Gateway) -> None:
    preflight = browsers.send("/v1/messages", None, {**ASKS, "origin": "https://other.example"}, "OPTIONS")
    assert "access-control-allow-origin" not in preflight.headers


# ---- other paths


def cluster(name: str, port: int) -> dict[str, Any]:
    endpoint = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}
    load = {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]}
    return {"name": name, "type": "STATIC", "load_assignment": load}


def web(request: Any) -> ScriptedAnswer:
    return ScriptedAnswer([b"<html>web</html>"], 200, (("content-type", "text/html"),))


@pytest.fixture(scope="module", params=PLACEMENTS)
def _beside(
    request: pytest.FixtureRequest, shared: Backends, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, ScriptedProvider]]:
    """A route of the user's own before ours, to a server that is no LLM API's, and one to nowhere."""
    folder = tmp_path_factory.mktemp("beside")
    with ScriptedProvider(web) as server:
        config = configured(shared, request.param, folder / "access.log")
        for name, port in (("web", server.port), ("gone", 1)):
            config["static_resources"]["clusters"].append(cluster(name, port))
            own = {"name": name, "match": {"prefix": f"/{name}"}, "route": {"cluster": name}}
            placements.routes(config).insert(0, own)
        with Envoy(folder, config) as process:
            yield Gateway(request.param, process, shared, folder / "access.log"), server


@pytest.mark.parametrize(
    ("method", "path", "kind", "body"),
    [
        ("GET", "/web", None, None),
        ("HEAD", "/web", None, None),
        ("DELETE", "/web/1", None, None),
        ("POST", "/web/form", "application/x-www-form-urlencoded", b"a=1"),
        ("POST", "/web/hook", "application/json", b'{"event":"push"}'),
        ("PUT", "/web/large", "application/octet-stream", b"x" * 3_000_000),
    ],
)
def test_other_paths_stay_alive(
    _beside: tuple[Gateway, ScriptedProvider], method: str, path: str, kind: str | None, body: bytes | None
) -> None:
    gateway, server = _beside
    reply = gateway.send(path, body, {"content-type": kind} if kind else None, method)
    assert reply.status == 200 and reply.headers["content-type"] == "text/html", reply
    assert reply.body == (b"" if method == "HEAD" else b"<html>web</html>")
    assert (server.received[-1].method, server.received[-1].path, server.received[-1].body) == (
        method,
        path,
        body or b"",
    )
    assert server.received[-1].header("x-extproc-model") is None


def test_no_client_reaches_a_models_route_by_its_own_header(_beside: tuple[Gateway, ScriptedProvider]) -> None:
    gateway, _ = _beside
    before = len(gateway.openai_upstream.received)
    assert gateway.send("/elsewhere", None, {"x-extproc-model": "gpt-5"}, "GET").status == 404
    assert len(gateway.openai_upstream.received) == before


def test_envoys_errors_on_other_paths_stay_its_own(_beside: tuple[Gateway, ScriptedProvider]) -> None:
    gateway, _ = _beside
    reply = gateway.send("/gone", None, None, "GET")
    assert reply.status == 503 and reply.headers["content-type"] == "text/plain"


def test_what_nobody_serves_is_not_found_in_json(_beside: tuple[Gateway, ScriptedProvider]) -> None:
    gateway, _ = _beside
    reply = gateway.send("/nobody", None, None, "GET")
    assert reply.status == 404 and "no LLM API is served at GET /nobody" in reply.json["error"]["message"]
    assert gateway.send("/", None, None, "HEAD").status == 200


# ---- Envoy's own errors that no filter of ours sees


BROKEN = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"id"\r\nzzz\r\n'
"""An answer that is no HTTP any more once it has begun."""


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_envoys_errors_are_in_the_clients_shape(shared: Backends, tmp_path: Path, placement: str) -> None:
    with Sidecar(tmp_path, environ=KEYS) as sidecar:
        own = Backends(tmp_path, sidecar, shared.openai, shared.anthropic)
        with Envoy(tmp_path, configured(own, placement, tmp_path / "access.log")) as process:
            gateway = Gateway(placement, process, own, tmp_path / "access.log")
            assert gateway.chat("gpt-5").status == 200
            sidecar.kill()
            chat, messages, other = gateway.chat("gpt-5"), gateway.messages("gpt-5"), gateway.send("/web", method="GET")
            gemini = gateway.send("/v1beta/models/gpt-5:generateContent", {"contents": []})
            converse = gateway.send("/model/gpt-5/converse", {"messages": []})
    assert (chat.status, messages.status) == (503, 503) and chat.headers["retry-after"] == "1"
    assert chat.headers["content-type"] == messages.headers["content-type"] == "application/json"
    assert chat.json["error"]["type"] == "server_error" and chat.json["error"]["code"] == "gateway_error"
    assert messages.json["type"] == "error" and messages.json["error"]["type"] == "api_error"
    assert gemini.json["error"]["status"] == "UNAVAILABLE" and gemini.json["error"]["code"] == gemini.status == 503
    assert converse.status == 503 and set(converse.json) == {"message"}
    assert converse.headers["x-amzn-errortype"] == "ServiceUnavailableException"
    assert gemini.headers["retry-after"] == converse.headers["retry-after"] == "1"
    assert other.status == 500 and other.body == b"", "another's path keeps Envoy's own answer"


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_filter_before_ours_that_refuses_does_so_in_the_clients_shape(
    shared: Backends, tmp_path: Path, placement: str
) -> None:
    config = configured(shared, placement, tmp_path / "access.log")
    limit = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": "limit",
        "token_bucket": {"max_tokens": 1, "tokens_per_fill": 1, "fill_interval": "600s"},
        "filter_enabled": {"default_value": {"numerator": 100}},
        "filter_enforced": {"default_value": {"numerator": 100}},
    }
    placements.manager(config)["http_filters"].insert(0, {"name": "limit", "typed_config": limit})
    with Envoy(tmp_path, config) as process:
        gateway = Gateway(placement, process, shared, tmp_path / "access.log")
        assert gateway.chat("gpt-5").status == 200
        chat, messages = gateway.chat("gpt-5"), gateway.messages("gpt-5")
    assert chat.status == messages.status == 429
    assert chat.json["error"]["type"] == "rate_limit_error"
    assert messages.json["error"] == {"type": "rate_limit_error", "message": "the gateway's rate limit is exceeded"}


class Breaking:
    """A server that begins an answer and then says what is no HTTP."""

    def __enter__(self) -> int:
        self._socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()
        port: int = self._socket.getsockname()[1]
        return port

    def __exit__(self, *exc: object) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with closing(connection):
                got = b""
                while b"\r\n\r\n" not in got:
                    got += connection.recv(65536)
                connection.sendall(BROKEN)
                connection.recv(65536)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_an_answer_that_breaks_when_begun_is_an_error_in_the_clients_shape(
    shared: Backends, tmp_path: Path, placement: str
) -> None:
    config = configured(shared, placement, tmp_path / "access.log")
    with Breaking() as port:
        for name in ("openai", "anthropic"):
            end = placements.clusters(config)[name]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
            end["address"]["socket_address"]["port_value"] = port
        with Envoy(tmp_path, config) as process:
            gateway = Gateway(placement, process, shared, tmp_path / "access.log")
            for model in ("gpt-5", "claude-x"):
                chat, messages = gateway.chat(model), gateway.messages(model)
                assert chat.status >= 500 and chat.json["error"]["code"] == "gateway_error", chat
                assert messages.status >= 500 and messages.json["type"] == "error", messages


@pytest.fixture(scope="module", params=["seen", "skipped"])
def _answered(request: pytest.FixtureRequest, shared: Backends) -> Iterator[Gateway]:
    """The router before filters in the clusters, which sees the heads of answers, or leaves all of them to Envoy."""
    folder = shared.new_folder(f"answers-{request.param}")
    config = configured(shared, "upstream", folder / "access.log")
    if request.param == "skipped":
        placements.manager(config)["http_filters"][0]["typed_config"]["allow_mode_override"] = False
    with Breaking() as port:
        placements.add_model(config, "breaks", port, placements.OPENAI)
        with Envoy(folder, config) as process:
            yield Gateway(request.param, process, shared, folder / "access.log")


def test_local_replies_alone_have_the_clients_shape_and_fewer_words(_answered: Gateway) -> None:
    """What docs/envoy.md says is lost where the router's stream sees no answer: why it is not the default."""
    _answered.backends.reset()
    seen = _answered.placement == "seen"
    for model, status, words in (("dead", 503, "no upstream could be reached"), ("unheard-of", 404, "unheard-of")):
        chat, messages = _answered.chat(model), _answered.messages(model)
        assert chat.status == status and messages.status == (529 if seen and status == 503 else status), model
        assert isinstance(chat.json["error"]["message"], str) and messages.json["type"] == "error"
        assert (words in chat.json["error"]["message"]) is (words in messages.json["error"]["message"]) is seen, chat
    assert _answered.chat("").status == (400 if seen else 404), "a request that names no model"
    chat, messages = _answered.chat("breaks"), _answered.messages("breaks")
    assert chat.status >= 500 and chat.json["error"]["code"] == "gateway_error", chat
    assert messages.status >= 500 and messages.json["type"] == "error", messages
    _answered.openai_upstream.will(as_openai.failure(400, "no such parameter"))
    assert _answered.messages("gpt-5").json["error"]["message"] == "no such parameter", (
        "a provider's own are translated"
    )
    assert _answered.chat("gpt-5").status == 200


def test_the_reference_answers_json_answer_unchanged(reference: Gateway) -> None:
    """Nothing of this touches an upstream's own errors."""
    reference.openai_upstream.will(*[json_answer({"error": {"message": "m", "type": "t"}}, 500)] * 2)
    assert reference.chat("gpt-5").json["error"]["message"] == "m"
