"""The bodies of one exchange, for a log: as the client saw them and as the provider saw them.

Kept is what a bound allows of each, and shown is only what was made fit to be seen: secrets that this gateway knows are
replaced, and so are the members that an operator names. That is done where a record is written, not in the traffic.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Protocol

import msgspec

from ..llm.events import ResponseEvent
from ..llm.fold import Folded
from .readable import EVENT_END, Readable, events, read

MASK = "***"
"""Stands in the place of what is not to be seen."""
MARGIN_BYTES = 8 * 1024
"""What is kept of a body beyond its bound, so that a secret that begins within it is seen whole, and replaced."""
EVENT_BYTES = 56
"""What a piece of an answer takes beside its text."""
HEARD_TIMES = 4
"""What the pieces of an answer may take, as a multiple of a body's bound: they come word by word."""
ASKS = ("messages", "input", "contents", "prompt")
"""Where the APIs have what a model is asked."""
MAX_PIECES = 4096
"""Of a streamed body, so many have a time of their own: of what comes after them the last one's is told."""
_HEADERS = frozenset(
    {"anthropic-beta", "anthropic-version", "content-type", "retry-after", "retry-after-ms", "x-should-retry",
     "request-id", "x-request-id", "x-goog-request-id", "x-amzn-requestid", "x-debug-trace-id"}
)  # fmt: skip
"""What of the headers says something to a translation, and is nobody's secret."""

PIECE_BYTES = 128
"""Of memory, that the time of a piece takes."""
_Headers = list[tuple[str, str]]
_Head = tuple[str, str, _Headers]

_QUOTE = re.compile(r'(?<!\\)(\\*)"')
_LITERAL = re.compile(r"[^\s,}\]]*")
_MARKS = re.compile(r'(?<!\\)(\\*)"|[{}\[\]]')


class Hides(Protocol):
    """Replaces what is secret in a text."""

    def text(self, text: str) -> str: ...


