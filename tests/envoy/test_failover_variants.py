"""What decides which provider gets an attempt, and what ends one: each a field of Envoy's, seen at the upstreams."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from extproc.demo import as_anthropic, as_openai
from extproc.demo.processes import Envoy, Sidecar
from extproc.demo.provider import Gate, Received, ScriptedAnswer, json_answer, sse_answer
from extproc.reference import config as envoy_config
from tests.support.gateway import DEAD_PORT, Backends, Gateway, Reply
from tests.support.placements import add_cluster, add_route, http_options
from tests.support.upstream import ScriptedUpstream, events, eventually, message_events, text_block

KEYS = {"OPENAI_API_KEY": "key-of-openai", "ANTHROPIC_API_KEY": "key-of-anthropic", "SECOND_API_KEY": "key-the-second"}
OPENAI = "provider: openai\noptions: {model: gpt-5}\nauth: {header: {Authorization: 'Bearer ${OPENAI_API_KEY}'}}\n"
SECOND = "provider: openai\noptions: {model: gpt-5}\nauth: {header: {Authorization: 'Bearer ${SECOND_API_KEY}'}}\n"
ANTHROPIC = "provider: anthropic\noptions: {model: claude-x}\nauth: {header: {x-api-key: '${ANTHROPIC_API_KEY}'}}\n"
EDGE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
KINDS = ("chat", "messages")
Edit = Callable[[dict[str, Any], dict[str, Any]], None]
"""Of a cluster and its route."""


class Lab:
    """Three upstreams, and an Envoy for what a test makes of the reference configuration."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.first, self.second = ScriptedUpstream(as_openai.answer), ScriptedUpstream(as_openai.answer)
        self.third = ScriptedUpstream(as_anthropic.answer)
        for upstream in (self.first, self.second, self.third):
            stack.enter_context(upstream)
        self.sidecar = stack.enter_context(Sidecar(folder, environ=KEYS))
        self._stack = stack
        self._folder = folder
        self._count = 0

    def reset(self) -> None:
        for upstream in (self.first, self.second, self.third):
            upstream.idle()
            upstream.reset()

    @contextmanager
    def envoy(self, endpoints: list[dict[str, Any]], edit: Edit | None = None) -> Iterator[Gateway]:
        """An Envoy whose route for the model ``lab`` leads to a cluster of *endpoints*, after *edit*."""
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        assert self.sidecar.socket is not None
        config = envoy_config.rewrite(
            envoy_config.reference(), sidecar=self.sidecar.socket, access_log=str(folder / "access.log"),
            upstreams={f"api.{n}.com": ("127.0.0.1", DEAD_PORT) for n in ("openai", "anthropic")},
        )  # fmt: skip
        cluster = add_cluster(config, "lab", "any_provider", DEAD_PORT)
        cluster["load_assignment"]["endpoints"] = endpoints
        cluster.pop("outlier_detection", None)
        route = add_route(config, "lab", "any_provider", cluster="lab")["route"]
        route["retry_policy"]["retry_back_off"] = {"base_interval": "0.02s", "max_interval": "0.1s"}
        route["retry_policy"].pop("rate_limited_retry_back_off", None)
        if edit is not None:
            edit(cluster, route)
        with Envoy(folder, config) as running:
            backends = Backends(folder, self.sidecar, self.first, self.third)
            yield Gateway("upstream", running, backends, folder / "access.log")
            assert running.alive(), running.tail()


@pytest.fixture(scope="module")
def _lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with ExitStack() as stack:
        yield Lab(stack, tmp_path_factory.mktemp("lab"))


@pytest.fixture
def lab(_lab: Lab) -> Lab:
    _lab.reset()
    return _lab


def endpoint(port: int, text: str, **more: Any) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    metadata = {"filter_metadata": {"extproc": {"route": text}}}
    return {"endpoint": {"address": address, **more.pop("endpoint", {})}, "metadata": metadata, **more}


def priorities(*items: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"priority": number, "lb_endpoints": [item]} for number, item in enumerate(items)]


def ask(gateway: Gateway, kind: str, **members: Any) -> Reply:
    return gateway.chat("lab", **members) if kind == "chat" else gateway.messages("lab", **members)


