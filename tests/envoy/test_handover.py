"""The body carried once to the sidecar where both streams of an exchange come to one process, and twice where not."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from extproc.demo import as_anthropic, as_openai
from extproc.demo.processes import Envoy, Sidecar
from extproc.exchange.attempts import HELD
from extproc.reference import config as envoy_config
from tests.support import placements
from tests.support.gateway import KEYS, Backends, Gateway, configured
from tests.support.side_service import SideService
from tests.support.upstream import ScriptedUpstream, eventually
from tests.support.workers import Workers

ON = ("--handover-seconds", "30")
TEXT = "x" * 20_000
LONG: Any = [{"role": "user", "content": TEXT}]


@contextmanager
def running(
    folder: Path,
    *arguments: str,
    elsewhere: bool = False,
    edit: Callable[[dict[str, Any]], None] | None = None,
) -> Iterator[Gateway]:
    """Each provider behind the router and a filter of its cluster. *elsewhere*: that calls a sidecar of its own."""
    with ExitStack() as stack:
        first, second = ScriptedUpstream(as_openai.answer), ScriptedUpstream(as_anthropic.answer)
        for upstream in (first, second):
            stack.enter_context(upstream)
        (folder / "one").mkdir()
        told = ("--admin", "127.0.0.1:0", *arguments)
        sidecar = stack.enter_context(Sidecar(folder / "one", environ=KEYS, arguments=told))
        shared = Backends(folder, sidecar, first, second)
        config = configured(shared, "upstream", folder / "access.log")
        if edit is not None:
            edit(config)
        if elsewhere:
            (folder / "two").mkdir()
            other = stack.enter_context(Sidecar(folder / "two", environ=KEYS, arguments=arguments))
            _another(config, other)
        envoy = stack.enter_context(Envoy(folder, config))
        made = Gateway("upstream", envoy, shared, folder / "access.log")
        yield made
        assert envoy.alive(), envoy.tail()
        # A test may have ended it.
        assert sidecar.stop() == 0, sidecar.tail()


def _another(config: dict[str, Any], sidecar: Sidecar) -> None:
    found = placements.clusters(config)
    cluster = envoy_config.copy_all(found["extproc"])
    cluster["name"] = cluster["load_assignment"]["cluster_name"] = "another"
    (locality,) = cluster["load_assignment"]["endpoints"]
    locality["lb_endpoints"][0]["endpoint"]["address"] = {"pipe": {"path": sidecar.socket}}
    config["static_resources"]["clusters"].append(cluster)
    for each in found.values():
        for item in placements.http_options(each).get("http_filters", [])[:1]:
            item["typed_config"]["grpc_service"]["envoy_grpc"]["cluster_name"] = "another"


@pytest.fixture(scope="module")
def _once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("once"), *ON) as made:
        yield made


@pytest.fixture
def once(_once: Gateway) -> Gateway:
    _once.backends.reset()
    return _once


def carried(gateway: Gateway) -> int:
    """How many bodies of requests have come to the sidecar."""
    found = re.findall(r'extproc_messages_total\{phase="request_body"\} (\d+)', gateway.backends.metrics())
    return sum(map(int, found))


def ask(gateway: Gateway, api: str, model: str, **members: Any) -> Any:
    asking = gateway.chat if api == "chat" else gateway.messages
    return asking(model, messages=LONG, **members)


def is_answer(reply: Any, api: str, stream: bool) -> bool:
    if stream:
        return (b"data: [DONE]" if api == "chat" else b"message_stop") in reply.body
    return ("choices" if api == "chat" else "content") in reply.json


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["gpt-5", "claude-haiku-4-5", "fast"])
@pytest.mark.parametrize("api", ["chat", "messages"])
def test_a_body_is_carried_once(once: Gateway, api: str, model: str, stream: bool) -> None:
    before = carried(once)
    reply = ask(once, api, model, stream=stream)
    assert reply.status == 200 and is_answer(reply, api, stream), reply.body
    assert carried(once) == before + 1, "the router's alone"
    upstream = once.anthropic_upstream if model.startswith("claude") else once.openai_upstream
    (seen,) = upstream.received
    assert TEXT in json.dumps(seen.json())
    # Envoy forgets the length of a body that is put in at the head; another filter of its says it.
    assert seen.header("content-length") == str(len(seen.body)) and seen.header("transfer-encoding") is None


@pytest.mark.parametrize("api", ["chat", "messages"])
def test_a_second_attempt_gets_the_clients_body_and_translates_it_once(once: Gateway, api: str) -> None:
    once.openai_upstream.will(as_openai.failure(503, "not now", "server_error"))
    before = carried(once)
    reply = ask(once, api, "best")
    assert reply.status == 200 and is_answer(reply, api, stream=False), reply.body
    assert carried(once) == before + 2, "the router's and that of the second attempt"
    (first,), (second,) = once.openai_upstream.received, once.anthropic_upstream.received
    assert first.path == "/v1/chat/completions" and second.path == "/v1/messages"
    assert second.json()["messages"] == LONG and second.json()["model"] == "claude-haiku-4-5"
    assert second.header("content-length") == str(len(second.body))
    assert KEYS["OPENAI_API_KEY"] not in repr(second)


def test_a_second_attempt_at_the_same_endpoint_is_the_first_again(once: Gateway) -> None:
    once.openai_upstream.will(as_openai.failure(503, "not now", "server_error"))
    assert ask(once, "messages", "gpt-5").status == 200
    first, second = once.openai_upstream.received
    assert (first.path, first.body) == (second.path, second.body)
    assert second.header("content-length") == str(len(second.body))


def test_a_body_of_unknown_length(once: Gateway) -> None:
    for path in ("/v1/chat/completions", "/v1/messages"):
        once.backends.reset()
        body = json.dumps({"model": "gpt-5", "max_tokens": 9, "messages": LONG}).encode()
        with closing(http.client.HTTPConnection("127.0.0.1", once.envoy.port, timeout=20)) as connection:
            connection.request("POST", path, iter([body[:5000], body[5000:]]), {"content-type": "application/json"})
            assert connection.getresponse().status == 200
        (seen,) = once.openai_upstream.received
        assert TEXT in json.dumps(seen.json())


def test_what_is_wrong_is_said_at_the_head(once: Gateway) -> None:
    reply = once.messages("gpt-5", messages=7)
    assert reply.status == 400 and "messages" in reply.json["error"]["message"]
    assert once.openai_upstream.received == []


def test_twenty_megabytes(once: Gateway) -> None:
    before = carried(once)
    reply = once.messages("gpt-5", messages=[{"role": "user", "content": "y" * 20_000_000}])
    assert reply.status == 200 and len(once.openai_upstream.last.body) > 20_000_000
    assert carried(once) == before + 1


@pytest.mark.parametrize("header", ["x-extproc-held", "extproc-held", "held"])
def test_a_client_names_no_body(once: Gateway, header: str) -> None:
    """Keys travel in Envoy's dynamic metadata, which no client writes."""
    body = {"model": "gpt-5", "messages": LONG}
    assert once.send("/v1/chat/completions", body, {header: "0" * 32}).status == 200
    assert once.openai_upstream.last.json()["messages"] == LONG


