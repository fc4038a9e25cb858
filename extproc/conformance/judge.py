"""What became of one feature between one client and one upstream, whoever stands between them."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from ..dialects.base import ClientCall, ResponseHead
from ..frozen import Frozen
from ..llm.failures import ProtocolError, Unsupported
from ..llm.fold import Folded, folded
from ..llm.losses import HARMLESS, Action
from ..llm.request import Request
from .features import BY_NAME, Feature, Told
from .sides import AskedSide, AskingSide, broken_off


class Grade(Enum):
    """What became of a feature; the later, the worse."""

    ABSENT = "-"
    """One of the two APIs has no words for it."""
    EXACT = "exact"
    MAPPED = "mapped"
    """It came through in other words, which the report names."""
    EMULATED = "emulated"
    """Done by other means, which the report names."""
    LOST = "lost"
    """It did not come through, and the report says so."""
    REFUSED = "refused"
    """The client got an error in its own shape, before the upstream was asked."""
    SILENT = "silent"
    """It did not come through, and nothing says so."""
    BROKEN = "broken"
    """No answer of the client's API, or none at all."""

    @property
    def is_fault(self) -> bool:
        return self in (Grade.SILENT, Grade.BROKEN)


_ORDER = list(Grade)


class Judgement(Frozen):
    """A grade, and what it rests on: the losses that were reported, or what was expected and what came."""

    grade: Grade
    detail: str = ""

    def or_worse(self, other: Judgement) -> Judgement:
        return other if _ORDER.index(other.grade) > _ORDER.index(self.grade) else self


class Reported(Frozen):
    """A loss, as a gateway reports it."""

    path: str
    action: Action


class Seen(Struct, frozen=True):
    """What happened: what the upstream ``received`` (nothing, if it was not asked), the losses ``reported``, and what
    the client got."""

    received: ClientCall | None
    reported: frozenset[Reported]
    head: ResponseHead
    body: bytes


Script = Callable[[Request], tuple[ResponseHead, list[bytes]]]
"""The upstream's answer to what it was asked."""


class Gateway(Protocol):
    """What stands between the two. ``ask`` raises OSError when there was no answer."""

    def ask(self, call: ClientCall, provider: AskedSide, script: Script) -> Seen: ...


class Judge:
    """Of what stands between: *gateway*."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._usual: dict[tuple[str, str, str, bool], frozenset[Reported]] = {}

    def judge(self, client: AskingSide, provider: AskedSide, feature: Feature) -> Judgement:
        """The grade on *feature*, whole and streamed: the worse of the two. A stream alone can be cut; what a client
        sends back is the same for both."""
        found = Judgement(Grade.ABSENT)
        for stream in (True,) if feature.cut else (False,) if feature.echo else (False, True):
            found = found.or_worse(_Case(self, client, provider, feature, stream).judged())
        return found

    def usual(self, client: AskingSide, provider: AskedSide, stream: bool) -> frozenset[Reported]:
        """What is reported of the plainest request, asked once: no feature's own loss."""
        key = (client.dialect.name, client.model, provider.dialect.name, stream)
        if key not in self._usual:
            call, _ = client.asks(replace(_PLAIN.request, stream=stream))
            seen = self.gateway.ask(call, provider, lambda request: provider.answers(request, _HELLO))
            self._usual[key] = seen.reported
        return self._usual[key]


class _Absent(Exception):
    """One of the two APIs has no words for it."""


