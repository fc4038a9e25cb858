"""This package's own translation as the gateway: no server, no network."""

from __future__ import annotations

from collections.abc import Iterable

from ..dialects.base import ClientCall, ResponseHead
from ..llm.losses import Loss
from ..translation.calls import Answer, Refused
from ..translation.translation import Translation
from .judge import Reported, Script, Seen
from .sides import NOW, AskedSide


class Offline:
    """Translates for *client*."""

    def __init__(self, client: str) -> None:
        self.client = client

    def ask(self, call: ClientCall, provider: AskedSide, script: Script) -> Seen:
        t = Translation(self.client, provider.dialect.name, now=NOW, request_id="conformance", clock=lambda: NOW)
        try:
            made = t.request(call.body, path=call.path, headers=call.headers)
        except Refused as refused:
            return Seen(None, _reported(t.losses), ResponseHead(refused.status, refused.headers), refused.body)
        if isinstance(made, Answer):
            return Seen(None, _reported(t.losses), ResponseHead(made.status, made.headers), made.body)
        received = ClientCall(made.method, made.path, made.headers, made.body)
        head, pieces = script(provider.reads(received))
        t.response_head(head.status, head.headers)
        body = b"".join([t.response_body(piece) for piece in pieces]) + t.response_body(b"", end_of_stream=True)
        return Seen(received, _reported(t.losses), t.head, body)


def _reported(losses: Iterable[Loss]) -> frozenset[Reported]:
    return frozenset(Reported(loss.path, loss.action) for loss in losses)
