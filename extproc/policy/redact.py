"""``redact``: what is personal or secret does not reach the model.

Each e-mail address, number of a phone, card or account, IP address and key of a known vendor in a request, and what the
operator's own ``patterns`` (a list of ``{name, pattern}``) find, becomes a placeholder: ``[EMAIL_1]``. The same value
has the same one throughout a conversation, over its turns too. With ``restore`` (the default) answers have the values
again, whole and streamed, however the stream cuts a placeholder. Values are kept for one exchange, and told nobody.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from typing import Any

import msgspec
from msgspec.structs import replace

from ..frozen import Frozen
from ..llm.embeddings import EmbedRequest
from ..llm.events import (
    BlockEnded,
    Citation,
    CitationAdded,
    ResponseEvent,
    TextDelta,
    TextStarted,
    ThinkingDelta,
    ToolCallStarted,
    ToolInputDelta,
)
from ..llm.losses import Action
from ..llm.request import (
    Audio,
    Block,
    Document,
    Image,
    Member,
    Message,
    Opaque,
    Request,
    SearchResult,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from .base import Context, Make, Policy, Window
from .given import Given
from .patterns import compiled, encoded
from .recognisers import NAMES, Recogniser, known
from .texts import text_of, texts_to_embed, with_text

_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
_PLACEHOLDER = re.compile(r"\[[A-Z][A-Z0-9_]{0,30}_[1-9][0-9]{0,8}\]")
_LONGEST = 44
MAX_MOVES = 65_536
"""Placeholders of one text behind which places in it are known; behind more of them citations have none."""
_BEGUN = re.compile(r"\[(?:[A-Z][A-Z0-9_]{0,41})?\Z")
"""What may become one with the next piece of a stream."""


class _Rules(Frozen):
    recognisers: list[Recogniser]
    restore: bool


def configure(given: Given) -> Make:
    given.guards = True
    names = given.texts("recognisers")
    own = given.parts("patterns")
    if names is None:
        names = list(NAMES)
    for at, name in enumerate(names):
        if name not in NAMES:
            raise given.error(f"recognisers[{at}]", f"choose one of: {', '.join(NAMES)}")
    recognisers = []
    for part in own:
        name, pattern = part.text("name"), part.text("pattern")
        part.finish()
        if not _NAME.fullmatch(name) or name in NAMES:
            raise part.error("name", "expected small letters, digits and _, and no recogniser's name")
        recognisers.append(Recogniser(name, compiled(part, "pattern", pattern)))
    # In the order of the table, whatever the operator's.
    recognisers += [known(given, "recognisers", name) for name in NAMES if name in names]
    if not recognisers:
        raise given.error("recognisers", "it or patterns must hold one")
    rules = _Rules(recognisers, given.flag("restore", True))
    return lambda context: Redact(rules, context)


class Redact(Policy):
    """Of one exchange."""

    counts = True

    def __init__(self, rules: _Rules, context: Context) -> None:
        self._rules = rules
        self._context = context
        self._values: dict[str, str] = {}
        """By their placeholders."""
        self._answers_json = False
        """What the model says is to be one JSON text."""
        self._restorers: dict[int, _Restorer] = {}

    def on_request(self, request: Request) -> Request:
        redaction = _Redaction(self._rules.recognisers, [request.system, request.messages, request.extra])
        system = [redaction.message(message) for message in request.system]
        messages = [redaction.message(message) for message in request.messages]
        extra = {name: redaction.member(member) for name, member in request.extra.items()}
        self._tell(redaction)
        request = self._without_names(redaction, request)
        if not redaction.placeholders:
            return request
        self._values = {mark: value for (_, value), mark in redaction.placeholders.items()}
        self._answers_json = request.output is not None
        if self._rules.restore:
            self.window = Window()
        return replace(request, system=system, messages=messages, extra=extra)

    def on_embed(self, request: EmbedRequest) -> EmbedRequest:
        redaction = _Redaction(self._rules.recognisers, texts_to_embed(request))
        inputs = [replace(each, text=redaction.text(each.text)) for each in request.inputs]
        self._tell(redaction)
        return replace(request, inputs=inputs) if redaction.placeholders else request

    def _tell(self, redaction: _Redaction) -> None:
        facts = self._context.facts
        facts["redact_count"] = sum(redaction.counts.values())
        for name, count in redaction.counts.items():
            facts[f"redact_{name}"] = count
        if redaction.unseen:
            facts["redact_unseen"] = redaction.unseen

    def _without_names(self, redaction: _Redaction, request: Request) -> Request:
        """A user's id that is an address is left out: a placeholder would make one user of all."""
        for word in ("user_id", "session_key"):
            said = getattr(request, word)
            if isinstance(said, str) and redaction.finds(said):
                self._context.losses.add(request.path_of(word), Action.FILTERED, "it is personal")
                request = replace(request, **{word: None})
        return request

    def on_events(self, events: list[ResponseEvent], last: bool) -> list[ResponseEvent]:
        out: list[ResponseEvent] = []
        for event in events:
            out += self._restored(event)
        return out

    def _restored(self, event: ResponseEvent) -> list[ResponseEvent]:
        if isinstance(event, (TextDelta, ThinkingDelta)):
            text = self._of(event.block).feed(event.text)
            return [replace(event, text=text)] if text else []
        if isinstance(event, ToolCallStarted):
            self._restorers[event.block] = _Restorer(self._values, ToolInputDelta, event.kind == "function")
        elif isinstance(event, TextStarted):
            self._restorers[event.block] = _Restorer(self._values, TextDelta, self._answers_json)
        elif isinstance(event, ToolInputDelta):
            text = self._of(event.block).feed(event.fragment)
            return [replace(event, fragment=text)] if text else []
        elif isinstance(event, CitationAdded):
            return [replace(event, citation=self._cited(event.citation, self._of(event.block)))]
        elif isinstance(event, BlockEnded) and (restorer := self._restorers.pop(event.block, None)) is not None:
            rest = restorer.rest()
            return [restorer.delta(event.block, rest), event] if rest else [event]
        return [event]

    def _of(self, block: int) -> _Restorer:
        """Thinking is announced by no event of interest."""
        restorer = self._restorers.get(block)
        if restorer is None:
            restorer = self._restorers[block] = _Restorer(self._values, ThinkingDelta)
        return restorer

    def _cited(self, citation: Citation, restorer: _Restorer) -> Citation:
        cited = citation.cited_text
        start, end = restorer.moved(citation.start), restorer.moved(citation.end)
        text = _put_back(cited, self._values) if cited else cited
        if (start, end, text) == (citation.start, citation.end, cited):
            return citation
        return replace(citation, start=start, end=end, cited_text=text, native=None)


