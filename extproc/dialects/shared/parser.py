"""What parsers of responses share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec
from msgspec.structs import replace

from ...framing import sse
from ...llm import marker
from ...llm.events import (
    BlockEnded,
    KeepAlive,
    ResponseEnded,
    ResponseEvent,
    ResponseFailed,
    StopReason,
    TextDelta,
    TextStarted,
    ThinkingDelta,
    ThinkingStarted,
    ToolCallStarted,
    ToolInputDelta,
)
from ...llm.failures import ErrorKind, ProtocolError
from ...llm.grammar import Grammar, State
from ...llm.jsonkeys import KeyRenamer
from ...llm.kept import Kept
from ...llm.losses import Action, LossReport
from ...llm.weight import is_heavier
from ...settings import Limits
from ..base import ResponseHead, UpstreamCall
from .errors import read_error, says_error
from .fences import Fence
from .fragments import may_hold_text
from .reading import Halves, decode, decode_cut, may_be_cut
from .stops import read_stop
from .toolinput import ToolInput

TOO_MANY: Final = "holds more values than can be handled at once"

_decode: Final = msgspec.json.Decoder().decode
_BOM: Final = b"\xef\xbb\xbf"
SSE: Final = "text/event-stream"
_FIELDS: Final[tuple[bytes, ...]] = (b"data:", b"event:", b"id:", b"retry:", b"error:", b":")
"""How the lines of a stream of events begin."""
_FRAMED: Final = re.compile(rb"(?:data:[ \t]*)+")
_PINGS: Final = frozenset({b"ping", b"pong", b"keepalive", b"keep-alive", b"heartbeat", b"ok"})
"""What servers write as an event's whole data to say that they are still there."""
_CUTTABLE: Final = frozenset({TextDelta, ThinkingDelta, ToolInputDelta})
_SAYS: Final = frozenset({
    TextStarted, TextDelta, ThinkingStarted, ThinkingDelta, ToolCallStarted, ToolInputDelta,
})  # fmt: skip
_LOOKS_WHOLE: Final = frozenset({StopReason.TOOL_CALL, StopReason.END, StopReason.STOP_SEQUENCE, StopReason.OTHER})


