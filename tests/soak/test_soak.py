"""The soak, for a moment; ``make soak`` runs it for half an hour."""

from __future__ import annotations

import pytest

from .soak import Soak
from .traffic import MODELS, PLANS, Exchange, Got, Violation, judge

PLAN = {plan.name: plan for plan in PLANS}


@pytest.mark.envoy
@pytest.mark.parametrize("transport", ["h2", "grpcio"])
def test_a_short_soak(transport: str) -> None:
    soak = Soak(transport, 10.0, rate=15.0)
    soak.run()
    assert not soak.violations
    for word in ("right", "hung up", "broken", "refused"):
        assert soak.outcomes[word], soak.summary()
    assert len(soak.quiet) >= 2


def _stream(exchange: Exchange, text: str, end: bytes = b'{"choices":[{"delta":{},"finish_reason":"stop"}]}') -> bytes:
    first = b'{"choices":[{"delta":{"content":"%b"},"finish_reason":null}]}' % text.encode()
    return b"data: " + first + b"\n\ndata: " + end + b"\n\ndata: [DONE]\n\n"


@pytest.mark.parametrize("api", sorted(MODELS))
def test_the_judge_sees_what_is_wrong(api: str) -> None:
    whole = Exchange(7, PLAN["whole"], api)
    with pytest.raises(Violation, match="failed with 500"):
        judge(whole, Got(500, b"", True), excused=False)
    assert judge(whole, Got(500, b"", True), excused=True) == "excused"
    with pytest.raises(Violation, match="failed with 429"):
        judge(Exchange(7, PLAN["refused"], api), Got(429, b"another error", True), excused=False)


def test_the_judge_reads_streams() -> None:
    stream, cut = (Exchange(7, PLAN[name], "chat") for name in ("stream", "cut"))
    assert judge(stream, Got(200, _stream(stream, stream.text), True), excused=False) == "right"
    assert judge(cut, Got(200, _stream(cut, cut.text[:9], b"{}"), True), excused=False) == "broken"
    with pytest.raises(Violation, match="is wrong"):
        judge(stream, Got(200, _stream(stream, stream.text[:-1]), True), excused=False)
    with pytest.raises(Violation, match="looks complete"):
        judge(cut, Got(200, _stream(cut, cut.text), True), excused=False)
    with pytest.raises(Violation, match="failed with 200"):
        judge(stream, Got(200, _stream(stream, stream.text), False), excused=False)
