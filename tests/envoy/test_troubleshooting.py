"""docs/troubleshooting.md: each of its rows provoked, at a real Envoy with the shipped configuration."""

from __future__ import annotations

import contextlib
import copy
import fnmatch
import http.client
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from extproc.demo import as_openai
from extproc.demo.processes import Envoy, Sidecar
from extproc.demo.provider import ScriptedAnswer
from tests.support import placements
from tests.support.gateway import DEAD_PORT, KEYS, Backends, Gateway, Reply, configured, gateway
from tests.support.upstream import chat, eventually, whole_lines

PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
TABLE = re.compile(r"^## (\d{3}).*?\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Row:
    """What the page says: a status, what the client reads, and the access log's ``details``; ``...`` is anything."""

    status: int
    reads: str
    details: str

    def fits(self, status: int, reads: str, details: str) -> bool:
        return status == self.status and _like(self.reads, reads) and _like(self.details, details)


def _like(said: str, found: str) -> bool:
    return fnmatch.fnmatchcase(found, re.sub(r"([*?\[])", r"[\1]", said).replace("...", "*"))


def _rows() -> Iterator[Row]:
    for status, text in TABLE.findall(PAGE.read_text("utf-8")):
        for line in re.findall(r"^\| (`.*?)\|$", text, re.MULTILINE):
            reads, details, *_ = (cell.strip() for cell in line.split(" | "))
            yield Row(int(status), reads.strip("`"), details.strip("`"))


ROWS = list(_rows())


@dataclass(frozen=True)
class World:
    """One Envoy with four listeners, all in front of the same upstreams."""

    gateway: Gateway
    ports: dict[str, int]

    def at(self, listener: str) -> Gateway:
        envoy = copy.copy(self.gateway.envoy)
        envoy.port = self.ports[listener]
        return replace(self.gateway, envoy=envoy)

    def details(self, before: int) -> str:
        """Of the exchange after the first *before* that the access log has."""

        def is_written() -> bool:
            self.gateway.envoy.admin("POST", "/reopen_logs")
            return self.count() > before

        assert eventually(is_written, 15)
        return str(msgspec.json.decode(whole_lines(self.gateway.access_log)[before])["details"])

    def count(self) -> int:
        return len(whole_lines(self.gateway.access_log))


def _listener(config: dict[str, Any], name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Another listener as the first one, and its connection manager."""
    made = copy.deepcopy(config["static_resources"]["listeners"][0])
    made["name"] = name
    made["address"]["socket_address"]["port_value"] = 0
    config["static_resources"]["listeners"].append(made)
    return made, made["filter_chains"][0]["filters"][0]["typed_config"]


def _config(shared: Backends, log: Path) -> dict[str, Any]:
    config = configured(shared, "one-stream", log)
    placements.add_alike(config, "small", "max_request_bytes: 2000\nmax_response_bytes: 300\n")
    placements.add_route(config, "timed", "openai")["route"]["timeout"] = "0.2s"
    placements.add_route(config, "idle", "openai")["route"]["idle_timeout"] = "0.2s"
    placements.add_route(config, "full", "openai", cluster="full")
    full = placements.add_cluster(config, "full", "openai", shared.openai.port)
    full["circuit_breakers"] = {"thresholds": [{"max_pending_requests": 0, "max_connections": 0}]}
    placements.add_route(config, "nobody", "openai", cluster="nobody")
    placements.add_cluster(config, "nobody", "openai", DEAD_PORT)["load_assignment"]["endpoints"] = []
    hosts = placements.one_streams_metadata(config)
    assert hosts is not None
    hosts["models"] += "unrouted: {owned_by: nobody}\n"
    # Stands for any filter of Envoy's that refuses.
    fault = {
        "name": "envoy.filters.http.fault",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
            "abort": {"header_abort": {}, "percentage": {"numerator": 100}},
        },
    }
    placements.manager(config)["http_filters"].insert(0, fault)
    gone = copy.deepcopy(placements.clusters(config)["extproc"])
    gone["name"] = gone["load_assignment"]["cluster_name"] = "gone"
    gone.pop("health_checks")
    (locality,) = gone["load_assignment"]["endpoints"]
    locality["lb_endpoints"][0]["endpoint"]["address"] = {
        "socket_address": {"address": "127.0.0.1", "port_value": DEAD_PORT}
    }
    config["static_resources"]["clusters"].append(gone)
    strict, manager = _listener(config, "strict")
    strict["per_connection_buffer_limit_bytes"] = 65536
    manager["http_protocol_options"].pop("accept_http_10")
    for name in ("down", "bare"):
        _, manager = _listener(config, name)
        (ours,) = [each for each in manager["http_filters"] if each["name"] == "extproc.listener"]
        ours["typed_config"]["grpc_service"]["envoy_grpc"]["cluster_name"] = "gone"
        if name == "bare":
            manager.pop("local_reply_config")
    return config


@pytest.fixture(scope="module")
def world(shared: Backends) -> Iterator[World]:
    folder = shared.new_folder("troubles")
    log = folder / "access.log"
    with Envoy(folder, _config(shared, log)) as envoy:
        listeners = msgspec.json.decode(envoy.admin("GET", "/listeners?format=json")[1])["listener_statuses"]
        ports = {each["name"]: each["local_address"]["socket_address"]["port_value"] for each in listeners}
        envoy.port = ports["llm"]
        yield World(Gateway("one-stream", envoy, shared, log), ports)


# ---- each trouble


def _plain(gateway: Gateway, request: bytes) -> Reply:
    """What Envoy answers to *request* on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.envoy.port, timeout=30)
    with closing(connection):
        connection.connect()
        connection.sock.sendall(request)
        response = http.client.HTTPResponse(connection.sock)
        response.begin()
        return Reply(response.status, dict(response.getheaders()), response.read())


def _failing(status: int, message: str) -> Callable[[World], Reply]:
    def asked(world: World) -> Reply:
        failure = as_openai.failure(status, message)
        world.gateway.openai_upstream.will(failure, failure)
        return world.gateway.chat("gpt-5")

    return asked


def _answered(answer: ScriptedAnswer) -> Callable[[World], Reply]:
    def asked(world: World) -> Reply:
        world.gateway.openai_upstream.will(answer, answer)
        return world.gateway.messages("gpt-5")

    return asked


def _refused(status: int) -> Callable[[World], Reply]:
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}
    return lambda world: world.gateway.send("/v1/chat/completions", body, {"x-envoy-fault-abort-request": str(status)})