class ParserBase:
    """What every parser shares: streamed, whole or error; framing; the grammar; undoing; ending exactly once.

    A subclass says what one message of its stream means (``on_message``), what a whole body means (``on_whole``), and
    which kinds its error types stand for (``error_kinds``).
    """

    stream_types: ClassVar[tuple[str, ...]] = (SSE,)
    error_kinds: ClassVar[dict[str, ErrorKind]] = {}
    event_names: ClassVar[tuple[bytes, ...]] = ()
    """How the names begin of events that carry content; empty where names mean nothing."""

    def __init__(self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport) -> None:
        self.call = call
        self.head = head
        self.losses = losses
        self.grammar = Grammar(limits.max_open_blocks)
        self.kept = Kept(limits.max_kept_bytes)
        self._limits = limits
        self.inputs: dict[int, ToolInput] = {}
        """Of each open call of a function, what has come of its input."""
        self._ended_well = False
        self._half_call = False  # a call was told whose input never closed
        self._unheard = False  # nothing was read from a piece that looks as if it says something
        self._halves: dict[int, Halves] = {}  # block -> a text in which characters were cut in two
        self._cut = False  # whether there may be any
        self._fences: dict[int, Fence] = {}  # block -> a text that may stand in a fence
        self._fenced = call.undo.fences
        self._body = bytearray()
        self._sniffing = True
        self._custom: dict[int, list[str]] = {}  # block -> input of a free-form tool, so far wrapped in JSON
        self._renamers: dict[int, KeyRenamer] = {}
        self._told: dict[tuple[str, str], ToolInput] = {}  # id and name of each call -> its input
        self._calling: dict[int, tuple[str, str]] = {}  # block -> id and name of an open call
        self._again: set[int] = set()  # blocks of calls that may be told for the second time
        self._repeated: set[int] = set()  # and of those that are
        self._waiting: list[ResponseEvent] = []  # behind them
        self._passed = False  # text that nobody keeps came of the last item
        self.streamed = head.status < 400 and head.media_type in self.stream_types
        self._framing = self.make_framing(limits)

    # ---- what a subclass says

    def make_framing(self, limits: Limits) -> Any:
        """A decoder with ``feed`` and ``end`` that cuts the stream into items for ``on_item``."""
        return sse.SseDecoder(limits.max_event_bytes)

    def on_item(self, item: Any, *, last: bool) -> Iterable[ResponseEvent]:
        """One item of the framing; *last* when the stream's end left it unfinished."""
        if item is sse.COMMENT:
            return (KeepAlive(),)
        if item.event == b"error":
            return (self.on_error_event(item.data),)
        data: bytes = item.data
        if not data.startswith(b"{"):
            if (framed := _FRAMED.match(data)) is not None:
                # Framed once more, what was framed already.
                return self.on_item(sse.ServerSentEvent(item.event, data[framed.end() :]), last=last)
            if data[:8].strip(b'" ')[:6].upper() == b"[DONE]":
                return self.on_done()
            if not data.strip():
                return ()
        message = self.decode_message(data, item.event, last=last)
        if message is None:
            return ()
        return self.on_message(named(message, item.event) if item.event and self.event_names else message)

    def bytes_of(self, item: Any) -> bytes:
        """An item of the framing, as it came."""
        data: bytes = item.data
        return data

    def on_error_event(self, data: bytes) -> ResponseFailed:
        """An event that is named an error is one, whatever its data is."""
        try:
            error = decode(data, "event")
        except ProtocolError:
            error = {"message": data.decode("utf-8", "replace").strip()}
        return self.failure_of(error)

    def on_message(self, message: Any) -> Iterator[ResponseEvent]:
        """One message of the stream, decoded."""
        raise NotImplementedError

    def on_done(self) -> Iterator[ResponseEvent]:
        """The stream's explicit end mark, where the dialect has one."""
        return self.on_close()

    def on_close(self) -> Iterator[ResponseEvent]:
        """The upstream closed cleanly, and the response had not ended."""
        yield self.failure("upstream stream ended prematurely", code="stream_truncated")

    def decode_whole(self, body: bytes) -> Any:
        """A whole body as ``on_whole`` wants it. Raises ProtocolError."""
        return decode(body, "body")

    def on_whole(self, body: Any) -> Iterator[ResponseEvent]:
        """A whole body, decoded."""
        raise NotImplementedError

    # ---- what is shared

    def feed(self, data: bytes) -> list[ResponseEvent]:
        if not self.streamed:
            return self._collect(data)
        if self._sniffing:
            data = self._sniffed(data)
            if not self.streamed:
                return self._collect(data)  # type: ignore[unreachable]  # enough came to know
            if self._sniffing:
                return []
        try:
            items = self._framing.feed(data)
        except sse.EventTooLarge as error:
            return self.of_items(error.before) + self._checked(self._raise(error))
        return self.of_items(items)

    def end(self) -> list[ResponseEvent]:
        if self.grammar.state is State.ENDED:
            return []
        if self._sniffing and self.streamed:
            self._sniffing = False
            return self.feed(bytes(self._body)) + self.end()
        if not self.streamed:
            return self._ended_whole(bytes(self._body).removeprefix(_BOM))
        events: list[ResponseEvent] = []
        # What nobody adds to any more is not kept.
        if self._heard(self._framing.end(), events, last=True, kept=False):
            self._tell(self.on_close(), events, [])
        return events

    def _sniffed(self, data: bytes) -> bytes:
        """The first bytes of what says that it is a stream; what begins as JSON is a whole body all the same. While
        nothing but blanks has come, the question stays open."""
        self._body += data
        start = bytes(self._body[:64]).removeprefix(_BOM).lstrip()
        if (not start and len(self._body) < 64) or (len(start) < len(_BOM) and _BOM.startswith(start)):
            return b""
        self._sniffing = False
        if start[:1] in (b"{", b"["):
            self.streamed = False
            return b""
        data = bytes(self._body)
        self._body.clear()
        return data

    def _ended_whole(self, body: bytes) -> list[ResponseEvent]:
        if self.head.status < 400 and _is_in_lines(body):
            body = b"\n\n".join([b"data: " + line for line in body.splitlines()])
        if not (body.lstrip()[:6].startswith(_FIELDS) and SSE in self.stream_types):
            return self._checked(self._on_body(body))
        if self.head.status >= 400:
            return self._checked(self._on_error_stream(body))
        # A stream whose server forgot to say so.
        self.streamed, self._sniffing = True, False
        self._framing = sse.SseDecoder(self._limits.max_event_bytes)
        return self.feed(body) + self.end()

    def _on_error_stream(self, body: bytes) -> Iterable[ResponseEvent]:
        """An error that came as an event."""
        decoder = sse.SseDecoder(self._limits.max_response_bytes)
        items = [
            each for each in [*decoder.feed(body), *decoder.end()] if each is not sse.COMMENT and each.data.strip()
        ]
        named = [each for each in items if each.event == b"error" or b'"error"' in each.data]
        if not items:
            return (_not_json(body, self.head.status, self.head.media_type),)
        return self._on_body((named or items)[0].data.strip())

    def is_heavy(self, data: bytes) -> bool:
        """Whether *data* would take more memory than it may once it is decoded."""
        return is_heavier(data, self._limits.max_decoded_bytes)

    def decode_message(self, data: bytes, name: bytes = b"", *, last: bool) -> Any:
        """A stream's message; ``None`` for an unfinished last one, and for what carries no content: a bare ping, an
        event of an unknown name that is no JSON. Any other that is no JSON raises: what it held would be missing in
        the middle of a text, or of a call's input, and the end would look good."""
        if self.is_heavy(data):
            raise ProtocolError("event", TOO_MANY)
        try:
            return _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        try:
            message = decode_cut(data, "event")
        except ProtocolError:
            if last or _is_empty(data, name, self.event_names):
                return None
            raise
        self._cut = True
        return message

    def failure(
        self,
        message: str,
        kind: ErrorKind = ErrorKind.API,
        *,
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
    ) -> ResponseFailed:
        return ResponseFailed(kind, message, status, code, param)

    def read_stop(self, word: str, known: Mapping[str, StopReason], at: str) -> StopReason | ResponseFailed:
        """What the finish *word* means: by the API's own table, else as any vendor may mean it. What nobody knows is a
        loss at the path *at*; what says that the answer broke off is a failure."""
        meaning = known.get(word) or read_stop(word)
        if isinstance(meaning, ErrorKind):
            return self.failure(f"the upstream broke off: {word}", meaning, status=None if self.streamed else 502)
        if meaning is None:
            self.losses.add(at, Action.DOWNGRADED, f"{word!r} is not known")
            return StopReason.OTHER
        return meaning

    def failure_of(self, error: Any, status: int | None = None) -> ResponseFailed:
        """What an error object means, however the server spells it. *status* is ``None`` within a stream."""
        return read_error(error, status, self.error_kinds)

    def close_blocks(self) -> Iterator[ResponseEvent]:
        """End every open block, in the order of their starts."""
        for block in list(self.grammar.open):
            yield BlockEnded(block)

    def _collect(self, data: bytes) -> list[ResponseEvent]:
        self._body += data
        if len(self._body) <= self._limits.max_response_bytes or self.grammar.state is State.ENDED:
            return []
        self._body.clear()
        message = f"the upstream's answer is larger than {self._limits.max_response_bytes} bytes"
        return self._checked([self.failure(message, status=502, code="upstream_error")])

    def _on_body(self, body: bytes) -> Iterable[ResponseEvent]:
        if self.is_heavy(body):
            return (self.failure(f"the upstream's answer {TOO_MANY}", status=502, code="upstream_error"),)
        status = self.head.status
        try:
            decoded = self.decode_whole(body)
        except ProtocolError:
            return (_not_json(body, status, self.head.media_type),)
        if type(decoded) is list and len(decoded) == 1:
            decoded = decoded[0]
        if status >= 400 or (type(decoded) is dict and self.is_error(decoded)):
            return (self.failure_of(decoded, status),)
        if type(decoded) is not dict:
            return (self.failure("the upstream's answer is not a JSON object", status=502, code="upstream_error"),)
        return self.on_whole(decoded)

    def is_error(self, body: dict[str, Any]) -> bool:
        """Whether a body that came with a success status is an error all the same."""
        return says_error(body)

    def _raise(self, error: Exception) -> Iterator[ResponseEvent]:
        raise ProtocolError("", str(error))
        yield  # type: ignore[unreachable]  # pragma: no cover - a generator: _checked sees the error in its turn

    def of_items(self, items: Sequence[Any]) -> list[ResponseEvent]:
        """What *items* of the framing say."""
        events: list[ResponseEvent] = []
        self._heard(items, events, last=False, kept=True)
        return events

    def _heard(self, items: Sequence[Any], events: list[ResponseEvent], *, last: bool, kept: bool) -> bool:
        """Put what *items* say behind the *events*. ``False`` if there was more behind the end."""
        for item in items:
            told: list[ResponseEvent] = []
            try:
                produced = self.on_item(item, last=last)
            except ProtocolError as error:
                produced = self._raise(error)
            if not self._tell(produced, events, told):
                return False
            if kept and self.grammar.state is not State.ENDED:
                if told or not self._passed:
                    piece = self.bytes_of(item)
                    self.kept.add_events(told, piece)
                    self._unheard = self._unheard or (not told and may_hold_text(piece))
                if self.kept.full:
                    events.append(self.grammar.check(self.kept.failure()))
        return True

    def _checked(self, produced: Iterable[ResponseEvent]) -> list[ResponseEvent]:
        events: list[ResponseEvent] = []
        self._tell(produced, events, [])
        return events

    def _tell(self, produced: Iterable[ResponseEvent], events: list[ResponseEvent], told: list[ResponseEvent]) -> bool:
        """Put what is *produced* behind the *events*, each allowed by the grammar; what breaks it ends the response as
        failed. *told*: what may have to be kept of it. ``False`` if there was more behind the end."""
        self._passed = False
        try:
            for event in produced:
                if self.grammar.state is State.ENDED:
                    if type(event) in _SAYS and self._ended_well:
                        self.losses.dropped("response", "something came behind the end")
                    return False
                if type(event) is TextDelta and not self._fenced and not self._cut and not self._again:
                    # By far the most events: nothing in them is ever undone. Beside an open call they may wait.
                    events.append(self.grammar.check(event))
                    if self.kept.texts or len(self.grammar.open) > 1:
                        told.append(event)
                    else:
                        self._passed = True
                    continue
                told.append(event)
                for whole in self._whole_characters(event) if self._cut else (event,):
                    for undone in self._undone(whole):
                        events += self._once(self.grammar.check(undone))
        except ProtocolError as error:
            if self.grammar.state is not State.ENDED:
                message = f"the upstream broke its protocol: {error}"
                events.append(self.grammar.check(self.failure(message, status=502, code="upstream_error")))
        return True

    def _undone(self, event: ResponseEvent) -> Iterable[ResponseEvent]:
        """What the server did to an input, and what the request's emitter did to the tools, undone: one input is told
        once; names as the client knows them; free-form tools out of the function that carried them."""
        kind = type(event)
        if self._fenced and kind in (TextStarted, TextDelta):
            return self._without_fence(event)
        if kind is ToolInputDelta:
            return self._input(event)  # type: ignore[arg-type]
        if kind is BlockEnded:
            return self._block_ended(event.block)  # type: ignore[union-attr]
        if kind is ToolCallStarted:
            started = self._call_started(event)  # type: ignore[arg-type]
            return [*self._settled(event.block), started]  # type: ignore[union-attr]
        if kind is ResponseEnded and self.grammar.next_block == 0 and (self._unheard or may_hold_text(self._body)):
            self.losses.dropped("response", "it says something, and nothing of it could be read")
        if kind is ResponseEnded and self._half_call and event.stop in _LOOKS_WHOLE:  # type: ignore[union-attr]
            message = "the input of a call is not whole, and nothing says that it was cut off"
            return (self.failure(message, status=502, code="upstream_error"),)
        self._ended_well = self._ended_well or kind is ResponseEnded
        return (event,)

    def _without_fence(self, event: Any) -> Iterable[ResponseEvent]:
        if type(event) is TextStarted:
            if not event.refusal:
                self._fences[event.block] = Fence()
            return (event,)
        fence = self._fences.get(event.block)
        text = event.text if fence is None else fence.feed(event.text)
        return (TextDelta(event.block, text),) if text else ()

    def _once(self, event: ResponseEvent) -> list[ResponseEvent]:
        """What is told of *event*, now or of those before it. From a call on that has id and name of one before it, all
        waits until its input is whole: the same again is told as a block in which nothing is said."""
        kind = type(event)
        if not self._again:
            return [event]
        self._waiting.append(event)
        if kind is BlockEnded:
            self._again.discard(event.block)  # type: ignore[union-attr]
        if self._again and kind is not ResponseFailed and kind is not ResponseEnded:
            return []
        told, self._waiting = self._waiting, []
        self._again.clear()
        return [each for one in told if (each := self._unless_repeated(one)) is not None] if self._repeated else told

    def _unless_repeated(self, event: Any) -> ResponseEvent | None:
        kind = type(event)
        if getattr(event, "block", None) not in self._repeated or kind is BlockEnded:
            told: ResponseEvent = event
            return told
        return ThinkingStarted(event.block) if kind is ToolCallStarted else None

    def _settled(self, new: int) -> list[ResponseEvent]:
        """What calls before the *new* one held back: it goes on as soon as they are whole."""
        told: list[ResponseEvent] = []
        for block, given in self.inputs.items():
            if given.says_nothing and block != new:
                told += self._told_of(block, given.settle())
        return told

    def _call_started(self, event: ToolCallStarted) -> ToolCallStarted:
        undo = self.call.undo
        called = event.name.strip()
        if not called:
            raise ProtocolError("tool call", "has no name")
        if event.kind == "function":
            self.inputs[event.block] = ToolInput()
        if marker.IN_ID in event.id or marker.FITTED in event.id:
            # Another gateway of this kind made it so.
            id_, signature = marker.unsealed_id(event.id)
            event = replace(event, id=id_, signature=event.signature or signature)
        name = undo.names.get(called, called)
        if event.id and event.kind == "function":
            key = self._calling[event.block] = event.id, name
            given = self.inputs[event.block]
            if self._told.setdefault(key, given) is not given:
                self._again.add(event.block)
        if name in undo.keys:
            self._renamers[event.block] = KeyRenamer(undo.keys[name])
        if name in undo.custom and event.kind == "function":
            self._custom[event.block] = []
            return replace(event, name=name, kind="custom")
        return event if name == event.name else replace(event, name=name)

    def _input(self, event: ToolInputDelta) -> Iterable[ResponseEvent]:
        given = self.inputs.get(event.block)
        fragment = event.fragment if given is None else given.feed(event.fragment)
        if fragment is event.fragment and not (event.block in self._custom or event.block in self._renamers):
            return (event,) if fragment else ()
        return self._told_of(event.block, fragment)

    def _told_of(self, block: int, fragment: str) -> Iterable[ResponseEvent]:
        if block in self._custom:
            self._custom[block].append(fragment)
            return ()
        if block in self._renamers:
            fragment = self._renamers[block].feed(fragment)
        return (ToolInputDelta(block, fragment),) if fragment else ()

    def _block_ended(self, block: int) -> Iterable[ResponseEvent]:
        fence = self._fences.pop(block, None)
        if fence is not None and (held := fence.end()):
            return (TextDelta(block, held), BlockEnded(block))
        given = self.inputs.pop(block, None)
        rest = "" if given is None else given.end()
        if given is not None and given.overfull:
            self.losses.dropped("response.tool_calls", "behind an input that was whole")
        call = self._calling.pop(block, None)
        if given is not None and call is not None:
            before = self._told[call]
            if before is not given and before.is_told_by(given.text):
                self._repeated.add(block)
                self.losses.dropped("response.tool_calls", "the same call again")
        self._half_call = self._half_call or (self.streamed and given is not None and given.half)
        if (renamer := self._renamers.pop(block, None)) is not None:
            rest = renamer.feed(rest) + renamer.end()
        if block in self._custom:
            rest = _unwrapped("".join(self._custom.pop(block)) + rest)
        return (ToolInputDelta(block, rest), BlockEnded(block)) if rest else (BlockEnded(block),)

    def _whole_characters(self, event: Any) -> list[ResponseEvent]:
        """*event*, with the characters joined that were cut between two pieces of a text."""
        kind = type(event)
        if kind is BlockEnded:
            halves = self._halves.pop(event.block, None)
            rest = halves.end() if halves is not None else ""
            return [_DELTA_OF[self.grammar.open[event.block]](event.block, rest), event] if rest else [event]
        if kind not in _CUTTABLE:
            return [event]
        text = event.fragment if kind is ToolInputDelta else event.text
        halves = self._halves.get(event.block)
        if halves is None:
            if not may_be_cut(text):
                return [event]
            halves = self._halves[event.block] = Halves()
        text = halves.feed(text)
        return [kind(event.block, text)] if text else []