NOT_KEPT = {
    "no room": ("--handover-seconds", "30", "--handover-bytes", "1KiB"),
    "no time": ("--handover-seconds", "0.000001"),
    "off": (),
}


@pytest.mark.parametrize("why", NOT_KEPT)
def test_otherwise_it_is_carried_twice(tmp_path: Path, why: str) -> None:
    with running(tmp_path, *NOT_KEPT[why]) as gateway:
        before = carried(gateway)
        for api in ("chat", "messages"):
            reply = ask(gateway, api, "gpt-5")
            assert reply.status == 200 and is_answer(reply, api, stream=False), reply.body
        assert carried(gateway) == before + 4
        assert [seen.header("transfer-encoding") for seen in gateway.openai_upstream.received] == [None, None]


def test_another_process_gets_it_from_envoy(tmp_path: Path) -> None:
    with running(tmp_path, *ON, elsewhere=True) as gateway:
        before = carried(gateway)
        for stream in (False, True):
            reply = ask(gateway, "messages", "gpt-5", stream=stream)
            assert reply.status == 200 and is_answer(reply, "messages", stream), reply.body
        assert carried(gateway) == before + 2, "the router's; the other has the translator's"


def test_a_sidecar_restarted_between_the_two_streams_gets_the_body_from_envoy(
    tmp_path: Path, between: SideService
) -> None:
    """The one that ends finishes the router's streams; their bodies are gone with it for those of the translator."""
    ways = [(api, stream) for api in ("chat", "messages") for stream in (False, True)]
    with (
        running(tmp_path, *ON, edit=lambda config: _ask_between(config, between)) as gateway,
        ThreadPoolExecutor(len(ways)) as pool,
    ):
        asked = [pool.submit(ask, gateway, api, "gpt-5", stream=stream) for api, stream in ways]
        assert eventually(lambda: len(between.asked) == len(ways)) and carried(gateway) == len(ways)
        old = gateway.backends.sidecar
        old.signal(signal.SIGTERM)
        assert eventually(lambda: not old.ready())
        assert old.alive() and not any(each.done() for each in asked)
        with another(gateway, tmp_path) as new:
            between.gate.set()
            for each, (api, stream) in zip(asked, ways, strict=True):
                reply = each.result(30)
                assert reply.status == 200 and is_answer(reply, api, stream), reply.body
            assert carried(new) == len(ways), "each by its second stream"
            for seen in gateway.openai_upstream.received:
                assert TEXT in json.dumps(seen.json()) and seen.header("content-length") == str(len(seen.body))
            assert eventually(lambda: not old.alive())


