"""The scripted upstream and the client over real connections, without a gateway between them: one API to itself."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from functools import partial

import pytest

from extproc.conformance import APIS, Grade, rows
from extproc.conformance.live import KEY_HEADERS, Live, ScriptedUpstream

FEATURES = ("text", "tools", "signatures", "calls", "usage", "rate_limit", "broken", "cut")


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream().start() as running:
        yield running


@pytest.mark.parametrize("api", APIS)
def test_nothing_between_loses_nothing(api: str, upstream: ScriptedUpstream) -> None:
    direct = partial(Live, f"http://127.0.0.1:{upstream.port}", upstream=upstream)
    found = list(rows(direct, clients=[api], upstreams=[api], features=FEATURES))
    assert {row.feature for row in found if row.finding.grade not in (Grade.EXACT, Grade.ABSENT)} == set()


def test_what_reaches_it_in_another_api_is_told(upstream: ScriptedUpstream) -> None:
    direct = partial(Live, f"http://127.0.0.1:{upstream.port}/", upstream=upstream)
    (row,) = rows(direct, clients=["openai_chat"], upstreams=["anthropic_messages"], features=["text"])
    assert row.finding.grade is Grade.BROKEN
    assert "asked at /v1/chat/completions, which is not anthropic_messages" in row.finding.detail


def test_no_gateway_is_no_answer() -> None:
    (row,) = rows(partial(Live, "http://127.0.0.1:1"), clients=["gemini"], upstreams=["gemini"], features=["usage"])
    assert row.finding.grade is Grade.BROKEN and "refused" in row.finding.detail


def test_a_health_check_gets_an_answer(upstream: ScriptedUpstream) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", upstream.port, timeout=10)
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    connection.close()


def test_keys_are_sent_as_each_api_does(upstream: ScriptedUpstream) -> None:
    for api in APIS:
        direct = partial(Live, f"http://127.0.0.1:{upstream.port}", upstream=upstream, key="k-1")
        list(rows(direct, clients=[api], upstreams=[api], features=["text"]))
        assert upstream.asked is not None
        assert upstream.asked.header(KEY_HEADERS.get(api, "authorization")) in ("k-1", "Bearer k-1")