def is_answer(reply: Reply, kind: str) -> bool:
    return reply.status == 200 and ("choices" in reply.json if kind == "chat" else reply.json["type"] == "message")


def error_of(reply: Reply, kind: str) -> dict[str, Any]:
    """The error of an answer in the client's own shape."""
    assert ("type" in reply.json) == (kind == "messages"), reply.body
    found: dict[str, Any] = reply.json["error"]
    return found


def failing(status: int, **headers: str) -> ScriptedAnswer:
    made = as_openai.failure(status, f"status {status}", "server_error")
    return ScriptedAnswer(made.chunks, status, (*made.headers, *headers.items()))


# ---- who gets the next attempt


@pytest.mark.rows("A11", "C9")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [429, 503])
def test_the_same_provider_with_another_key(lab: Lab, kind: str, status: int) -> None:
    two = priorities(endpoint(lab.first.port, OPENAI), endpoint(lab.second.port, SECOND))
    with lab.envoy(two) as gateway:
        lab.first.will(failing(status))
        assert is_answer(ask(gateway, kind), kind)
    (first,), (second,) = lab.first.received, lab.second.received
    assert first.header("authorization") == "Bearer key-of-openai"
    assert second.header("authorization") == "Bearer key-the-second"
    assert first.json() == second.json() and first.path == second.path