def _late(world: World, model: str) -> Reply:
    world.gateway.openai_upstream.will(ScriptedAnswer(chat("late").chunks, delay=1.0))
    return world.gateway.messages(model)


def _large_answer(world: World) -> Reply:
    world.gateway.openai_upstream.will(chat("x" * 1_000_000))
    return world.at("strict").messages("gpt-5")


HTML = (("content-type", "text/html"),)
TROUBLES: dict[str, Callable[[World], Reply]] = {
    "member": lambda world: world.gateway.send("/v1/messages", {"model": "gpt-5", "messages": "hi"}),
    "json": lambda world: world.gateway.send("/v1/messages", b'{"model": "gpt-5", "max'),
    "reject": lambda world: world.gateway.messages("reject", top_k=3),
    "unknown model": lambda world: world.gateway.messages("nope"),
    "no route": lambda world: world.gateway.messages("unrouted"),
    "no path": lambda world: world.gateway.send("/v1/nothing", {"model": "gpt-5"}),
    "no method": lambda world: world.gateway.send("/v1/messages", method="GET"),
    "large for the listener": lambda world: world.at("strict").messages("gpt-5", x="x" * 1_000_000),
    "large for the route": lambda world: world.gateway.messages("small", x="x" * 3000),
    "old HTTP": lambda world: _plain(world.at("strict"), b"GET /v1/models HTTP/1.0\r\nHost: x\r\n\r\n"),
    "long head": lambda world: _plain(world.gateway, b"GET / HTTP/1.1\r\nHost: x\r\nx: " + b"a" * 99_000 + b"\r\n\r\n"),
    "route": lambda world: world.gateway.messages("bad-provider"),
    "secret": lambda world: world.gateway.messages("bad-secret"),
    "down, bare": lambda world: world.at("bare").messages("gpt-5"),
    "down": lambda world: world.at("down").messages("gpt-5"),
    "large answer": _large_answer,
    "large answer for the route": lambda world: world.gateway.messages("small"),
    "no JSON": _answered(ScriptedAnswer([b"<html>"], 200, HTML)),
    "no API": _answered(ScriptedAnswer([b"<html>"], 502, HTML)),
    "redirect": _answered(ScriptedAnswer([], 302, (("location", "https://x/"),))),
    "dead": lambda world: world.gateway.chat("dead"),
    "nobody": lambda world: world.gateway.chat("nobody"),
    "full": lambda world: world.gateway.chat("full"),
    "timed": lambda world: _late(world, "timed"),
    "idle": lambda world: _late(world, "idle"),
    "broken": _answered(ScriptedAnswer(chat("hello").chunks, ending="reset")),
    **{f"provider's {status}": _failing(status, f"the provider's own {status}") for status in
       (400, 401, 403, 404, 413, 429, 500, 502, 503, 504)},
    **{f"a filter's {status}": _refused(status) for status in (401, 403, 429)},
}  # fmt: skip