class _Case:
    def __init__(self, judge: Judge, client: AskingSide, provider: AskedSide, feature: Feature, stream: bool) -> None:
        self.judge = judge
        self.gateway = judge.gateway
        self.client = client
        self.provider = provider
        self.feature = feature
        self.request = replace(feature.request, stream=stream)

    def judged(self) -> Judgement:
        try:
            if self.feature.got is not None:
                return self._judge_answer(self.feature.got)
            assert self.feature.sent is not None
            return (self._judge_echo if self.feature.echo else self._judge_request)(self.feature.sent)
        except _Absent:
            return Judgement(Grade.ABSENT)
        except OSError as error:
            return Judgement(Grade.BROKEN, str(error) or type(error).__name__)

    def _judge_request(self, read: Callable[[Request], Any]) -> Judgement:
        call, told = self._asked(self.client, self.request)
        wanted = read(self.request)
        if read(told) != wanted:
            raise _Absent
        return self._arrived(call, told, read, wanted)

    def _judge_echo(self, read: Callable[[Request], Any]) -> Judgement:
        """What a provider gave with an answer comes back to it with the next question."""
        own = AskingSide(self.provider.dialect.name, self.client.model)
        events = self._events()
        asked, as_asked = self._asked(own, self.request)
        _, pieces = self.provider.answers(as_asked, events)
        wanted = read(self.provider.reads(own.asks_again(asked, self.request, b"".join(pieces))))
        call, told = self._asked(self.client, self.request)
        seen = self.gateway.ask(call, self.provider, self._script(events))
        if seen.received is None or seen.head.status != 200:
            return Judgement(Grade.BROKEN, f"answered with {seen.head.status}")
        again = self.client.asks_again(call, self.request, seen.body)
        return self._arrived(again, told, read, wanted, seen.reported)

    def _arrived(
        self,
        call: ClientCall,
        told: Request,
        read: Callable[[Request], Any],
        wanted: Any,
        reported: frozenset[Reported] = frozenset(),
    ) -> Judgement:
        seen = self.gateway.ask(call, self.provider, self._script(_HELLO))
        if seen.received is None:
            return self._unasked(seen, told)
        try:
            received = self.provider.reads(seen.received)
        except (ProtocolError, Unsupported) as error:
            return Judgement(Grade.BROKEN, f"the upstream cannot read what it got: {error}")
        return self._graded(wanted, read(received), seen.reported | reported)

    def _judge_answer(self, read: Callable[[Folded], Any]) -> Judgement:
        events = self._events()
        wanted = read(self._said(self.provider, events))
        if not wanted or not (self.feature.cut or wanted == read(folded(events))):
            raise _Absent
        call, told = self._asked(self.client, self.request)
        seen = self.gateway.ask(call, self.provider, self._script(events))
        if seen.received is None:
            return self._unasked(seen, told)
        got = self.client.reads(told, seen.head, seen.body)
        if got.failed is not None and not read(got):
            return Judgement(Grade.BROKEN, f"the client cannot read what it got: {got.failed.message}")
        found = self._graded(wanted, read(got), seen.reported)
        if found.grade is Grade.SILENT and read(self._said(AskedSide(self.client.dialect.name), events)) != wanted:
            raise _Absent
        return found

    def _events(self) -> Told:
        """What the upstream answers, if its API has words for it."""
        if self.feature.natively and self.provider.dialect.name not in self.feature.natively:
            raise _Absent
        return self.feature.natively.get(self.provider.dialect.name, self.feature.answer)

    def _said(self, provider: AskedSide, events: Told) -> Folded:
        """What of an answer *provider*'s own client reads."""
        own = AskingSide(provider.dialect.name, self.client.model)
        _, request = self._asked(own, self.request)
        head, pieces = self._told(provider, request, events)
        return own.reads(request, head, b"".join(pieces))

    def _told(self, provider: AskedSide, request: Request, events: Told) -> tuple[ResponseHead, list[bytes]]:
        head, pieces = provider.answers(request, events)
        return head, broken_off(pieces) if self.feature.cut else pieces

    def _asked(self, client: AskingSide, request: Request) -> tuple[ClientCall, Request]:
        try:
            return client.asks(request)
        except (Unsupported, ProtocolError):
            raise _Absent from None

    def _script(self, events: Told) -> Script:
        return lambda request: self._told(self.provider, request, events)

    def _unasked(self, seen: Seen, told: Request) -> Judgement:
        failed = self.client.reads(told, seen.head, seen.body).failed
        if failed is None or not 400 <= seen.head.status < 500:
            return Judgement(Grade.BROKEN, f"answered with {seen.head.status}, and the upstream was not asked")
        return Judgement(Grade.REFUSED, failed.message)

    def _graded(self, wanted: Any, got: Any, reported: frozenset[Reported]) -> Judgement:
        news = reported
        if self.feature is not _PLAIN:
            news = reported - self.judge.usual(self.client, self.provider, self.request.stream)
        detail = ", ".join(sorted(f"{loss.path}:{loss.action.value}" for loss in news))
        actions = {loss.action for loss in news}
        if got == wanted:
            kind = Grade.EXACT
            if actions & _BY_OTHER_MEANS:
                kind = Grade.EMULATED
            elif actions:
                kind = Grade.MAPPED
            return Judgement(kind, detail)
        if not actions:
            return Judgement(Grade.SILENT, f"expected {wanted!r}, got {got!r}")
        if actions & _BY_OTHER_MEANS:
            return Judgement(Grade.EMULATED, detail)
        return Judgement(Grade.MAPPED if actions <= HARMLESS else Grade.LOST, detail)


_PLAIN = BY_NAME["text"]
_HELLO = _PLAIN.answer
_BY_OTHER_MEANS = {Action.EMULATED, Action.SYNTHESIZED}
