"""Another service's ext_proc of the mode FULL_DUPLEX_STREAMED on our listener: where it stands right, no end is cut.
Envoy 1.37 and 1.38 cut some all the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from extproc.demo.processes import Envoy
from tests.support import placements
from tests.support.binaries import BEARS_FULL_DUPLEX, release
from tests.support.duplex import DuplexProcessor
from tests.support.gateway import PLACEMENTS, Backends, Gateway, configured
from tests.support.upstream import chat

TIMES = 40
LONG = "A long answer. " * 20_000


@pytest.fixture(scope="module", params=PLACEMENTS)
def _running(
    request: pytest.FixtureRequest, shared: Backends, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, DuplexProcessor]]:
    folder = tmp_path_factory.mktemp("duplex")
    config = configured(shared, request.param, folder / "access.log")
    with DuplexProcessor() as other:
        placements.manager(config)["http_filters"].insert(0, other.filter())
        config["static_resources"]["clusters"].append(other.cluster())
        with Envoy(folder, config) as envoy:
            yield Gateway(request.param, envoy, shared, folder), other


@pytest.fixture
def behind(_running: tuple[Gateway, DuplexProcessor]) -> tuple[Gateway, DuplexProcessor]:
    if release() < BEARS_FULL_DUPLEX:
        pytest.skip("under load Envoy 1.37 and 1.38 end a fast stream early beside such a service, now and then")
    return _running


def test_streams_end_as_they_should_behind_it(behind: tuple[Gateway, DuplexProcessor]) -> None:
    gateway, other = behind
    before = other.seen
    for _ in range(TIMES):
        ours = gateway.chat("claude-haiku-4-5", stream=True)
        assert ours.status == 200 and ours.body.endswith(b"data: [DONE]\n\n"), ours.body[-200:]
        messages = gateway.messages("gpt-5", stream=True)
        assert messages.status == 200 and b"event: message_stop" in messages.body[-80:], messages.body[-200:]
    assert other.seen >= before + 8 * TIMES, "it saw heads and bodies of all of them"


def test_whole_answers_and_errors_come_whole(behind: tuple[Gateway, DuplexProcessor]) -> None:
    gateway, _ = behind
    assert gateway.chat("claude-haiku-4-5").json["object"] == "chat.completion"
    assert gateway.messages("gpt-5").json["type"] == "message"
    refused = gateway.chat("claude-haiku-4-5", n=3)
    assert refused.status == 400 and "error" in refused.json


def test_long_answers_come_whole(behind: tuple[Gateway, DuplexProcessor]) -> None:
    gateway, _ = behind
    gateway.backends.reset()
    for _ in range(5):
        gateway.openai_upstream.will(chat(LONG))
        reply = gateway.messages("gpt-5")
        assert not reply.broken and reply.json["content"][0]["text"] == LONG
