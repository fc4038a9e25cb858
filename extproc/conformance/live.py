"""Any gateway that listens, with a scripted upstream of ours behind it."""

from __future__ import annotations

from .. import dialects
from ..demo.provider import Received, ScriptedAnswer, ScriptedProvider
from ..dialects.base import ClientCall, Headers, ResponseHead
from ..llm.failures import ProtocolError, Unsupported
from ..llm.losses import Action
from ..translation.translation import REPORT_HEADER
from ..wire import ask
from .judge import Reported, Script, Seen
from .sides import AskedSide

TIMEOUT = 30.0
"""Seconds for which an answer, or its next piece, is waited."""
KEY_HEADERS = {"anthropic_messages": "x-api-key", "gemini": "x-goog-api-key"}
"""How the clients of an API send their key, if not as a bearer's token."""


class ScriptedUpstream:
    """The scripted upstream: answers each request as the exchange at hand wants it, whatever the path, and keeps the
    last one. One exchange is made at a time."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._server = ScriptedProvider(self._respond, host=host, port=port, keep=1)
        self._exchange: tuple[AskedSide, Script] | None = None
        self.asked: ClientCall | None = None
        self.problem = ""

    def start(self) -> ScriptedUpstream:
        """Listen. Raises OSError when the address cannot be had."""
        self._server.start()
        return self

    def __enter__(self) -> ScriptedUpstream:
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.stop()

    @property
    def port(self) -> int:
        return self._server.port

    def expect(self, provider: AskedSide, script: Script) -> None:
        self._exchange, self.asked, self.problem = (provider, script), None, ""

    def _respond(self, received: Received) -> ScriptedAnswer:
        if self._exchange is None or received.method != "POST":
            return ScriptedAnswer([b"{}"])  # a health check
        provider, script = self._exchange
        call = ClientCall(received.method, received.path, list(received.headers), received.body)
        found = dialects.detect(received.path, received.body)
        if found != provider.dialect.name:
            self.problem = f"the upstream was asked at {received.path}, which is not {provider.dialect.name}"
            return ScriptedAnswer([b"{}"], 404)
        self.asked = call
        try:
            head, pieces = script(provider.reads(call))
        except (ProtocolError, Unsupported) as error:
            self.problem = f"the upstream cannot read what it got: {error}"
            return ScriptedAnswer([b"{}"], 400)
        stream = head.media_type != "application/json"
        return ScriptedAnswer(pieces, head.status, tuple(head.headers), stream=stream)


class Live:
    """The gateway at *url*, for clients of dialect *client*: ``{upstream}`` in it stands for the upstream's dialect.
    *key* is the credential that clients send. Without *upstream*, whoever is behind it answers as they like."""

    def __init__(
        self, url: str, client: str, *, upstream: ScriptedUpstream | None = None, key: str = "conformance"
    ) -> None:
        self._url = url
        self._upstream = upstream
        name = KEY_HEADERS.get(client)
        self._key: Headers = [(name, key)] if name else [("authorization", f"Bearer {key}")]

    def ask(self, call: ClientCall, provider: AskedSide, script: Script) -> Seen:
        if self._upstream is not None:
            self._upstream.expect(provider, script)
        head, body = self._sent(call, provider.dialect.name)
        if self._upstream is None:
            return Seen(call, frozenset(), head, body)
        if self._upstream.problem:
            raise OSError(self._upstream.problem)
        return Seen(self._upstream.asked, _reported(head), head, body)

    def _sent(self, call: ClientCall, upstream: str) -> tuple[ResponseHead, bytes]:
        url, headers = self._url.replace("{upstream}", upstream), dict([*call.headers, *self._key])
        seen = ask(url, call.path, call.body, method=call.method, headers=headers, seconds=TIMEOUT)
        return ResponseHead(seen.status, list(seen.headers.items())), seen.body


def _reported(head: ResponseHead) -> frozenset[Reported]:
    """The losses that the response names: ``path:action`` or ``path:action:count``, by commas."""
    found = set()
    for entry in head.header(REPORT_HEADER).split(","):
        path, _, rest = entry.strip().partition(":")
        action = rest.partition(":")[0]
        if action in _ACTIONS:
            found.add(Reported(path, Action(action)))
    return frozenset(found)


_ACTIONS = frozenset(action.value for action in Action)