class _Restorer:
    """Of one block of an answer."""

    def __init__(self, values: dict[str, str], delta: Any, json: bool = False) -> None:
        self._values = values
        self._json = json
        self._held = ""
        self._read = 0  # of the block as the upstream has it
        self._ends = array("q")
        """Where, in what the upstream has, each placeholder ended that was put back."""
        self._grown = array("q")
        """By how much all of it had grown by then."""
        self.delta = delta

    def feed(self, text: str) -> str:
        """What can go on of *text* and of what was held before it."""
        text = self._held + text
        # Where the last bracket opens no placeholder any more nothing needs to wait.
        at = text.rfind("[", -_LONGEST)
        begun = at >= 0 and _BEGUN.match(text, at) is not None
        self._held = text[at:] if begun else ""
        return self._whole(text[:at] if begun else text)

    def rest(self) -> str:
        held, self._held = self._held, ""
        return self._whole(held)

    def moved(self, at: int | None) -> int | None:
        """A place in the upstream's text, in the client's."""
        before = bisect_right(self._ends, at) if at is not None else 0
        if at is None or before == MAX_MOVES:
            return None
        return at + self._grown[before - 1] if before else at

    def _whole(self, text: str) -> str:
        out: list[str] = []
        done = 0
        for found in _PLACEHOLDER.finditer(text) if "[" in text else ():
            value = self._values.get(found[0])
            if value is not None:
                if self._json:
                    value = msgspec.json.encode(value)[1:-1].decode()
                out += text[done : found.start()], value
                done = found.end()
                if len(self._ends) < MAX_MOVES:
                    self._grown.append((self._grown[-1] if self._grown else 0) + len(value) - len(found[0]))
                    self._ends.append(self._read + done)
        self._read += len(text)
        return "".join([*out, text[done:]])


