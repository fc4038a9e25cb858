"""Records of exchanges through a real Envoy: what the file says is what client and provider saw."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from extproc.demo.processes import Envoy, Sidecar
from tests.support import placements
from tests.support.gateway import CLIENT_KEY, KEYS, Backends, Gateway, configured
from tests.support.side_service import SideService
from tests.support.upstream import eventually, whole_lines

MODEL = "gpt-4-that-is-logged"
LOGGED = "logging: {summaries: true, payloads: true}\n"


@pytest.fixture(scope="module")
def collector() -> Iterator[SideService]:
    service = SideService()
    yield service
    service.close()


@pytest.fixture(scope="module", params=["upstream", "one-stream"])
def logged(
    request: pytest.FixtureRequest, shared: Backends, collector: SideService, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, Path]]:
    folder, records = tmp_path_factory.mktemp("records"), tmp_path_factory.mktemp("lines") / "records"
    flags = (
        "--records",
        str(records),
        "--records-http",
        f"{collector.url}/in",
        "--records-http-auth",
        "Bearer ${TOKEN}",
    )
    with Sidecar(folder, environ={**KEYS, "TOKEN": "key-of-the-logs"}, arguments=flags) as sidecar:
        own = replace(shared, sidecar=sidecar)
        config = configured(own, request.param, folder / "access.log")
        placements.add_route(
            config, MODEL, "openai", (placements.OPENAI if request.param != "upstream" else "") + LOGGED
        )
        with Envoy(folder, config) as envoy:
            yield Gateway(request.param, envoy, own, folder / "access.log"), records


def line_of(records: Path, words: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    def look() -> bool:
        found[:] = [msgspec.json.decode(line) for line in whole_lines(records) if words.encode() in line]
        return bool(found)

    assert eventually(look, 15)
    (entry,) = found
    return entry


@pytest.mark.rows("D18", "D19", "D20", "E8")
@pytest.mark.parametrize("stream", [False, True])
def test_what_both_sides_saw(logged: tuple[Gateway, Path], stream: bool) -> None:
    gateway, records = logged
    gateway.backends.reset()
    asked = {
        "model": MODEL,
        "max_tokens": 99,
        "stream": stream,
        "messages": [{"role": "user", "content": f"hi {stream}"}],
    }
    headers = {"x-api-key": CLIENT_KEY}
    reply = gateway.send("/v1/messages", asked, headers)
    assert reply.status == 200, reply.body
    made = line_of(records, f"hi {stream}")
    shown = made["payloads"]
    assert shown["client"]["request"]["body"] == asked
    (seen,) = gateway.openai_upstream.received
    assert shown["upstream"]["request"]["body"] == msgspec.json.decode(seen.body)
    got = shown["client"]["response"]
    assert (got["text"].encode() if stream else msgspec.json.encode(got["body"])) == (
        reply.body if stream else msgspec.json.encode(reply.json)
    )
    assert (made["client"], made["upstream"], made["status"]) == ("anthropic_messages", "openai_chat", 200)
    assert made["llm_summary"]["request_model"] == MODEL and made["llm_summary"]["completion_tokens"] > 0
    assert made["llm_request"]["messages"] == asked["messages"] and made["llm_response_text"]["content"]
    for secret in (CLIENT_KEY, *KEYS.values()):
        assert secret not in json.dumps(made)


@pytest.mark.rows("D32")
def test_an_endpoint_gets_the_same(logged: tuple[Gateway, Path], collector: SideService) -> None:
    gateway, records = logged
    words = f"to the endpoint, by {gateway.placement}"
    assert gateway.messages(MODEL, messages=[{"role": "user", "content": words}]).status == 200
    made = line_of(records, words)

    def posted() -> list[Any]:
        return [entry for asked in list(collector.asked) for entry in msgspec.json.decode(asked.body)]

    assert eventually(lambda: made in posted(), 15)
    assert {asked.headers["authorization"] for asked in collector.asked} == {"Bearer key-of-the-logs"}


def test_a_route_that_does_not_ask_is_not_logged(logged: tuple[Gateway, Path]) -> None:
    gateway, records = logged
    for model, words in (("gpt-5", "not this"), (MODEL, "but this")):
        gateway.messages(model, messages=[{"role": "user", "content": words}])
    line_of(records, "but this")
    assert "not this" not in records.read_text()
