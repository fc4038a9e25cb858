"""The input of a call as it comes in: told again, told cumulatively, told as nothing or as text within text.

What a client gets joins to one JSON object, whatever the server did; two inputs are never joined into one.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from ...llm.failures import ProtocolError
from ...llm.jsonscan import JsonScanner

_decode: Final = msgspec.json.Decoder().decode
_NOTHING: Final = frozenset({"", "null", "[]", '""'})
"""What servers write for no input at all."""
_UNDECIDED: Final = re.compile(r"\{\s*(\}\s*)?")
"""The beginning of an object, or an empty one, which some servers write before they have the input (LiteLLM issue 4537,
openai-agents-js pull request 712)."""
_BEFORE_ANOTHER: Final = re.compile(r"(?:\{\s*\}?\s*)+(?=\{)")
"""The same with an object behind it, which is the input."""
_NEARLY_NOTHING: Final = 1024
"""Characters up to which an input may be nothing with spaces around it."""
_TIMES_ENCODED: Final = 4
"""How often an input may be text within text, at most."""
_SPACED: Final = 16
"""Times as long as another text, at most, that says the same, with its spaces and escapes."""
_BLANK_OR_OBJECT: Final = frozenset(" \n\t\r{")
MAX_TIMES: Final = 1024
"""How often an input may be told again."""
_CLOSERS: Final = " \n\t\r}])`"
_MEMBER: Final = re.compile(r"\{\s*[\"}]")
"""How an object begins; what begins otherwise is none."""
_FENCED: Final = re.compile(r"```\w*\s*(\{.*\})\s*```", re.DOTALL)
_AT_BYTE: Final = re.compile(r"\(byte (\d+)\)\Z")
TRUNCATED: Final = "Input data was truncated"
"""What msgspec says of JSON that is right as far as it goes."""


class ToolInput:
    """One function's input. What begins as an object passes as it comes; anything else waits for its end, because it
    may be another way to write an object; an empty object does, because the input may follow. Linear in what comes:
    each text is scanned once, and only if it has to be."""

    __slots__ = (
        "_again", "_blank", "_doubted", "_length", "_more", "_opened", "_parts", "_scanner", "_tail", "_times",
        "_unscanned", "live", "overfull", "says_nothing",
    )  # fmt: skip

    def __init__(self) -> None:
        self.live = False
        """It has begun as an object."""
        self.overfull = False
        """Behind the whole input came brackets, which closed nothing, or the end of it again: they were left out."""
        self.says_nothing = False
        """It is an empty object so far, of which nothing was told yet."""
        self._parts: list[str] = []
        self._length = 0
        self._scanner = JsonScanner()
        self._unscanned: list[str] = []
        self._again: JsonScanner | None = None  # of what comes behind the whole input, and may only say it again
        self._more: list[str] = []  # as far as it has come
        self._times = 0  # how often it has been said again
        self._blank = True
        self._opened = False  # a bracket came, and it is not told yet what it opens
        self._tail: list[str] = []  # behind the whole input, what is no repetition from its beginning on
        self._doubted = ""  # it begins with all that came before: it goes on, or tells everything so far

    @property
    def text(self) -> str:
        """All of the input so far."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    @property
    def empty(self) -> bool:
        return not self._length

    @property
    def blank(self) -> bool:
        """Nothing has come but spaces."""
        return self._blank

    @property
    def whole(self) -> bool:
        """An object that has closed."""
        return self.says_nothing or (self.live and self._scanner.complete)

    @property
    def half(self) -> bool:
        """An object that was left open. What is no beginning of JSON at all is none: its reader will say so."""
        return (self.live or self._opened) and not self.whole and could_go_on(self.text, "")

    def is_told_by(self, text: str) -> bool:
        """Whether *text* says the whole input again."""
        if text == self.text:
            return True
        # A call may be told again very often: its whole input is not to be read anew for each few characters.
        return self._length <= _SPACED * len(text) + _NEARLY_NOTHING and _value(text) == _value(self.text)

    def feed(self, fragment: str) -> str:
        """What *fragment* adds for the client. Raises ProtocolError for another input behind a whole one."""
        if not fragment:
            return ""
        if not self.live:
            return self._before(fragment)
        if self._doubted:
            return self._settled(fragment)
        if self._scanner.complete:
            return self._beyond(fragment)
        if fragment[0] in _BLANK_OR_OBJECT and len(fragment) >= self._length and fragment.startswith(self.text):
            if could_go_on(self.text, fragment):
                # An object in the object, with the same first member; or, most likely, everything so far.
                self._doubted = fragment
                return ""
            fragment = fragment[self._length :]
        return self._added(fragment)

    def _settled(self, fragment: str) -> str:
        """What *fragment* adds, now that it tells what the one before it was."""
        doubted, self._doubted = self._doubted, ""
        if len(fragment) >= len(doubted) and fragment.startswith(doubted):
            return self._added(fragment[self._length :])
        return self._added(doubted) + self.feed(fragment)

    def end(self) -> str:
        """What is still to be told when nothing more comes; nothing at all was told of an input that is empty. Raises
        ProtocolError as ``feed`` does."""
        if self._doubted:
            doubted, self._doubted = self._doubted, ""
            repeats = _is_object(doubted) and not _is_object(self.text + doubted)
            return self._added(doubted[self._length :] if repeats else doubted)
        if self.live:
            if self._again is not None and not self.text.startswith("".join(self._more).strip()):
                raise ProtocolError("tool input", "another input behind one that was whole")
            return self._end_of_tail()
        text = self.text.strip()
        return "" if text in _NOTHING else _inner(text)

    def settle(self) -> str:
        """What is to be told of an empty object before whatever comes next: it is the input."""
        if not self.says_nothing:
            return ""
        text, self._parts, self._length = self.text, [], 0
        self.live, self.says_nothing = True, False
        return self._added(text)

    def _end_of_tail(self) -> str:
        tail, self._tail = "".join(self._tail), []
        if tail and self.text.endswith(tail.strip()):
            # vLLM's parsers tell the last piece twice.
            self.overfull = True
            return ""
        return self._appended(tail) if tail else ""

    def _added(self, fragment: str) -> str:
        """*fragment* as far as it belongs to the object, and what comes of the rest."""
        rest = ""
        self._unscanned.append(fragment)
        if "}" in fragment and self._closed():
            fragment, rest = fragment[: self._scanner.at], fragment[self._scanner.at :]
        self._appended(fragment)
        return fragment + self._beyond(rest) if rest else fragment

    def _closed(self) -> bool:
        """Whether the last text that came closes the object: an earlier one that did would have been the last."""
        pending, self._unscanned = self._unscanned, []
        for part in pending:
            self._scanner.feed(part)
        return self._scanner.complete

    def _appended(self, text: str) -> str:
        self._parts.append(text)
        self._length += len(text)
        return text

    def _before(self, fragment: str) -> str:
        begins = fragment.lstrip()[:1]
        if begins == "{" and 0 < self._length <= _NEARLY_NOTHING and self._is_nothing():
            self._parts, self._length, self._blank = [], 0, True
        self._appended(fragment)
        self._opened = self._opened or (self._blank and begins == "{")
        self._blank = self._blank and not begins
        if not self._opened:
            return ""
        text = self.text
        if self._length <= _NEARLY_NOTHING:
            text = text.lstrip()
            if (empty := _BEFORE_ANOTHER.match(text)) is not None:
                text = text[empty.end() :]
            undecided = _UNDECIDED.fullmatch(text)
            self.says_nothing = undecided is not None and undecided[1] is not None
            if undecided is not None:
                return ""
            if not _MEMBER.match(text):
                self._opened = False
                return ""
        self._parts, self._length = [], 0
        self.live = True
        return self._added(text)

    def _is_nothing(self) -> bool:
        """Whether what has come is nothing, if an object comes behind it."""
        text = self.text.strip()
        return text in _NOTHING or _UNDECIDED.fullmatch(text) is not None

    def _beyond(self, text: str) -> str:
        """What came behind the whole object: the same again; brackets that close nothing; the end of it again; or what
        no reader will take for JSON, and should not."""
        if not self._tail and (self._again is not None or text.lstrip().startswith("{")):
            return self._behind(text)
        if self._tail or text.strip(_CLOSERS):
            self._tail.append(text)
        else:
            self.overfull = self.overfull or bool(text.strip())
        return ""

    def _behind(self, text: str) -> str:
        """*text* that goes on with what may only say the whole input again, perhaps several times."""
        while text:
            scanner = self._again = self._again or JsonScanner()
            if not scanner.feed(text):
                self._more.append(text)
                return ""
            told = "".join([*self._more, text[: scanner.at]])
            self._times += 1
            if self._times > MAX_TIMES or not self.is_told_by(told):
                raise ProtocolError("tool input", "another input behind one that was whole")
            self._again, self._more, text = None, [], text[scanner.at :]
            if text and not text.lstrip().startswith("{"):
                return self._beyond(text)
        return ""


def could_go_on(text: str, more: str) -> bool:
    """Whether *text* with *more* behind it is JSON, or the beginning of some."""
    joined = text + more
    try:
        _decode(joined)
    except msgspec.DecodeError as error:
        if str(error) == TRUNCATED:
            return True
        at = _AT_BYTE.search(str(error))
        # A number that is cut is called wrong.
        return at is not None and "number" in str(error) and int(at[1]) >= len(joined.encode("utf-8", "replace"))
    except (RecursionError, UnicodeEncodeError):
        pass
    return True


def _value(text: str) -> Any:
    try:
        return _decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return text.strip()


def _is_object(text: str) -> bool:
    return type(_value(text)) is dict


def _inner(text: str) -> str:
    """The object in a JSON string that holds one, or in a fence; anything else as it came."""
    inner = text
    for _ in range(_TIMES_ENCODED):
        if (fenced := _FENCED.fullmatch(inner)) is not None and _is_object(fenced[1]):
            return fenced[1]
        value = _value(inner) if inner.startswith('"') else None
        if type(value) is not str:
            break
        inner = value.strip()
        if inner in _NOTHING:
            return ""
        if _is_object(inner):
            return inner
    return text