@contextmanager
def another(gateway: Gateway, folder: Path) -> Iterator[Gateway]:
    """The same with a sidecar where its last one listened."""
    (folder / "two").mkdir()
    made = Sidecar(folder / "two", environ=KEYS, arguments=gateway.backends.sidecar.arguments)
    made.address, made.socket = gateway.backends.sidecar.address, gateway.backends.sidecar.socket
    with made:
        yield replace(gateway, backends=replace(gateway.backends, sidecar=made))


WAITS_SECONDS = 60


@pytest.fixture
def between() -> Iterator[SideService]:
    """Whom Envoy asks between the two streams of an exchange. It answers once a test has opened its gate."""
    side = SideService(WAITS_SECONDS)
    side.gate.clear()
    yield side
    side.close()


def _ask_between(config: dict[str, Any], side: SideService) -> None:
    """Have another filter of Envoy's ask *side* between the two streams, and wait for its answer."""
    address = {"socket_address": {"address": "127.0.0.1", "port_value": int(side.url.rpartition(":")[2])}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    load = {"cluster_name": "between", "endpoints": endpoints}
    config["static_resources"]["clusters"].append({"name": "between", "type": "STATIC", "load_assignment": load})
    server = {"uri": side.url, "cluster": "between", "timeout": f"{WAITS_SECONDS}s"}
    kind = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"
    made = {"name": "between", "typed_config": {"@type": kind, "http_service": {"server_uri": server}}}
    placements.manager(config)["http_filters"].insert(-1, made)


@pytest.mark.parametrize("api", ["chat", "messages"])
def test_a_key_that_a_client_knows_opens_nothing(tmp_path: Path, between: SideService, api: str) -> None:
    """One that is good at that time: the log tells it while the exchange that it belongs to goes on."""
    told = tmp_path / "keys"

    def edit(config: dict[str, Any]) -> None:
        _tell_keys(config, told)
        _ask_between(config, between)

    with running(tmp_path, *ON, edit=edit) as gateway, ThreadPoolExecutor(2) as pool:
        theirs = pool.submit(ask, gateway, api, "gpt-5")
        assert eventually(lambda: bool(keys(gateway, told))) and not theirs.done(), "the key is told in time"
        (key,) = keys(gateway, told)
        before = carried(gateway)
        said: Any = [{"role": "user", "content": "z" * len(TEXT)}]
        names = [HELD, f"x-extproc-{HELD}", f"extproc-{HELD}", "extproc", f"x-extproc.{HELD}"]
        headers = dict.fromkeys(names, key) | {"cookie": f"{HELD}={key}", "x-request-id": key}
        body = {"model": "gpt-5", "max_tokens": 99, "messages": said, "metadata": {HELD: key}}
        path = "/v1/chat/completions" if api == "chat" else "/v1/messages"
        mine = pool.submit(gateway.send, f"{path}?{HELD}={key}", body, headers)
        assert eventually(lambda: len(between.asked) == 2)
        between.gate.set()
        for each in (mine.result(30), theirs.result(30)):
            assert each.status == 200 and is_answer(each, api, stream=False), each.body
        assert carried(gateway) == before + 1, "its own first attempt found its own, and the other's found the other's"
        sent = [json.dumps(seen.json()["messages"]) for seen in gateway.openai_upstream.received]
        assert sorted("z" * len(TEXT) in each for each in sent) == [False, True]
        assert sorted(TEXT in each for each in sent) == [False, True]


def _tell_keys(config: dict[str, Any], told: Path) -> None:
    """Have Envoy write the key of each exchange that goes on."""
    manager = placements.manager(config)
    kind = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
    line = {"text_format_source": {"inline_string": f"%DYNAMIC_METADATA(extproc:{HELD})%\n"}}
    log = {"name": "keys", "typed_config": {"@type": kind, "path": str(told), "log_format": line}}
    manager["access_log"].append(log)
    manager["access_log_options"] = {"access_log_flush_interval": "0.1s"}


def keys(gateway: Gateway, told: Path) -> set[str]:
    """Those that have been told so far."""
    # Else it would write every ten seconds.
    gateway.envoy.admin("POST", "/reopen_logs")
    return set(re.findall(r"[0-9a-f]{32}", told.read_text("utf-8"))) if told.exists() else set()


@contextmanager
def two_workers(folder: Path, between: SideService | None = None) -> Iterator[tuple[Gateway, Workers]]:
    """Either stream of an exchange in the one process or in the other, as chance has it."""
    openai, anthropic = ScriptedUpstream(as_openai.answer), ScriptedUpstream(as_anthropic.answer)
    with openai, anthropic, Workers(folder, 2, *ON, environ=KEYS) as workers:
        sockets = [address.removeprefix("unix:") for address in workers.addresses]
        upstreams = {"api.openai.com": ("127.0.0.1", openai.port), "api.anthropic.com": ("127.0.0.1", anthropic.port)}
        reference = placements.two_streams(envoy_config.reference())
        log = folder / "access.log"
        config = envoy_config.rewrite(reference, sidecar=sockets[0], upstreams=upstreams, access_log=str(log))
        cluster = placements.clusters(config)["extproc"]
        endpoints = [{"endpoint": {"address": {"pipe": {"path": path}}}} for path in sockets]
        cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": endpoints}]
        cluster["health_checks"][0].update(interval="0.3s", no_traffic_interval="0.3s", timeout="0.3s")
        if between is not None:
            _ask_between(config, between)
        with Envoy(folder, config) as envoy:
            shared = Backends(folder, cast(Sidecar, workers), openai, anthropic)
            yield Gateway("upstream", envoy, shared, log), workers
            assert envoy.alive(), envoy.tail()
        for seen in openai.received:
            assert TEXT in json.dumps(seen.json()), "each is translated, and whole"


def test_a_worker_killed_between_the_two_streams_costs_the_exchanges_it_had_and_no_other(
    tmp_path: Path, between: SideService
) -> None:
    with two_workers(tmp_path, between) as (gateway, workers), ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(ask, gateway, "messages", "gpt-5") for _ in range(12)]
        assert eventually(lambda: len(between.asked) == len(asked))
        # Each worker has bodies for attempts that have not begun: those may come to either.
        held = gateway.streams("rq_active")
        killed, living = (address.removeprefix("unix:") for address in workers.addresses)
        assert held[killed] and held[living] and not gateway.openai_upstream.received
        os.kill(workers.pids()[0], signal.SIGKILL)
        # Those of its exchanges that wait are answered as they break off; the others go on.
        assert eventually(lambda: sum(each.done() for each in asked) == held[killed])
        between.gate.set()
        replies = [each.result(30) for each in asked]
        good = [reply for reply in replies if reply.status == 200]
        assert all(is_answer(reply, "messages", stream=False) for reply in good)
        assert len(good) == held[living] == len(gateway.openai_upstream.received)
        assert all(reply.status >= 500 for reply in replies if reply not in good)
        assert eventually(lambda: ask(gateway, "messages", "gpt-5").status == 200, 20)


def test_a_worker_that_dies_costs_no_more_than_its_own_exchanges(tmp_path: Path) -> None:
    with two_workers(tmp_path) as (gateway, workers):
        for _ in range(12):
            assert is_answer(ask(gateway, "messages", "gpt-5"), "messages", stream=False)
        os.kill(workers.pids()[0], signal.SIGKILL)
        replies = [ask(gateway, "messages", "gpt-5") for _ in range(12)]
        assert all(reply.status == 200 or reply.status >= 500 for reply in replies)
        assert eventually(lambda: ask(gateway, "messages", "gpt-5").status == 200, 20)