@pytest.mark.rows("C9")
@pytest.mark.parametrize("discovery", ["STATIC", "STRICT_DNS"])
def test_two_keys_for_one_address(lab: Lab, discovery: str) -> None:
    def by_name(cluster: dict[str, Any], route: dict[str, Any]) -> None:
        cluster["type"] = discovery
        for place in cluster["load_assignment"]["endpoints"] if discovery == "STRICT_DNS" else ():
            place["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["address"] = "localhost"
        cluster["dns_lookup_family"] = "V4_ONLY"

    same = priorities(endpoint(lab.first.port, OPENAI), endpoint(lab.first.port, SECOND))
    with lab.envoy(same, by_name) as gateway:
        lab.first.will(failing(429))
        assert is_answer(ask(gateway, "chat"), "chat")
    keys = [seen.header("authorization") for seen in lab.first.received]
    assert keys == ["Bearer key-of-openai", "Bearer key-the-second"]


@pytest.mark.rows("C9")
@pytest.mark.parametrize("kind", KINDS)
def test_three_in_a_row_and_back_to_the_first_api(lab: Lab, kind: str) -> None:
    def thrice(cluster: dict[str, Any], route: dict[str, Any]) -> None:
        route["retry_policy"]["num_retries"] = 2

    three = priorities(
        endpoint(lab.first.port, OPENAI), endpoint(lab.third.port, ANTHROPIC), endpoint(lab.second.port, SECOND)
    )
    with lab.envoy(three, thrice) as gateway:
        lab.first.will(failing(500))
        lab.third.will(as_anthropic.failure(529, "Overloaded", "overloaded_error"))
        assert is_answer(ask(gateway, kind), kind)
    (first,), (between,), (last,) = lab.first.received, lab.third.received, lab.second.received
    assert (between.path, between.json()["model"]) == ("/v1/messages", "claude-x")
    assert first.json() == last.json(), "nothing of the second attempt's translation is left"
    assert last.header("x-api-key") is None and last.header("anthropic-version") is None
    assert last.header("authorization") == "Bearer key-the-second"


@pytest.mark.rows("A13", "D21")
@pytest.mark.parametrize("kind", KINDS)
def test_one_that_cannot_be_reached_or_is_too_slow(lab: Lab, kind: str) -> None:
    def impatient(cluster: dict[str, Any], route: dict[str, Any]) -> None:
        route["retry_policy"].update(per_try_timeout="0.6s", num_retries=2)
        # The end of a try's time is no status of an upstream's: retriable_status_codes does not see it.
        route["retry_policy"]["retry_on"] += ",gateway-error"

    unreachable = endpoint(DEAD_PORT, OPENAI)
    three = priorities(unreachable, endpoint(lab.first.port, OPENAI), endpoint(lab.second.port, SECOND))
    with lab.envoy(three, impatient) as gateway:
        lab.first.will(ScriptedAnswer((b"{}",), delay=30))
        assert is_answer(ask(gateway, kind), kind)
    assert len(lab.first.received) == len(lab.second.received) == 1


def test_one_that_closes_before_its_answer(lab: Lab) -> None:
    """A connection that ends without a byte is retried: `reset-before-request` alone does not say so, `reset` does."""
    hangs_up = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        while True:
            try:
                connection, _ = hangs_up.accept()
            except OSError:
                return
            connection.recv(65536)
            connection.close()

    threading.Thread(target=run, daemon=True).start()

    def on_reset(cluster: dict[str, Any], route: dict[str, Any]) -> None:
        route["retry_policy"]["retry_on"] += ",reset"

    port = hangs_up.getsockname()[1]
    with lab.envoy(priorities(endpoint(port, OPENAI), endpoint(lab.second.port, SECOND)), on_reset) as gateway:
        assert is_answer(ask(gateway, "chat"), "chat")
    hangs_up.close()
    assert len(lab.second.received) == 1


def test_weights(lab: Lab) -> None:
    def alone(cluster: dict[str, Any], route: dict[str, Any]) -> None:
        del route["retry_policy"]
        cluster["lb_policy"] = "ROUND_ROBIN"

    both = [
        endpoint(lab.first.port, OPENAI, load_balancing_weight=3), endpoint(lab.second.port, SECOND),
    ]  # fmt: skip
    both[1]["load_balancing_weight"] = 1
    with lab.envoy([{"lb_endpoints": both}], alone) as gateway:
        for _ in range(40):
            ask(gateway, "chat")
    assert (len(lab.first.received), len(lab.second.received)) == (30, 10)


def test_a_session_stays_with_its_provider(lab: Lab) -> None:
    def hashed(cluster: dict[str, Any], route: dict[str, Any]) -> None:
        del route["retry_policy"]
        cluster["lb_policy"] = "RING_HASH"
        route["hash_policy"] = [{"header": {"header_name": "x-session"}}]

    both = [endpoint(lab.first.port, OPENAI), endpoint(lab.third.port, ANTHROPIC)]
    with lab.envoy([{"lb_endpoints": both}], hashed) as gateway:
        seen: dict[int, set[str]] = {}
        for session in [*range(12)] * 3:
            before = len(lab.first.received)
            body = {"model": "lab", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
            assert gateway.send("/v1/messages", body, {"x-session": f"s{session}"}).status == 200
            seen.setdefault(session, set()).add("first" if len(lab.first.received) > before else "third")
    assert all(len(providers) == 1 for providers in seen.values())
    assert {next(iter(providers)) for providers in seen.values()} == {"first", "third"}


def test_a_provider_that_keeps_failing_is_left_out(lab: Lab) -> None:
    def ejecting(cluster: dict[str, Any], route: dict[str, Any]) -> None:
        cluster["outlier_detection"] = {
            "consecutive_5xx": 3, "interval": "0.2s", "base_ejection_time": "30s", "max_ejection_percent": 100,
        }  # fmt: skip
        cluster["common_lb_config"] = {"healthy_panic_threshold": {"value": 0}}

    two = priorities(endpoint(lab.first.port, OPENAI), endpoint(lab.second.port, SECOND))
    undo = lab.first.always(lambda request: failing(500))
    try:
        with lab.envoy(two, ejecting) as gateway:
            replies = [ask(gateway, "chat") for _ in range(10)]
    finally:
        undo()
    assert all(is_answer(reply, "chat") for reply in replies)
    assert 3 <= len(lab.first.received) <= 4, "after that it was not asked any more"


@pytest.mark.rows("B20", "B21", "B22")
def test_health_checks_carry_a_credential_and_can_be_off_for_one(lab: Lab) -> None:
    """The secret of a health check stands in Envoy's configuration: the sidecar has no part in it."""
    wrong = [False]

    def respond(request: Received) -> ScriptedAnswer:
        if request.path != "/v1/models":
            return as_openai.answer(request)
        known = request.header("authorization") == "Bearer key-of-the-probe"
        return json_answer({"data": []}, 200 if known and not wrong[0] else 401)

    def checked(cluster: dict[str, Any], route: dict[str, Any]) -> None:
        header = {"header": {"key": "authorization", "value": "Bearer key-of-the-probe"}}
        cluster["health_checks"] = [{
            "timeout": "1s", "interval": "0.2s", "no_traffic_interval": "0.2s", "unhealthy_threshold": 1,
            "healthy_threshold": 1,
            "http_health_check": {"path": "/v1/models", "request_headers_to_add": [header]},
        }]  # fmt: skip
        cluster["common_lb_config"] = {"healthy_panic_threshold": {"value": 0}}

    unchecked = {"health_check_config": {"disable_active_health_check": True}}
    two = priorities(endpoint(lab.first.port, OPENAI), endpoint(lab.second.port, SECOND, endpoint=unchecked))
    undo = lab.first.always(respond)
    try:
        with lab.envoy(two, checked) as gateway:
            assert is_answer(ask(gateway, "chat"), "chat")
            probes = [seen for seen in lab.first.received if seen.path == "/v1/models"]
            assert probes and all(seen.header("authorization") == "Bearer key-of-the-probe" for seen in probes)
            assert lab.first.last.header("authorization") is not None and not lab.second.received
            wrong[0] = True
            assert eventually(lambda: is_answer(ask(gateway, "chat"), "chat") and bool(lab.second.received))
            assert all(seen.path != "/v1/models" for seen in lab.second.received), "it is not checked"
    finally:
        undo()


# ---- when nobody can


@pytest.mark.rows("A11")
@pytest.mark.parametrize("kind", KINDS)
def test_the_last_error_in_the_clients_own_shape(lab: Lab, kind: str) -> None:
    two = priorities(endpoint(lab.first.port, OPENAI), endpoint(lab.third.port, ANTHROPIC))
    with lab.envoy(two) as gateway:
        lab.first.will(failing(503))
        limited = as_anthropic.failure(429, "slow down", "rate_limit_error")
        lab.third.will(ScriptedAnswer(limited.chunks, 429, (*limited.headers, ("retry-after", "7"))))
        reply = ask(gateway, kind)
    assert (reply.status, reply.headers["retry-after"]) == (429, "7")
    assert "slow down" in error_of(reply, kind)["message"]


@pytest.mark.rows("A25")
@pytest.mark.parametrize("kind", KINDS)
def test_no_second_attempt_once_something_was_said(lab: Lab, kind: str) -> None:
    """Not with ``reset`` among the reasons either."""

    def on_reset(cluster: dict[str, Any], route: dict[str, Any]) -> None:
        route["retry_policy"]["retry_on"] += ",reset,5xx"

    two = priorities(endpoint(lab.third.port, ANTHROPIC), endpoint(lab.second.port, SECOND))
    with lab.envoy(two, on_reset) as gateway:
        cut = events(*message_events(text_block("Hello"))[:3])
        lab.third.will(sse_answer(cut, pause=0.05, ending="reset"))
        reply = ask(gateway, kind, stream=True)
    assert reply.broken or b"error" in reply.body
    assert b"Hello" in reply.body and b"[DONE]" not in reply.body and b"message_stop" not in reply.body
    assert lab.second.received == []


# ---- time


@pytest.mark.rows("A13", "D21")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("field", ["timeout", "idle_timeout"])
def test_an_upstream_that_says_nothing_is_a_504_in_the_clients_shape(lab: Lab, kind: str, field: str) -> None:
    def short(cluster: dict[str, Any], route: dict[str, Any]) -> None:
        del route["retry_policy"]
        route[field] = "0.5s"

    with lab.envoy([{"lb_endpoints": [endpoint(lab.first.port, OPENAI)]}], short) as gateway:
        lab.first.will(ScriptedAnswer((b"{}",), delay=30))
        reply = ask(gateway, kind)
    assert reply.status == 504, reply.body
    assert error_of(reply, kind)["message"].startswith("the upstream did not answer in time")


@pytest.mark.rows("A13", "D21")
@pytest.mark.parametrize("kind", KINDS)
def test_an_upstream_that_cannot_be_connected_to_is_said_in_the_clients_shape(lab: Lab, kind: str) -> None:
    def alone(cluster: dict[str, Any], route: dict[str, Any]) -> None:
        del route["retry_policy"]
        cluster["connect_timeout"] = "0.5s"

    with lab.envoy([{"lb_endpoints": [endpoint(DEAD_PORT, OPENAI)]}], alone) as gateway:
        reply = ask(gateway, kind)
    assert reply.status == (503 if kind == "chat" else 529)
    assert error_of(reply, kind)["message"].startswith("no upstream could be reached")


@pytest.mark.rows("D22")
@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_that_lasts_too_long_is_cut_and_has_no_end(lab: Lab, kind: str) -> None:
    def short(cluster: dict[str, Any], route: dict[str, Any]) -> None:
        del route["retry_policy"]
        route["max_stream_duration"] = {"max_stream_duration": "0.8s"}

    gate = Gate()
    with lab.envoy([{"lb_endpoints": [endpoint(lab.third.port, ANTHROPIC)]}], short) as gateway:
        pieces: list[Any] = [*events(*message_events(text_block("Hello"))[:3]), gate]
        lab.third.will(sse_answer(pieces))
        began = time.monotonic()
        reply = ask(gateway, kind, stream=True)
        took = time.monotonic() - began
        gate.set()
    assert 0.6 < took < 10 and b"Hello" in reply.body
    assert b"[DONE]" not in reply.body and b"message_stop" not in reply.body


# ---- connections


@pytest.mark.rows("A14", "D27")
@pytest.mark.parametrize("kind", KINDS)
def test_a_certificate_that_no_one_vouches_for_is_refused(lab: Lab, kind: str, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    _self_signed(key, certificate)
    with _tls_before(lab.first.port, key, certificate) as port:

        def trusting(authority: Path) -> Edit:
            def edit(cluster: dict[str, Any], route: dict[str, Any]) -> None:
                del route["retry_policy"]
                context = {"validation_context": {"trusted_ca": {"filename": str(authority)}}}
                tls = {"@type": EDGE, "sni": "localhost", "common_tls_context": context}
                cluster["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": tls}

            return edit

        alone = [{"lb_endpoints": [endpoint(port, OPENAI)]}]
        with lab.envoy(alone, trusting(Path("/etc/ssl/certs/ca-certificates.crt"))) as gateway:
            reply = ask(gateway, kind)
        assert reply.status in (503, 529) and error_of(reply, kind)["message"], reply.body
        assert lab.first.received == [], "no key went to it"
        with lab.envoy(alone, trusting(certificate)) as gateway:
            assert is_answer(ask(gateway, kind), kind)


def _self_signed(key: Path, certificate: Path) -> None:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import NameOID

    from tests.support.token_endpoint import rsa_key

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(rsa_key().public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(rsa_key(), hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        rsa_key().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


@contextmanager
def _tls_before(target: int, key: Path, certificate: Path) -> Iterator[int]:
    """A TLS server whose bytes go to port *target*; its own port."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = socket.create_server(("127.0.0.1", 0))

    def carry(one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            pass
        finally:
            for each in (one, other):
                try:
                    each.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def run() -> None:
        while True:
            try:
                plain, _ = server.accept()
            except OSError:
                return
            try:
                secure = context.wrap_socket(plain, server_side=True)
            except OSError:
                continue
            back = socket.create_connection(("127.0.0.1", target))
            for pair in ((secure, back), (back, secure)):
                threading.Thread(target=carry, args=pair, daemon=True).start()

    threading.Thread(target=run, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        server.close()


@pytest.mark.rows("D24", "D25", "D26")
@pytest.mark.parametrize(
    ("common", "connections"),
    [({}, 1), ({"max_requests_per_connection": 1}, 4), ({"idle_timeout": "0.1s"}, 4)],
    ids=["keepalive", "no keepalive", "keepalive_timeout"],
)
def test_connections_are_kept_as_the_cluster_says(lab: Lab, common: dict[str, Any], connections: int) -> None:
    def kept(cluster: dict[str, Any], route: dict[str, Any]) -> None:
        del route["retry_policy"]
        http_options(cluster)["common_http_protocol_options"] = common
        # The nearest to a pool's size: a bound of all connections.
        cluster["circuit_breakers"]["thresholds"][0]["max_connections"] = 1

    with lab.envoy([{"lb_endpoints": [endpoint(lab.first.port, OPENAI)]}], kept) as gateway:
        for _ in range(4):
            assert is_answer(ask(gateway, "chat"), "chat")
            time.sleep(0.3 if "idle_timeout" in common else 0)
        stats = gateway.envoy.stats("cluster.lab.upstream_cx_total")
    assert stats["cluster.lab.upstream_cx_total"] == connections
