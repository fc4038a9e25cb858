from __future__ import annotations

import pytest

from extproc.conformance import APIS, Grade
from extproc.conformance.alone import CHECKS, rows
from extproc.conformance.features import BY_NAME, Told
from extproc.conformance.judge import Script, Seen
from extproc.conformance.offline import Offline
from extproc.conformance.sides import AskedSide
from extproc.dialects.base import ClientCall
from extproc.llm.events import BlockEnded, ResponseEnded, ResponseStarted, StopReason, TextDelta, TextStarted, Usage

COUNTS = Usage(3, 4)


def says(text: str, stop: StopReason = StopReason.END) -> Told:
    started = ResponseStarted("a", "m", COUNTS)
    return started, TextStarted(0), TextDelta(0, text), BlockEnded(0), ResponseEnded(stop, COUNTS)


class Model(Offline):
    """Behind it is a model that does as it is asked, or always says the same."""

    always: Told | None = None

    def ask(self, call: ClientCall, provider: AskedSide, script: Script) -> Seen:
        del provider, script
        mine = AskedSide("anthropic_messages")
        answer = self.always or self._answer(call.body)
        return super().ask(call, mine, lambda request: mine.answers(request, answer))

    def _answer(self, body: bytes) -> Told:
        if b"get_weather" in body:
            return BY_NAME["calls"].answer
        if b'"age"' in body.replace(b"\\", b""):
            return says('{"name": "Ada", "age": 36}')
        return says("Once upon", StopReason.MAX_TOKENS)


class Wrong(Model):
    always = says("")


@pytest.mark.parametrize("client", APIS)
def test_a_gateway_that_keeps_to_the_clients_api(client: str) -> None:
    found = list(rows(Model, [client], "claude-opus-4-8"))
    assert [name for _, name, _ in found] == [check.name for check in CHECKS]
    assert [(name, finding) for _, name, finding in found if finding.grade is not Grade.EXACT] == []


def test_a_model_that_says_nothing() -> None:
    found = {name: finding for _, name, finding in rows(Wrong, ["openai_chat"], "claude-opus-4-8")}
    assert found["text"].grade is Grade.BROKEN and found["text"].detail == "no text"
    assert "no JSON" in found["schema"].detail and found["calls"].detail == "calls of []"
    assert found["usage"].grade is Grade.EXACT and found["stop_length"].detail == "end"