class Payloads:
    """Those of one exchange. ``client`` and ``upstream`` are filled as it goes; ``shown`` is all that can be had of it.

    *bound*: bytes of each body. *mask* makes, of the secrets that were told, what replaces them; *redact*: names of
    JSON members whose values must not be seen.
    """

    def __init__(self, bound: int, mask: Callable[[tuple[str, ...]], Hides], redact: tuple[str, ...] = ()) -> None:
        self._bound = bound
        self._mask = mask
        self._secrets: tuple[str, ...] = ()
        self._redact = frozenset(redact)
        self._pattern = members_named(redact) if redact else None
        self._asked = _Body(bound)
        self._sent = _Body(bound)
        self._came = _Body(bound)
        self._got = _Body(bound)
        self._encoded = self._passes = False
        self._answer: list[str] = []
        self._room = bound + MARGIN_BYTES
        self._now = 0.0
        self._request: _Head = ("", "", [])
        self._response: tuple[int, _Headers] = (0, [])
        self._route: Mapping[str, Any] = {}
        self._heads = 0
        self._heard = Folded()
        self._heard_bytes = 0

    def __repr__(self) -> str:
        return f"Payloads({self.size} bytes)"

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        bodies = self._asked.kept + self._sent.kept + self._came.kept + self._got.kept
        return bodies + self._heard_bytes + self._heads

    def hide(self, secrets: Iterable[str]) -> None:
        """Show none of *secrets*, wherever it stands."""
        self._secrets = (*self._secrets, *secrets)

    def begun(self, now: float, method: str, path: str, headers: _Headers, route: Mapping[str, Any]) -> None:
        """What else a translation of the client's request goes by: Unix seconds, a *path* without credentials, the
        headers, of which few are kept, and the *route* as it may be shown."""
        self._now = now
        self._request = (method, path, _told(headers))
        self._heads += len(path) + _size(self._request[2])
        self._route = route

    def answered(self, status: int, headers: _Headers) -> None:
        """The head of the provider's answer."""
        self._response = (status, _told(headers))
        self._heads += _size(self._response[1])

    def asked(self, body: bytes) -> None:
        """The client's request."""
        self._asked.add(body)

    def sent(self, body: bytes) -> None:
        """The provider's request."""
        self._sent.add(body)

    def encoded(self, *, passes: bool) -> None:
        """The provider's answer is compressed, and with *passes* the client's too: what such bytes say is not known."""
        self._encoded = True
        self._passes = passes

    def came(self, piece: bytes, seconds: float = 0.0) -> None:
        """A piece of the provider's answer, so many *seconds* after the exchange's start."""
        self._came.add(piece, seconds)

    def got(self, piece: bytes, seconds: float = 0.0) -> None:
        """A piece of the client's."""
        self._got.add(piece, seconds)

    def text(self, text: str) -> None:
        """A piece of the text of the answer."""
        if self._room > 0:
            self._answer.append(text[: self._room])
            self._room -= len(text)

    def heard(self, event: ResponseEvent) -> None:
        """What the answer says next, to be put together: see ``answer``."""
        # A text of one character takes many times its size.
        size = EVENT_BYTES + len(getattr(event, "text", "") or getattr(event, "fragment", ""))
        if self._heard_bytes + size <= self._bound * HEARD_TIMES:
            self._heard_bytes += size
            self._heard.add(event)
        else:
            self._heard_bytes = self._bound * HEARD_TIMES

    def asking(self) -> bytes | None:
        """The client's request, made fit to be seen, and to be read as one; ``None`` if it is longer than is kept. What
        must not be seen is empty there: in another shape its members would have other names."""
        if self._asked.size > self._bound:
            return None
        text = self._mask(self._secrets).text(bytes(self._asked.data).decode("utf-8", "replace"))
        if self._pattern is None:
            return text.encode()
        try:
            return msgspec.json.encode(self._without(msgspec.json.decode(text), _empty))
        except (msgspec.DecodeError, RecursionError):
            return redacted(text, self._pattern).encode()

    def redacts(self, names: frozenset[str]) -> bool:
        """Whether members of one of *names* must not be seen."""
        return not self._redact.isdisjoint(names)

    def answer(self) -> tuple[Folded, bool]:
        """What was heard of the answer, calls and texts whole, and whether that is not all. Not yet ``fit``."""
        return self._heard, self._heard_bytes >= self._bound * HEARD_TIMES

    def fit(self, value: Any) -> Any:
        """*value*, of JSON's kinds, fit to be seen: without secrets, and without the members that must not be."""
        return _secretless(self._without(value), self._mask(self._secrets))

    def shown(self) -> dict[str, Any]:
        """What a record may hold: ``client`` and ``upstream``, each with its ``request`` and ``response``; and by the
        names that APISIX's users know ``llm_request`` and ``llm_response_text``, where it can be told. A body that
        went on unchanged stands under ``client`` alone."""
        hides = self._mask(self._secrets)
        made: dict[str, Any] = {"client": {}, "upstream": {}}
        asked = self._shown(self._asked, hides)
        made["client"]["request"], made["client"]["response"] = asked, self._shown(self._got, hides, self._passes)
        for name, theirs, ours in (("request", self._sent, self._asked), ("response", self._came, self._got)):
            if theirs.told and not theirs.same(ours):
                encoded = self._encoded and theirs is self._came
                made["upstream"][name] = self._shown(theirs, hides, encoded)
        body = asked.get("body")
        if type(body) is dict:
            made["llm_request"] = {"messages": next((body[name] for name in ASKS if name in body), None)}
        if not self._redact and self._answer:
            # Of a text alone nobody knows which member it was.
            made["llm_response_text"] = {"content": hides.text("".join(self._answer))[: self._bound]}
        return made

    def course(self) -> dict[str, Any]:
        """What else must be known to go through the exchange again: the heads, as far as they say something to a
        translation, the route, and of each stream the milliseconds, since the exchange's start, at which each of its
        events ended."""
        hides = self._mask(self._secrets)
        method, path, headers = self._request
        status, came = self._response
        return {
            "now": self._now,
            "request": {"method": method, "path": hides.text(path), "headers": _hidden(headers, hides)},
            "response": {"status": status, "headers": _hidden(came, hides)},
            "route": dict(self._route),
            "times_ms": {
                "client": [] if self._encoded and self._passes else self._times(self._got, hides),
                "upstream": [] if self._encoded else self._times(self._came, hides),
            },
        }

    def _times(self, body: _Body, hides: Hides) -> list[int]:
        """When each event of a stream ended; none where they cannot be told apart in what is shown of it."""
        if not body.pieces:
            return []
        text, ends, _ = body.read()
        masked = self._masked(text, hides)
        if text[:1] in ("{", "[") or len(EVENT_END.findall(masked)) != len(ends):
            return []
        ends.append(body.size)
        return [body.when(end) for end in ends[: len(events(masked[: self._bound]))]]

    def _masked(self, text: str, hides: Hides) -> str:
        """*text* as it may be seen."""
        text = hides.text(text)
        return text if self._pattern is None else redacted(text, self._pattern)

    def _shown(self, body: _Body, hides: Hides, encoded: bool = False) -> dict[str, Any]:
        made: dict[str, Any] = {"bytes": body.size}
        if encoded:
            return made | {"omitted": "it is compressed"}
        text, _, framing = body.read()
        if framing:
            made["framing"] = framing
        text = hides.text(text)
        if body.size <= self._bound and text[:1] in ("{", "["):
            try:
                return made | {"body": self._without(msgspec.json.decode(text))}
            except (msgspec.DecodeError, RecursionError):
                pass
        if self._pattern is not None:
            text = redacted(text, self._pattern)
        if body.size > self._bound:
            made["cut"] = True
        # A character that JSON cannot hold is none that a log could show.
        return made | {"text": text[: self._bound].encode("utf-8", "replace").decode()}

    def _without(self, value: Any, instead: Callable[[Any], Any] | None = None) -> Any:
        """*value* without the members that must not be seen: ``***`` for each, or what *instead* makes of it."""
        if self._pattern is None:
            return value
        if type(value) is dict:
            masked = instead or _masked
            return {k: masked(v) if k in self._redact else self._without(v, instead) for k, v in value.items()}
        if type(value) is list:
            return [self._without(each, instead) for each in value]
        # JSON within a text: a tool's input.
        return redacted(value, self._pattern) if type(value) is str else value


