"""The admin port beside a real Envoy: the last exchanges and the routes, from one process and from several."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from extproc.cli import main
from extproc.demo.processes import Envoy, Sidecar
from tests.support import placements
from tests.support.gateway import CLIENT_KEY, KEYS, Backends, Gateway, configured
from tests.support.placements import clusters
from tests.support.upstream import eventually, whole_lines
from tests.support.workers import Workers

MODEL = "gpt-5-that-is-shown"
TOKEN = "token-of-the-admin"
FLAGS = ("--admin", "127.0.0.1:0", "--admin-token", "${ADMIN_TOKEN}")


TRANSLATES = {"upstream": "translator", "one-stream": "router"}
"""In which role, by the placement."""


@pytest.fixture(
    scope="module",
    params=[("upstream", 1), ("upstream", 2), ("one-stream", 1)],
    ids=["alone", "workers", "one-stream"],
)
def watched(
    request: pytest.FixtureRequest, shared: Backends, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, str]]:
    folder = tmp_path_factory.mktemp("admin")
    placement, processes = request.param
    environ = {**KEYS, "ADMIN_TOKEN": TOKEN}
    flags = (*FLAGS, "--records", str(folder / "records"))
    with ExitStack() as stack:
        if processes == 1:
            sidecar = stack.enter_context(Sidecar(folder, environ=environ, arguments=flags))
            sockets = [str(sidecar.socket)]
        else:
            made = stack.enter_context(Workers(folder, processes, *flags, environ=environ))
            sockets = [address.removeprefix("unix:") for address in made.addresses]
            sidecar = cast(Sidecar, made)
            sidecar.address, sidecar.socket = made.addresses[0], sockets[0]
        own = replace(shared, sidecar=sidecar)
        config = configured(own, placement, folder / "access.log")
        endpoints = [{"endpoint": {"address": {"pipe": {"path": path}}}} for path in sockets]
        clusters(config)["extproc"]["load_assignment"]["endpoints"] = [{"lb_endpoints": endpoints}]
        placements.add_alike(config, MODEL, "logging: {payloads: true}\n")
        envoy = stack.enter_context(Envoy(folder, config))
        yield Gateway(placement, envoy, own, folder / "access.log"), sidecar.admin


def ask(address: str, path: str, token: str = TOKEN) -> tuple[int, Any]:
    with closing(http.client.HTTPConnection(address, timeout=10)) as connection:
        connection.request("GET", path, headers={"authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        body = answer.read()
        kind = answer.getheader("content-type") or ""
        return answer.status, msgspec.json.decode(body) if "json" in kind else body


def test_the_last_exchanges_with_bodies_only_where_a_route_allows(watched: tuple[Gateway, str]) -> None:
    gateway, address = watched
    gateway.backends.reset()
    for _ in range(3):
        assert gateway.messages(MODEL, messages=[{"role": "user", "content": "may be seen"}]).status == 200
        assert gateway.messages("gpt-5", messages=[{"role": "user", "content": "is nobody's"}]).status == 200

    def translated() -> list[Any]:
        status, told = ask(address, "/exchanges")
        assert status == 200
        return [each for each in told["exchanges"] if each["role"] == TRANSLATES[gateway.placement]]

    assert eventually(lambda: len(translated()) >= 6, 15)
    found = translated()
    seen = [each for each in found if "payloads" in each]
    assert len(seen) >= 3 and all(each["model_asked"] == MODEL for each in seen)
    assert "may be seen" in json.dumps(seen) and "is nobody's" not in json.dumps(found)
    for secret in (CLIENT_KEY, *KEYS.values(), TOKEN):
        assert secret not in json.dumps(found)
    assert [each["ended_at"] for each in found] == sorted(each["ended_at"] for each in found)
    _, later = ask(address, f"/exchanges?since={found[-1]['ended_at']}")
    assert len(later["exchanges"]) < len(found)


def test_what_the_live_view_asks_for(watched: tuple[Gateway, str]) -> None:
    gateway, address = watched
    status, page = ask(address, "/", "")
    assert status == 200 and b"<title>extproc: live</title>" in page
    _, before = ask(address, "/exchanges?bodies=no")
    asked = {"messages": [{"role": "user", "content": "is told member by member"}], "top_k": 40}
    assert gateway.messages(MODEL, stream=True, **asked).status == 200

    def news() -> list[Any]:
        _, told = ask(address, f"/exchanges?bodies=no&wait=5&cursor={before['cursor']}")
        assert not any("payloads" in each for each in told["exchanges"])
        return [
            each for each in told["exchanges"] if each["role"] == TRANSLATES[gateway.placement] and each["has_payloads"]
        ]

    assert eventually(lambda: len(news()) == 1, 15)
    status, one = ask(address, f"/exchanges/{news()[0]['id']}")
    assert status == 200 and one["payloads"]["client"]["request"]["body"]["top_k"] == 40
    assert {"path": "top_k", "how": "dropped", "became": [], "why": ""} in one["members"]
    shown = one["payloads"]
    for side, times in one["course"]["times_ms"].items():
        assert len(times) == len(shown[side]["response"]["text"].rstrip("\n").split("\n\n")) and times == sorted(times)
    for secret in (CLIENT_KEY, *KEYS.values(), TOKEN):
        assert secret not in json.dumps(one)
    assert ask(address, f"/exchanges/{news()[0]['id']}", "")[0] == 401 and ask(address, "/exchanges/1-1")[0] == 404


@pytest.mark.rows("D20")
def test_a_capture_of_it_translates_again_without_what_was_said(
    watched: tuple[Gateway, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway, address = watched
    monkeypatch.setenv("ADMIN_TOKEN", TOKEN)
    monkeypatch.setenv("EXTPROC_ADMIN_TOKEN", "${ADMIN_TOKEN}")
    asked = {"messages": [{"role": "user", "content": "Zanzibar?"}], "top_k": 40}
    for stream in (False, True):
        assert gateway.messages(MODEL, stream=stream, **asked).status == 200
    file = tmp_path / "bug.json"
    capture = ["capture", address, "--loss", "--model", MODEL, "--last", "2", "--output", str(file)]
    assert eventually(lambda: main(capture) == 0 and file.read_text().count('"top_k": 40') >= 2, 15)
    text = file.read_text()
    assert not any(secret in text for secret in ("Zanzibar", CLIENT_KEY, *KEYS.values(), TOKEN))
    assert main(["replay", str(file)]) == 0
    assert main(["tail", address, "--once", "--loss", "-n", "1"]) == 0
    assert MODEL[:20] in capfd.readouterr().out


def test_processes_share_one_file_of_records(watched: tuple[Gateway, str]) -> None:
    gateway, address = watched
    records = gateway.access_log.with_name("records")
    for number in range(12):
        gateway.messages(MODEL, messages=[{"role": "user", "content": f"shared {number} {'x' * 9000}"}])

    def numbers() -> list[str]:
        said = [msgspec.json.decode(line)["llm_request"]["messages"][0]["content"] for line in whole_lines(records)]
        return sorted(text.split()[1] for text in said if isinstance(text, str) and text.startswith("shared"))

    assert eventually(lambda: len(numbers()) == 12, 15)
    assert numbers() == sorted(map(str, range(12)))
    _, told = ask(address, "/exchanges")
    workers = {each.get("process") for each in told["exchanges"]}
    assert len(workers) == (2 if isinstance(gateway.backends.sidecar, Workers) else 1)


def test_the_routes_that_are_compiled(watched: tuple[Gateway, str]) -> None:
    gateway, address = watched
    gateway.messages(MODEL)
    status, told = ask(address, "/config")
    assert status == 200 and told["settings"]["admin_token"] == "${ADMIN_TOKEN}"
    (made,) = [each for each in told["routes"] if each.get("route", {}).get("logging")]
    assert made["route"]["auth"] == {"header": {"Authorization": "Bearer ${OPENAI_API_KEY}"}}
    by = made["from"]
    assert by["logging"] == "route" and (by["auth"] == "endpoint") is (gateway.placement == "upstream")
    assert not any(secret in json.dumps(told) for secret in (*KEYS.values(), TOKEN))


def test_not_without_the_token(watched: tuple[Gateway, str]) -> None:
    _, address = watched
    for path in ("/exchanges", "/config"):
        assert ask(address, path, "")[0] == 401 == ask(address, path, "wrong")[0]
    assert ask(address, "/metrics", "")[0] == 200
