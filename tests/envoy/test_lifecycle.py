"""The sidecar's coming and going beside a running Envoy."""

from __future__ import annotations

import http.client
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from extproc.demo.processes import Envoy, Sidecar
from extproc.demo.provider import Gate, sse_answer
from tests.support.gateway import KEYS, Backends, Gateway, configured
from tests.support.ports import free_port
from tests.support.upstream import events, eventually, message_events, text_block


@pytest.fixture(params=["one-stream", "upstream"])
def own(
    request: pytest.FixtureRequest, shared: Backends, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """An Envoy with a sidecar of its own, which the test may end, on a TCP port."""
    shared.reset()
    folder = tmp_path_factory.mktemp("own")
    with Sidecar(folder, address=f"127.0.0.1:{free_port()}", environ=KEYS) as sidecar:
        mine = Backends(folder, sidecar, shared.openai, shared.anthropic)
        log = folder / "access.log"
        with Envoy(folder, configured(mine, request.param, log)) as envoy:
            yield Gateway(request.param, envoy, mine, log)


def test_over_tcp(own: Gateway) -> None:
    assert own.messages("gpt-5").status == 200
    assert own.chat("claude-haiku-4-5", stream=True).body.endswith(b"data: [DONE]\n\n")


def test_without_the_sidecar_nothing_passes_untranslated(own: Gateway) -> None:
    own.backends.sidecar.stop()
    assert own.messages("gpt-5").status in (500, 503)
    assert own.chat("claude-haiku-4-5").status in (500, 503)
    assert own.openai_upstream.received == own.anthropic_upstream.received == []


def test_a_sidecar_that_dies_in_mid_stream_breaks_the_transfer(own: Gateway) -> None:
    gate = Gate()
    own.anthropic_upstream.will(sse_answer([*events(*message_events(text_block("par"), stop=None)), gate]))
    response = own.begun()
    own.backends.sidecar.kill()
    gate.set()
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        response.read()


def test_a_sidecar_that_is_told_to_end_finishes_its_streams(own: Gateway) -> None:
    gate = Gate()
    first, *rest = events(*message_events(text_block("one", "two")))
    own.anthropic_upstream.will(sse_answer([first, *rest[:2], gate, *rest[2:]]))
    response = own.begun()
    own.backends.sidecar.signal(signal.SIGTERM)
    # It takes no new ones: what else asks is refused, and reaches no upstream untranslated.
    assert eventually(lambda: own.messages("gpt-5").status != 200)
    assert own.backends.sidecar.alive()
    gate.set()
    assert b"two" in (tail := response.read()) and b"[DONE]" in tail
    assert eventually(lambda: not own.backends.sidecar.alive(), within=10)
    assert own.backends.sidecar.stop() == 0


def test_a_sidecar_that_comes_back_is_used_again(own: Gateway) -> None:
    own.backends.sidecar.stop()
    assert own.messages("gpt-5").status in (500, 503)
    own.backends.sidecar.start()
    assert eventually(lambda: own.messages("gpt-5").status == 200, within=15)


def test_the_log_holds_no_key(own: Gateway) -> None:
    own.messages("gpt-5")
    own.messages("bad-secret")
    log = Path(own.backends.sidecar.log).read_text()
    assert not [key for key in KEYS.values() if key in log]


@pytest.mark.rows("A25")
def test_no_stream_stays_open(own: Gateway) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", own.envoy.port)) as connection:
        for _ in range(20):
            connection.request("POST", "/v1/messages", b"{}", {"content-type": "application/json"})
            connection.getresponse().read()
    assert eventually(lambda: sum(own.envoy.stats("cluster.extproc.upstream_rq_active").values()) == 0)