def _put_back(text: str, values: dict[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: values.get(found[0], found[0]), text)


class _Redaction:
    """Of one request."""

    def __init__(self, recognisers: list[Recogniser], said: object) -> None:
        self._recognisers = recognisers
        self._said = said
        """All that the client says, as it prints."""
        self._taken: set[str] | None = None
        self._numbers: dict[str, int] = {}
        self._lengths: dict[str, set[int]] = {}
        """Of the values that have placeholders, by what they are."""
        self.placeholders: dict[tuple[str, str], str] = {}
        self.counts: dict[str, int] = {}
        self.unseen = 0
        """Parts that hold what only a model can read, or only one API."""

    def finds(self, text: str) -> bool:
        return bool(self._found(encoded(text)))

    def text(self, text: str, signed: bool = False) -> str:
        """*signed*: by the model that has said it, which takes it back only as it was: what it has not been told by a
        placeholder stays."""
        data = encoded(text)
        out: list[bytes] = []
        done = 0
        for start, end, name in self._found(data):
            value = data[start:end].decode("utf-8", "replace")
            if signed and not self._is_told(name, value):
                continue
            out += data[done:start], self._placeholder(name, value).encode()
            done = end
        return b"".join([*out, data[done:]]).decode("utf-8", "replace") if out else text

    def _is_told(self, name: str, value: str) -> bool:
        """Whether *value* is one that has its placeholder, or begins or ends with one."""
        told = [each for each in self._lengths.get(name, ()) if each <= len(value)]
        return any((name, part) in self.placeholders for n in told for part in (value[:n], value[-n:]))

    def _found(self, data: bytes) -> list[tuple[int, int, str]]:
        """What is found, in order; of two that overlap the one whose recogniser comes first."""
        if len(data) < 4:
            return []
        ranked = sorted(
            (start, rank, end)
            for rank, recogniser in enumerate(self._recognisers)
            for start, end in recogniser.spans(data)
        )
        kept: list[tuple[int, int, int]] = []
        for start, rank, end in ranked:
            if kept and start < kept[-1][0] + kept[-1][2]:
                if rank >= kept[-1][1]:
                    continue
                kept.pop()
            kept.append((start, rank, end - start))
        return [(start, start + length, self._recognisers[rank].name) for start, rank, length in kept]

    def _placeholder(self, name: str, value: str) -> str:
        self.counts[name] = self.counts.get(name, 0) + 1
        mark = self.placeholders.get((name, value))
        if mark is not None:
            return mark
        if self._taken is None:
            self._taken = _taken(self._said)
        while mark is None or mark in self._taken:
            number = self._numbers[name] = self._numbers.get(name, 0) + 1
            mark = f"[{name.upper()}_{number}]"
        self.placeholders[name, value] = mark
        self._lengths.setdefault(name, set()).add(len(value))
        return mark

    def message(self, message: Message) -> Message:
        content = self.content(message.content)
        return message if content is message.content else replace(message, content=content)

    def member(self, member: Member) -> Member:
        value = self._values(member.value) if member.holds == "words" else member.value
        return member if value == member.value else replace(member, value=value)

    def content(self, content: str | list[Block]) -> str | list[Block]:
        """*content* itself, if nothing is found in it."""
        if isinstance(content, str):
            text = self.text(content)
            return content if text == content else text
        blocks: list[Block] = [self._block(block) for block in content]
        return content if all(new is old for new, old in zip(blocks, content, strict=True)) else blocks

    def _block(self, block: Block) -> Block:
        changed: dict[str, Any] = {}
        if isinstance(block, Text):
            changed = {"text": self.text(block.text)}
        elif isinstance(block, Thinking):
            changed = {"text": self.text(block.text, signed=block.signature is not None)}
        elif isinstance(block, ToolCall):
            changed = self._call(block)
        elif isinstance(block, ToolResult):
            changed = {"content": self.content(block.content)}
        elif isinstance(block, Document):
            changed = self._document(block)
        elif isinstance(block, SearchResult):
            parts = [replace(part, text=self.text(part.text)) for part in block.content]
            changed = {"title": self.text(block.title), "content": parts}
        elif isinstance(block, (Image, Audio, Opaque)):
            self.unseen += 1
        if all(getattr(block, name) == value for name, value in changed.items()):
            return block
        return replace(block, **changed)

    def _call(self, call: ToolCall) -> dict[str, Any]:
        if call.arguments is None:
            return {"input": self._values(call.input)}
        if call.kind == "function":
            try:
                given = msgspec.json.decode(call.arguments)
            except (msgspec.DecodeError, RecursionError):
                return {"arguments": self.text(call.arguments)}
            made = self._values(given)
            return {"arguments": call.arguments if made == given else msgspec.json.encode(made).decode()}
        return {"arguments": self.text(call.arguments)}

    def _document(self, block: Document) -> dict[str, Any]:
        changed: dict[str, Any] = {
            name: self.text(words) for name in ("title", "context") if (words := getattr(block, name))
        }
        if block.blocks is not None:
            changed["blocks"] = self.content(block.blocks)
        if block.source is not None and (said := text_of(block.source)) is not None:
            text = self.text(said)
            changed["source"] = block.source if text == said else with_text(block.source, text)
        elif block.source is not None:
            self.unseen += 1
        return changed

    def _values(self, value: Any) -> Any:
        """A JSON value with its texts redacted, names of members too, and whole numbers that are some account's."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, int) and not isinstance(value, bool):
            text = self.text(str(value))
            return value if text == str(value) else text
        if isinstance(value, dict):
            return {self.text(name): self._values(each) for name, each in value.items()}
        return [self._values(each) for each in value] if isinstance(value, list) else value


def _taken(said: object) -> set[str]:
    """What looks like a placeholder and is the client's own text."""
    return set(_PLACEHOLDER.findall(str(said)))