def reads(reply: Reply) -> str:
    """What the client is told."""
    if not reply.body:
        return "nothing"
    if b'"message"' not in reply.body:
        return reply.body.decode()
    return str(reply.json["error"]["message"])


def _seen(world: World, provoke: Callable[[World], Reply]) -> tuple[int, str, str]:
    """Asked again where the connection broke: Envoy closes one on which a body still comes a second after its answer,
    which a busy machine may not have read by then."""
    for _ in range(5):
        world.gateway.backends.reset()
        before = world.count()
        reply = None
        with contextlib.suppress(ConnectionError):
            reply = provoke(world)
        details = world.details(before)
        if reply is not None and not reply.broken:
            return reply.status, reads(reply), details
    raise AssertionError("the connection broke each time")


def test_each_trouble_has_its_row_and_each_row_its_trouble(world: World) -> None:
    seen = {name: _seen(world, provoke) for name, provoke in TROUBLES.items()}
    assert {name: one for name, one in seen.items() if not any(row.fits(*one) for row in ROWS)} == {}
    assert [row for row in ROWS if not any(row.fits(*one) for one in seen.values())] == []
    assert len(ROWS) > 30


def test_while_the_sidecar_is_down(world: World) -> None:
    """What docs/operations.md says that a client sees."""
    world.gateway.backends.reset()
    for ask in (Gateway.messages, Gateway.chat):
        reply = ask(world.at("down"), "gpt-5")
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        assert ("type" in reply.json) is (ask is Gateway.messages)
    other = world.at("down").send("/web", method="GET")
    assert (other.status, other.body) == (500, b"")
    assert world.gateway.openai_upstream.received == []


def test_debug_prints_the_line_that_the_page_shows(tmp_path: Path, world: World) -> None:
    (shown,) = re.findall(r"^ *```json\n(.*?)^ *```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    with Sidecar(tmp_path, environ=KEYS, arguments=("--log-level", "debug")) as sidecar:
        backends = replace(world.gateway.backends, sidecar=sidecar, folder=tmp_path)
        with gateway(backends, "one-stream") as own:
            assert own.messages("gpt-5", top_k=3).status == 200
            said = r"DEBUG extproc\.server\.service: (\{.*\})\n"
            assert eventually(lambda: re.search(said, sidecar.log.read_text()) is not None)
        found = re.findall(said, sidecar.log.read_text())
        assert "hpack" not in sidecar.log.read_text()
    (line,) = [made for made in map(msgspec.json.decode, found) if made.get("losses")]
    example = msgspec.json.decode(shown)
    told = {"time", "request_id", "duration_ms", "upstream_ms"}
    assert line.keys() == example.keys()
    assert {k: v for k, v in line.items() if k not in told} == {k: v for k, v in example.items() if k not in told}