class _Body:
    """The beginning of a body."""

    __slots__ = ("data", "most", "pieces", "size", "told")

    def __init__(self, bound: int) -> None:
        self.data = bytearray()
        self.size = 0
        self.told = False
        self.most = bound + MARGIN_BYTES
        self.pieces: list[tuple[int, float]] = []
        """Of what came in several pieces, where each ended and when it came."""

    @property
    def kept(self) -> int:
        return len(self.data) + PIECE_BYTES * len(self.pieces)

    def add(self, piece: bytes, seconds: float = 0.0) -> None:
        self.told = True
        self.size += len(piece)
        if len(self.data) < self.most:
            self.data += piece[: self.most - len(self.data)]
            if piece and seconds and len(self.pieces) < MAX_PIECES:
                self.pieces.append((self.size, seconds))

    def read(self) -> Readable:
        """As people can read it."""
        return read(bytes(self.data), streamed=len(self.pieces) > 1)

    def when(self, size: int) -> int:
        """The milliseconds at which so many bytes were there."""
        at = bisect_left(self.pieces, (size, 0.0))
        return round(self.pieces[min(at, len(self.pieces) - 1)][1] * 1000)

    def same(self, other: _Body) -> bool:
        return self.size == other.size and self.data == other.data


def _told(headers: _Headers) -> _Headers:
    return [pair for pair in headers if pair[0] in _HEADERS or "ratelimit" in pair[0]]


def _size(headers: _Headers) -> int:
    return sum([len(name) + len(value) for name, value in headers])


def _masked(value: Any) -> Any:
    return MASK


def _empty(value: Any) -> Any:
    """What stands in the place of *value* where that is read on."""
    return {} if type(value) is dict else [] if type(value) is list else MASK


def _secretless(value: Any, hides: Hides) -> Any:
    """*value*, of JSON's kinds, without what *hides* knows."""
    if type(value) is dict:
        return {key: _secretless(each, hides) for key, each in value.items()}
    if type(value) is list:
        return [_secretless(each, hides) for each in value]
    return hides.text(value) if type(value) is str else value


def _hidden(headers: _Headers, hides: Hides) -> list[list[str]]:
    return [[name, hides.text(value)] for name, value in headers]


@lru_cache(maxsize=256)
def members_named(names: tuple[str, ...]) -> re.Pattern[str]:
    """What finds members with one of *names*, whose quotes may be escaped: for ``redacted``."""
    spelled = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    return re.compile(rf'(?<!\\)(\\*)"(?:{spelled})\1"\s*:\s*')


def redacted(text: str, members: re.Pattern[str]) -> str:
    """*text*, in which JSON stands, whole or cut off, once or many times, or in texts of JSON, with ``***`` for the
    value of each of the *members*. What else stands there, such as the bytes of a framing, does not mislead it. Linear
    in *text*."""
    out: list[str] = []
    at = 0
    while (found := members.search(text, at)) is not None:
        quote = f'{found[1]}"'
        out += (text[at : found.end()], quote, MASK, quote)
        at = _value_end(text, found.end(), len(found[1]))
    out.append(text[at:])
    return "".join(out)


def _value_end(text: str, at: int, escapes: int) -> int:
    """Where the JSON value ends that begins at *at*, within a text in which a quote bears so many *escapes*; the end of
    *text* if that comes before."""
    if text[at : at + 1] not in ("{", "["):
        opening = _QUOTE.match(text, at)
        if opening is None:
            literal = _LITERAL.match(text, at)
            return literal.end() if literal is not None else at
        return _string_end(text, opening.end(), escapes)
    depth = 0
    while (mark := _MARKS.search(text, at)) is not None:
        at = mark.end()
        if mark[0] in ("{", "["):
            depth += 1
        elif mark[0] in ("}", "]"):
            depth -= 1
            if not depth:
                return at
        else:
            at = _string_end(text, at, escapes)
    return len(text)


def _string_end(text: str, at: int, escapes: int) -> int:
    """Where the string ends whose first quote is before *at*: at a quote that its own text does not escape, or at one
    that ends the text around it."""
    for quote in _QUOTE.finditer(text, at):
        found = len(quote[1])
        if found < escapes or (found - escapes) % (2 * (escapes + 1)) == 0:
            return quote.end()
    return len(text)