_DELTA_OF: Final[dict[type, Any]] = {
    TextStarted: TextDelta,
    ThinkingStarted: ThinkingDelta,
    ToolCallStarted: ToolInputDelta,
}


def named(message: Any, event: bytes) -> Any:
    """*message* of an *event*, by whose name it has a type where it says none."""
    if type(message) is dict and "type" not in message:
        return {"type": event.decode("utf-8", "replace"), **message}
    return message


def _is_empty(data: bytes, name: bytes, known: tuple[bytes, ...]) -> bool:
    """Whether an event that is no JSON can carry no content. Where an API names its events, as its SDKs do: by the
    name; else by the data, which is no beginning of an object."""
    text = data.strip()
    if text.lower() in _PINGS or name.lower() in _PINGS:
        return True
    if name in (b"", b"message"):
        return False
    return not name.startswith(known) if known else not text.startswith((b"{", b"["))


def _is_in_lines(body: bytes) -> bool:
    """Whether *body* is a stream whose messages stand in a line each, with nothing around them."""
    if b"\n" not in body or not body.startswith(b"{") or b"\n" not in body.strip():
        return False
    if not body[: body.index(b"\n")].rstrip().endswith(b"}"):
        return False  # one object in many lines, as OpenAI writes it
    lines = [line for line in body.splitlines() if line.strip()]
    return all(line.startswith(b"{") and line.rstrip().endswith(b"}") for line in lines)


def _unwrapped(wrapped: str) -> str:
    """The text inside ``{"input": text}``; anything else as it came."""
    try:
        value = _decode(wrapped)
    except (msgspec.DecodeError, RecursionError):
        return wrapped
    text = value.get("input") if type(value) is dict else None
    return text if type(text) is str else wrapped


def _not_json(body: bytes, status: int, media_type: str) -> ResponseFailed:
    """An answer that is no JSON: an HTML page of a proxy, plain text, or nothing at all."""
    message = f"upstream returned HTTP {status} ({media_type or 'no content type'})"
    text = body[:2048].decode("utf-8", "replace").strip()[:512]
    if text and media_type == "text/plain":
        message += f": {text}"
    return read_error({"message": message}, status, {}, code="upstream_error")
