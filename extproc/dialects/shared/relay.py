"""A request that goes on in the dialect it came in, after somebody has changed it in the vocabulary.

The vocabulary has no word for much that an API can say, and none is needed: what was not changed stays as it was sent.
A change is found by comparing the request before and after, and is made at the place in the client's own body that
``at`` names. A place is only written where the body says there what the request before said, and the outcome is read
again: no change is lost, and none lands in another place. What has no place yet the dialect's own emitter writes; where
even that does not give what was wanted, the whole request is written anew, and that is reported.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from ...capabilities import Capabilities
from ...frozen import same
from ...llm.embeddings import EmbedRequest
from ...llm.failures import ProtocolError, Unsupported
from ...llm.losses import LossReport
from ...llm.request import Message, Request, Sampling, Text, ToolChoice
from ..base import Asked, ClientCall, Dialect, Headers, ModelInPath, Upstream, UpstreamCall, encode
from .reading import decode
from .splice import ABSENT, Edits, Path, RawJson, path_of

_WORDS = ("model", "stream", "user_id", "session_key")
_SETTINGS: Final[dict[str, tuple[str, ...]]] = {
    "tool_choice": ("tool_choice", "parallel"),
    "output": ("output",),
    "reasoning": ("reasoning", "effort"),
    "service_tier": ("service_tier",),
    "cache": ("cache",),
    "user_id": ("user_id",),
}
"""Parts of a request, and the words by which ``Request.path_of`` knows their places."""
_SAID: Final[dict[str, tuple[str, ...]]] = {
    "content": ("content", "text", "output"),
    "text": ("text", "content", "refusal", "thinking", "summary"),
    "arguments": ("arguments", "input"),
    "input": ("input", "args"),
    "schema": ("parameters", "input_schema", "schema"),
}
"""Under which names APIs say what the vocabulary calls so."""
_PLACE: Final = frozenset({"at", "index"})
"""Members that say where something stood, and nothing of what it is."""
_UNSAID: Final = _PLACE | {"dialect", "native", "extra"}
"""And what nobody changes in the vocabulary: it stays with what was not written again."""
_ANYTHING: Final = Capabilities(web_search=True, top_k=True, thinking="adaptive", budget_too=True)
"""Whom a request goes to does not matter to what stays in its own dialect."""
_SAYABLE: Final = frozenset({"model", "system", "messages", "tools"})
"""Parts of a request that every API can say."""
MAX_ALONE: Final = 64
"""Messages, blocks and tools that are written one by one; of more the whole request is written anew."""
_DEPTH: Final = 3
"""How many objects, one within the other, are searched for a value."""

Write = Callable[[Any], list[bytes]]
_FIRST: Final = Message("user", "x")


class _NoPlace(Exception):
    """A change that cannot be made in single places."""


def relayed(dialect: Dialect, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall | None:
    """*request* for an *upstream* of the dialect that has parsed it. ``None`` if it was another that did, or if the
    API would refuse what the client sent as it stands. Raises Unsupported."""
    if request.source is None or request.dialect != dialect.name:
        return None
    call: ClientCall = request.source.call
    signer = dialect.signer(upstream.provider, upstream.model or request.model)
    if dialect.mend(call.body, LossReport(), signer) is not call.body:
        return None
    before = dialect.parse_request(call, LossReport())
    body = call.body if same(before, request) else edited(dialect, call, before, request, losses)
    headers: Headers = [("content-type", "application/json")]
    headers += [pair for pair in call.headers if pair[0] in dialect.headers]
    method, path = dialect.address(upstream, Asked(request.model, request.stream))
    return UpstreamCall(method, path, headers, decode(body, ""), request)


def edited(dialect: Dialect, call: ClientCall, before: Request, after: Request, losses: LossReport) -> bytes:
    """The body of *call*, which *dialect* has parsed to *before*, such that it is parsed to *after*. Every message,
    block, tool and member that is the same in both keeps its exact bytes. Raises Unsupported for what this API cannot
    say."""
    try:
        return _edited(dialect, call, before, after, losses)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Somewhere on the way is no Unicode or no number: read past that, and so written.
        return _edited(dialect, _readable(call), before, after, losses)


def _readable(call: ClientCall) -> ClientCall:
    """*call* as it was understood, such that everybody understands it so."""
    return ClientCall(call.method, call.path, call.headers, encode(decode(call.body, "")))


def _edited(dialect: Dialect, call: ClientCall, before: Request, after: Request, losses: LossReport) -> bytes:
    editor = _Editor(dialect, call, before, after)
    try:
        body = editor.edited()
        if editor.means(body):
            editor.report(losses)
            return body
    except (_NoPlace, ProtocolError, Unsupported):
        pass
    losses.rewritten("messages", "written anew: the change has no single place in them")
    return editor.anew(losses)


def edited_inputs(call: ClientCall, before: EmbedRequest, after: EmbedRequest) -> bytes:
    """The body of *call*, a request for vectors that was read to *before*, with the texts of *after*."""
    edits = Edits()
    for old, new in zip(before.inputs, after.inputs, strict=True):
        if old.text != new.text:
            edits.put(path_of(old.at), new.text)
    try:
        return edits.applied(call.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return edits.applied(_readable(call).body)


class _Editor:
    def __init__(self, dialect: Dialect, call: ClientCall, before: Request, after: Request) -> None:
        self._dialect = dialect
        self._call = call
        self._before = before
        self._after = after
        self._document = RawJson(call.body)
        # What stands in the path is not the body's to say: the request's address is made of it.
        self._by_path = ("model", "stream") if isinstance(dialect, ModelInPath) else ()
        self._edits = Edits()
        self._container = _array([*before.messages, *before.system])
        self._emitted_messages: list[Any] | None = None
        # A client decides how many there are: no message is searched for among the others.
        self._positions = {id(message): position for position, message in enumerate(after.messages)}
        self._alone = 0
        self._lost = LossReport()

    def edited(self) -> bytes:
        """Raises _NoPlace, Unsupported, and ProtocolError if this is no request any more."""
        settled = self._words()
        self._besides(self._edits)
        self._conversation()
        self._settings(settled, self._tools())
        return self._edits.applied(self._call.body)

    def means(self, body: bytes) -> bool:
        """Whether *body* says what is wanted; of settings, as far as the API can say it. Raises ProtocolError."""
        found, wanted = _meaning(self._parsed(body)), _meaning(self._after)
        unlike = [n for n, value in wanted.items() if found.get(n) != value and n not in self._by_path]
        if not unlike:
            return True
        if not _SAYABLE.isdisjoint(unlike):
            return False
        said = _meaning(self._parsed(encode(self._emit(_bare(self._after)))))
        return all(found.get(name) == said.get(name) for name in unlike)

    def _parsed(self, body: bytes) -> Request:
        call = self._call
        path, _ = self._dialect.rename(call.path, {}, self._after.model)
        return self._dialect.parse_request(ClientCall(call.method, path, call.headers, body), LossReport())

    def anew(self, losses: LossReport) -> bytes:
        """Everything from the vocabulary, and of the client's own what the vocabulary knows nothing of."""
        sent = self._emit(replace(self._after, source=None, extra={}), losses)
        besides = Edits()
        self._besides(besides)
        theirs = RawJson(besides.applied(self._call.body)).level(())
        assert isinstance(theirs, dict)
        try:
            was = self._emit(replace(self._before, source=None, extra={}))
        except Unsupported:
            known = set(theirs)
        else:
            known = {*was, *sent}
            # What the emitter says anyway, the client has left to its provider.
            sent = {name: value for name, value in sent.items() if name in theirs or was.get(name) != value}
        return encode({**sent, **{name: raw for name, raw in theirs.items() if name not in known}})

    def report(self, losses: LossReport) -> None:
        """What of the change this API cannot say."""
        for loss in self._lost:
            losses.add(loss.path, loss.action, loss.detail, cost_only=loss.cost_only)

    def _emit(self, request: Request, losses: LossReport | None = None) -> dict[str, Any]:
        upstream = Upstream("", "", _ANYTHING, request.model)
        report = LossReport() if losses is None else losses
        return self._dialect.emit_request(request, upstream, report).members

    # ---- members of the request

    def _words(self) -> Request:
        """Changes what stands in the body as it is. The request before, but with all of that."""
        settled, after = self._before, self._after
        for name in _WORDS:
            if name in self._by_path or self._placed(name, getattr(settled, name), getattr(after, name)):
                settled = replace(settled, **{name: getattr(after, name)})
        for name in Sampling.__struct_fields__:
            new = getattr(after.sampling, name)
            if self._placed(name, getattr(settled.sampling, name), new):
                settled = replace(settled, sampling=replace(settled.sampling, **{name: new}))
        return settled

    def _placed(self, word: str, old: Any, new: Any) -> bool:
        path = path_of(self._before.path_of(word))
        if old == new:
            return False
        value = self._document.value(path)
        fresh = value is ABSENT and old is None and type(new) in (int, float)
        if not (fresh or _is(value, old)):
            return False
        self._change(path, ABSENT if new is None else new)
        return True

    def _besides(self, edits: Edits) -> None:
        """Changes of what the vocabulary has no word for."""
        for name, member in self._before.extra.items():
            kept = self._after.extra.get(name)
            if kept is None:
                edits.remove(path_of(member.path))
            elif kept.value != member.value:
                edits.put(path_of(member.path), kept.value)

    def _settings(self, settled: Request, tools: set[Path]) -> None:
        """Makes what the emitter makes of a change: the difference between two requests without messages. *tools* is
        where the tools stand, which are changed already."""
        old, new = _bare(settled), _bare(self._after)
        if same(old, new):
            return
        becomes = LossReport()
        found = _difference(self._emit(old), self._emit(new, becomes), ())
        unlike = _unlike(settled, self._after)
        # What was there before stays as the client sent it: only what is new can be lost.
        words = [word for word in _WORDS if getattr(self._before, word) != getattr(self._after, word)]
        ours = tuple(self._after.path_of(word) for word in [*unlike, *words])
        for loss in becomes:
            if loss.path.startswith(ours):
                self._lost.add(loss.path, loss.action, loss.detail, cost_only=loss.cost_only)
        changes = {path: value for path, value in found.items() if not any(path[: len(each)] == each for each in tools)}
        for word in unlike:
            # Where the client's body says the same by another name.
            place = path_of(self._before.path_of(word))
            if self._document.raw(place) is not None and not any(_overlap(place, path) for path in changes):
                changes[place] = ABSENT
        for path, value in changes.items():
            self._change(path, value)

    def _change(self, path: Path, value: Any) -> None:
        if value is ABSENT:
            self._edits.remove(path)
        else:
            self._edits.put(path, value)

    # ---- what was said

    def _conversation(self) -> None:
        before, after = self._before, self._after
        olds, news = [*before.system, *before.messages], [*after.system, *after.messages]
        if olds == news:
            return
        known = {old.at for old in olds}
        name = self._where_system_stands() if any(message.at not in known for message in after.system) else ()
        beside: list[Message] = []
        if name != self._container:
            # As a member of its own, unless it follows one among the messages.
            beside = after.system[: next((i for i, m in enumerate(after.system) if self._is_among(m.at)), None)]
        added = [message for message in beside if message.at not in known]
        self._list(olds, [message for message in news if message not in added], 0, self._write_message)
        if added:
            self._add_system(name, beside)

    def _is_among(self, at: str) -> bool:
        """Whether what stands *at* a place is one of the messages' array."""
        path, index = _element(path_of(at), 0)
        return index >= 0 and path == self._container

    def _where_system_stands(self) -> Path:
        with_it = self._emit(replace(_bare(self._after), system=[Message("system", "x")]))
        names = [path[:1] for path in _difference(self._emit(_bare(self._after)), with_it, ())]
        if len(set(names)) != 1:
            raise _NoPlace
        return names[0]

    def _add_system(self, name: Path, system: list[Message]) -> None:
        bare, known = _bare(self._after), {message.at for message in self._before.system}
        whole = self._emit(replace(bare, system=system)).get(str(name[0]))
        level = self._document.level(name)
        if isinstance(level, list) and isinstance(whole, list):
            order: list[int | bytes] = []
            for message in system:
                if message.at in known:
                    order += range(len(level))
                    continue
                # Two of them, so that it must be a list of them.
                twice = self._emit(replace(bare, system=[message, message]))[str(name[0])]
                order += [encode(each) for each in twice[: len(twice) // 2]]
            self._edits.arrange(name, order)
        else:
            self._change(name, whole)

    def _tools(self) -> set[Path]:
        """Where the tools stand that there were, and where the emitter would write them."""
        before, after = self._before.tools, self._after.tools
        if before and before != after:
            self._list(before, after, 0, self._write_tool)
        return {_element(path_of(tool.at), 0)[0] for tool in before} | ({("tools",)} if before else set())

    # ---- lists

    def _list(self, before: list[Any], after: list[Any], depth: int, write: Write) -> None:
        """Changes the elements of arrays that *before* was read from to what *after* says. *depth*: as many steps lead
        to where all of them stand."""
        places = {node.at: _element(path_of(node.at), depth) for node in before}
        beneath = {path[:end] for path, _ in places.values() for end in range(len(path) + 1)}
        for at, (path, index) in places.items():
            if (*path, index) in beneath:
                # The element holds others as well: this is a member of it.
                member = path_of(at)
                places[at] = (member, -1)
                beneath.update(member[:end] for end in range(len(member) + 1))
        containers = list(dict.fromkeys(path for path, index in places.values() if index >= 0))
        known = set(places)
        outermost = min(containers, key=len, default=())
        if sum(len(path) == len(outermost) for path in containers) != 1 and any(node.at not in known for node in after):
            raise _NoPlace
        heres: dict[Path, dict[str, int]] = {path: {} for path in containers}
        helds: dict[Path, set[int]] = {path: set() for path in containers}
        befores: dict[Path, list[Any]] = {path: [] for path in containers}
        afters: dict[Path, list[Any]] = {path: [] for path in containers}
        for at, (path, index) in places.items():
            if index >= 0:
                heres[path][at] = index
        for path in containers:
            for end in range(len(path)):
                if path[:end] in helds and isinstance(step := path[end], int):
                    helds[path[:end]].add(step)
        for node in before:
            if places[node.at][1] >= 0:
                befores[places[node.at][0]].append(node)
        for node in after:
            path, index = places.get(node.at, (outermost, 0))
            if index >= 0 and path in afters:
                afters[path].append(node)
        # An element of which nothing is left goes as a whole: without them it would hold nothing.
        kept = [places[node.at][0] for node in after if node.at in places]
        there = {path[:end] for path in kept for end in range(len(path) + 1)}
        empty = {(*path, step) for path, steps in helds.items() for step in steps} - there
        for path in containers:
            if empty.isdisjoint(path[:end] for end in range(len(path) + 1)):
                stay = [step for step in sorted(helds[path]) if (*path, step) not in empty]
                self._arrange(path, befores[path], afters[path], heres[path], helds[path], stay, write)
        members: dict[str, tuple[list[Any], list[Any]]] = {
            at: ([], [])
            for at, (path, index) in places.items()
            if index < 0 and empty.isdisjoint(path[:end] for end in range(len(path)))
        }
        for which, nodes in enumerate((before, after)):
            for node in nodes:
                if node.at in members:
                    members[node.at][which].append(node)
        for olds, news in members.values():
            self._member(olds, news)

    def _arrange(
        self,
        path: Path,
        before: list[Any],
        after: list[Any],
        here: dict[str, int],
        held: set[int],
        staying: list[int],
        write: Write,
    ) -> None:
        """The same for those in the array at *path*, whose indexes *here* are by ``at``; others in *after* are new.
        *held*: elements that hold others of these; those *staying* do so still."""
        level = self._document.level(path)
        if not isinstance(level, list):
            raise _NoPlace
        starts = sorted({*here.values(), *held})
        order: list[int | bytes] = list(range(starts[0]))
        # What stands behind an element, and nothing was read from alone, belongs to it.
        until = dict(zip(starts, [*starts[1:], len(level)], strict=True))
        stay = deque(staying)
        read: dict[int, list[Any]] = {}
        for node in before:
            read.setdefault(here[node.at], []).append(node)
        done = set[int]()
        at = 0
        while at < len(after):
            index = here.get(after[at].at)
            if index is None:
                order += write(after[at])
                at += 1
                continue
            olds = read.get(index, [])
            news = after[at : at + len(olds)]
            at += len(olds)
            if index in done or [node.at for node in olds] != [node.at for node in news]:
                raise _NoPlace
            while stay and stay[0] < index:
                order += range(stay[0], until[stay.popleft()])
            order += self._element_changed((*path, index), olds, news, write)
            done.add(index)
            order += range(index + 1, until[index])
        for index in stay:
            order += range(index, until[index])
        if not order:
            self._edits.remove(path)
        elif order != list(range(len(level))):
            self._edits.arrange(path, order)

    def _element_changed(self, path: Path, olds: list[Any], news: list[Any], write: Write) -> list[int | bytes]:
        """The element at *path*, from which *olds* were read, as *news* say it."""
        try:
            for old, new in zip(olds, news, strict=True):
                self._within(old, new)
        except _NoPlace:
            if len(olds) > 1:
                raise
            return [*self._with_extra(path, news[0], write(news[0]))]
        index = path[-1]
        assert isinstance(index, int)
        return [index]

    def _with_extra(self, path: Path, node: Any, written: list[bytes]) -> list[bytes]:
        """What was *written* for the element at *path*, with what it had besides."""
        had = self._document.level(path)
        extra = getattr(node, "extra", None)
        if not extra or len(written) != 1 or not isinstance(had, dict) or path_of(node.at) != path:
            return written
        return [encode({**msgspec.json.decode(written[0]), **{name: had[name] for name in extra if name in had}})]

    def _member(self, olds: list[Any], news: list[Any]) -> None:
        """The same for what stands in no array, but is a member of its own."""
        if not news:
            self._edits.remove(path_of(olds[0].at))
        elif len(news) != len(olds):
            raise _NoPlace
        for old, new in zip(olds, news, strict=False):
            self._within(old, new)

    # ---- within a message, a block, a tool

    def _within(self, old: Any, new: Any) -> None:
        """Changes what makes *old* to *new*. Raises _NoPlace."""
        if type(old) is not type(new):
            raise _NoPlace
        for name in old.__struct_fields__:
            was, becomes = getattr(old, name), getattr(new, name)
            if was == becomes or name in _PLACE:
                continue
            if isinstance(was, list) and isinstance(becomes, list) and name in ("content", "blocks"):
                self._list(was, becomes, len(path_of(old.at)), partial(self._write_block, old))
            elif type(was) is not type(becomes) or isinstance(was, msgspec.Struct):
                raise _NoPlace
            else:
                self._change(self._leaf(path_of(old.at), name, was), becomes)

    def _leaf(self, start: Path, name: str, was: Any) -> Path:
        """Where at or below *start* the body says *was*, which the vocabulary calls *name*."""
        found = [path for path in self._values(start, _DEPTH) if _is(self._document.value(path), was)]
        likely = [path for path in found if path[-1] in _SAID.get(name, (name,))]
        for paths in (likely, found):
            if len(paths) == 1:
                return paths[0]
        raise _NoPlace

    def _values(self, start: Path, depth: int) -> list[Path]:
        level = self._document.level(start) if depth else None
        if not isinstance(level, dict):
            return [start]
        return [start, *(path for name in level for path in self._values((*start, name), depth - 1))]

    # ---- what is written by the emitter

    def _write_message(self, message: Any) -> list[bytes]:
        position = self._positions.get(id(message))
        if position is None:
            return self._written_alone(message)
        if self._emitted_messages is None:
            # What they have besides stays as it was sent.
            plain = [replace(each, extra=None) for each in self._after.messages]
            bare = replace(_bare(self._after), messages=plain)
            self._emitted_messages = self._emit(bare).get(str(self._container[0]), [])
        if len(self._emitted_messages) == len(self._after.messages):
            # One for each.
            return [encode(self._emitted_messages[position])]
        return self._written_alone(message)

    def _written_alone(self, message: Message) -> list[bytes]:
        """A message in the dialect's own words, between two that are told from it."""
        self._count_alone()
        around = [] if message.role == "user" else [_FIRST]
        alone = self._emit(replace(_bare(self._after), messages=[*around, message, *around]))
        elements = alone[str(self._container[0])]
        return [encode(each) for each in elements[len(around) : len(elements) - len(around)]]

    def _write_block(self, parent: Any, block: Any) -> list[bytes]:
        if type(block) is Text and same(block, Text(block.text)) and (like := self._text_like(parent, block.text)):
            return [encode(like)]
        if not isinstance(parent, Message):
            raise _NoPlace
        # Two of them, so that it must be a list of them.
        try:
            written = self._written_alone(Message(parent.role, [block, block]))
        except Unsupported:
            # A result of a tool is one only behind its call.
            raise _NoPlace from None
        members = msgspec.json.decode(written[0]) if len(written) == 1 else {}
        lists = [value for value in members.values() if isinstance(value, list)]
        if len(lists) != 1 or len(lists[0]) != 2 or lists[0][0] != lists[0][1]:
            raise _NoPlace
        return [encode(lists[0][0])]

    def _text_like(self, parent: Any, text: str) -> dict[str, Any] | None:
        """*text* in the form in which the client has written another one beside it."""
        for other in parent.content:
            at = path_of(other.at)
            if type(other) is Text and isinstance(members := self._document.value(at), dict):
                leaf = self._leaf(at, "text", other.text)
                if len(leaf) == len(at) + 1:
                    form = {name: value for name, value in members.items() if name in ("type", leaf[-1])}
                    return {**form, str(leaf[-1]): text}
        return None

    def _count_alone(self) -> None:
        """What is written alone is written with all of the request's settings and tools."""
        self._alone += 1
        if self._alone > MAX_ALONE:
            raise _NoPlace

    def _write_tool(self, tool: Any) -> list[bytes]:
        self._count_alone()
        found: Any = self._emit(replace(_bare(self._after), tools=[tool], tool_choice=ToolChoice()))
        path, _ = _element(path_of(self._before.tools[0].at), 0)
        for step in path:
            found = found[step] if isinstance(step, int) else found.get(step, {})
        if not isinstance(found, list) or len(found) != 1:
            raise _NoPlace
        return [encode(found[0])]


def _bare(request: Request) -> Request:
    """*request* with nothing said in it but a word."""
    return replace(request, messages=[_FIRST], system=[], extra={}, source=None, client_state=None)


def _unlike(old: Request, new: Request) -> list[str]:
    """The words of what is not the same, as ``Request.path_of`` knows them."""
    words = [word for part, words in _SETTINGS.items() if getattr(old, part) != getattr(new, part) for word in words]
    fields = Sampling.__struct_fields__
    return words + [name for name in fields if getattr(old.sampling, name) != getattr(new.sampling, name)]


def _element(path: Path, depth: int) -> tuple[Path, int]:
    """The array in which what stands at *path* is an element, or is within one, and its index there; -1 if there is
    none behind the first *depth* steps."""
    for i in range(len(path) - 1, depth - 1, -1):
        step = path[i]
        if isinstance(step, int):
            return path[:i], step
    return path, -1


def _array(messages: list[Message]) -> Path:
    """The array in which the messages stand; no place if there are none in any."""
    found = (_element(path_of(message.at), 0) for message in messages)
    return next((path for path, index in found if index >= 0), ())


def _is(value: Any, wanted: Any) -> bool:
    return type(value) is type(wanted) and bool(value == wanted)


def _overlap(one: Path, other: Path) -> bool:
    """Whether one of two places is within the other."""
    return one[: len(other)] == other[: len(one)]


def _difference(old: dict[str, Any], new: dict[str, Any], at: Path) -> dict[Path, Any]:
    """The places where *new* is not *old*, and what stands there in *new*."""
    found: dict[Path, Any] = {}
    for name in (*old, *(name for name in new if name not in old)):
        was, becomes = old.get(name, ABSENT), new.get(name, ABSENT)
        if isinstance(was, dict) and isinstance(becomes, dict):
            found |= _difference(was, becomes, (*at, name))
        elif not _is(was, becomes):
            found[(*at, name)] = becomes
    return found


def _meaning(request: Request) -> Any:
    """*request* without all that says only where something stands, and a text as it is however it is wrapped."""
    made = _plain(msgspec.to_builtins(replace(request, at={}, extra={}, source=None, client_state=None)))
    # Some APIs have one system prompt, joined of as many parts as there were.
    said = [block for message in made["system"] for block in message["content"]]
    made["system"] = "\n\n".join(str(block.get("text", block)) for block in said)
    _number_ids(made["messages"], {})
    return made


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    made = {name: _plain(each) for name, each in value.items() if name not in _UNSAID and each is not None}
    content = made.get("content")
    if isinstance(content, str):
        made["content"] = [{"text": content, "refusal": False}] if content else []
    return made


def _number_ids(value: Any, known: dict[str, int]) -> None:
    """Ids of calls as numbers, in the order in which they come: some are made of where the call stands."""
    if isinstance(value, list):
        for each in value:
            _number_ids(each, known)
    elif isinstance(value, dict):
        if isinstance(id_ := value.get("id"), str):
            value["id"] = known.setdefault(id_, len(known))
        _number_ids(value.get("content"), known)
