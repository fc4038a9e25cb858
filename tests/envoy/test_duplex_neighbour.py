"""Another service's ext_proc of the mode FULL_DUPLEX_STREAMED on our listener: where it stands right, no end is cut."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from extproc.demo.processes import Envoy
from tests.support import placements
from tests.support.duplex import DuplexProcessor
from tests.support.gateway import Backends, Gateway, configured

TIMES = 40


@pytest.fixture(scope="module", params=["one-stream", "listener"])
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


def test_streams_end_as_they_should_behind_it(_running: tuple[Gateway, DuplexProcessor]) -> None:
    gateway, other = _running
    before = other.seen
    for _ in range(TIMES):
        chat = gateway.chat("claude-haiku-4-5", stream=True)
        assert chat.status == 200 and chat.body.endswith(b"data: [DONE]\n\n"), chat.body[-200:]
        messages = gateway.messages("gpt-5", stream=True)
        assert messages.status == 200 and b"event: message_stop" in messages.body[-80:], messages.body[-200:]
    assert other.seen >= before + 8 * TIMES, "it saw heads and bodies of all of them"


def test_whole_answers_and_errors_come_whole(_running: tuple[Gateway, DuplexProcessor]) -> None:
    gateway, _ = _running
    assert gateway.chat("claude-haiku-4-5").json["object"] == "chat.completion"
    assert gateway.messages("gpt-5").json["type"] == "message"
    refused = gateway.chat("claude-haiku-4-5", n=3)
    assert refused.status == 400 and "error" in refused.json
