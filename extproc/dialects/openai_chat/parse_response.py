"""A Chat upstream's answer, streamed or whole.

A whole message is read as one delta. What servers do differently from OpenAI is repaired here: where content stands,
where usage comes, how the end is told; in ``parse_content`` where reasoning stands and whose a fragment of a call is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from ...llm.events import (
    NO_USAGE,
    Extra,
    ResponseEnded,
    ResponseEvent,
    ResponseStarted,
    StopReason,
    TextDelta,
    Usage,
)
from ...llm.failures import ErrorKind, ProtocolError
from ...llm.grammar import State
from ...llm.losses import Action, LossReport
from ...settings import Limits
from ..base import ResponseHead, UpstreamCall
from ..shared.alike import Alike
from ..shared.counts import read_openais
from ..shared.errors import is_bare_error
from ..shared.fragments import says_something, text_in, unread
from ..shared.reading import decode
from ..shared.stops import read_stop
from .calls import choice_index
from .parse_content import ContentParser
from .vocabulary import TIERS_READ

_NO_NEWS: Final = frozenset(
    {
        "base_resp", "choices", "created", "error", "finish_reason", "id", "model", "object", "obfuscation",
        "service_tier", "system_fingerprint", "usage", "prompt_annotations", "prompt_filter_results", "x_groq",
    }
)  # fmt: skip
"""Members of a chunk that are understood here, or mean nothing to a client."""
_OF_CHOICE: Final = frozenset(
    {
        "index", "delta", "message", "text", "finish_details", "finish_reason", "finishReason", "done_reason",
        "native_finish_reason",
        "stop_reason", "stop_details", "usage", "logprobs", "content_filter_results", "content_filter_offsets",
        "content_filter_result",
        "matched_stop", "token_ids", "seed", "hidden_states", "error",
    }
)  # fmt: skip
_CALLS = ("tool_calls", "function_call")
_SAID = ("content", "refusal")
_FINISHES = ("finish_reason", "finish_details", "finishReason", "done_reason")
"""Where servers say how an answer ended: this API's own name, and those of the APIs from which theirs is translated."""
_UNSURE: Final = frozenset({StopReason.END, StopReason.TOOL_CALL, StopReason.STOP_SEQUENCE, StopReason.OTHER})


class ChatParser(ContentParser):
    def __init__(self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport) -> None:
        super().__init__(call, head, limits, losses)
        self._started = False
        self._first_choice = 0
        self._spoken = False  # it has said a text
        self._aside: list[str] = []  # what another has said, until that one speaks
        self._aside_end: tuple[dict[str, Any], str] | None = None  # and how it ended
        self._caller: int | None = None  # the choice from which calls come
        self._finish: str | None = None
        self._stop_reason: StopReason | None = None
        self._native: str | None = None
        self._matched: str | None = None
        self._details: Extra = {}
        self._usage = NO_USAGE
        self._tier: str | None = None
        self._alike = Alike()
        self._messages: list[str] | None = None  # what was said, where messages come in place of deltas

    # ---- streamed

    def on_item(self, item: Any, *, last: bool) -> Iterable[ResponseEvent]:
        data: bytes = item.data
        block = self._text if self._tags is None and not item.event else None
        text = None if block is None or self.is_heavy(data) else self._alike.text(data)
        if not text:
            if item.event or not data.startswith(b"{"):
                return super().on_item(item, last=last)
            message = self.decode_message(data, last=last)
            if message is None:
                return ()
            if block is None or (text := _more_text(message)) is None:
                return self.on_message(message)
            self._alike.learn(data, text, _read_text)
        self._text_length += len(text)
        return (TextDelta(block, text),)  # type: ignore[arg-type]

    def on_message(self, message: Any) -> Iterator[ResponseEvent]:
        if type(message) is list and len(message) < 2:
            message = message[0] if message else {}
        if type(message) is not dict:
            raise ProtocolError("chunk", "expected an object")
        choices = _choices(message)
        if self.is_error(message):
            yield self.failure_of(message)
            return
        told = self._note_usage(message, choices)
        if self._started and not message.keys() <= _NO_NEWS:
            self.losses.extra("response", unread(message, _NO_NEWS))
        for choice in choices:
            delta = self._of_choice(choice, message)
            finish = _finish_of(choice) or _word(message.get("finish_reason"))
            if not self._started and (delta or finish):
                yield self._start(message)
            yield from self._delta(delta, whole="message" in choice and "delta" not in choice)
            yield from self._ended_by(choice, finish)
        tier = message.get("service_tier")
        if type(tier) is str:
            self._tier = tier
        if told and not choices and self._finish is not None:
            # The closing counts. Some servers keep the connection open for good behind them.
            yield from self._end()

    def _of_choice(self, choice: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
        """What *choice* adds: a delta; in place of it a message, or a text, as far as it is news."""
        delta, whole, text = choice.get("delta"), choice.get("message"), choice.get("text")
        if self.grammar.state is State.ENDED:
            if says_something(delta) or says_something(whole):
                self.losses.dropped("response.choices[0].delta", "came after the end")
            return {}
        if type(delta) is not dict or not delta:
            delta = {}
            if type(whole) is dict:
                delta = self._unsaid(whole)
            elif type(text) is str and text:
                delta = {"content": text}
        if not _OF_CHOICE.issuperset(choice):
            for name, value in choice.items():
                if name not in _OF_CHOICE and says_something(value):
                    self.losses.dropped(f"response.choices[0].{name}")
        number = choice_index(choice)
        return delta if number is None else self._owned(delta, number)

    def _unsaid(self, message: dict[str, Any]) -> dict[str, Any]:
        """A message behind deltas repeats them."""
        if not self.streamed:
            return dict(message)
        if self.grammar.next_block == 0 or self._messages is not None:
            if self._messages is None:
                self._messages = []
            return {**message, "content": self._news(text_in(message.get("content")))}
        said = {"refusal"} if self._text_length or self._refused else set()
        if self._calls.all:
            said |= {"tool_calls", "function_call"}
        news: dict[str, Any] = {name: message[name] for name in ("refusal", "tool_calls", "function_call")
                if name in message and name not in said}  # fmt: skip
        if text := self._news(text_in(message.get("content"))):
            news["content"] = text
        return news

    def _news(self, text: str) -> str:
        """What *text* of a message adds. It repeats all that was said; where messages come in place of deltas, it may
        be the next piece of it."""
        if self._messages is None:
            return text[self._text_length :]
        said = "".join(self._messages)
        piece = text[len(said) :] if text.startswith(said) else text
        self._messages = [said, piece]
        self.kept.add(len(piece))
        return piece

    def _owned(self, delta: dict[str, Any], number: int) -> dict[str, Any]:
        """No more than one answer was asked for, so what a choice beside the first says is another answer, unless the
        first says nothing at all; but calls that the first has not belong to it."""
        calls = any(says_something(delta.get(name)) for name in _CALLS)
        if calls and self._caller is None:
            self._caller = number
        if number == self._first_choice:
            if not self._spoken and any(says_something(delta.get(name)) for name in _SAID):
                self._spoken = True
                self._left_out(number + 1)
            return delta
        own = {name: delta[name] for name in _CALLS if name in delta} if self._caller == number else {}
        lost = {name: value for name, value in delta.items() if name not in own and name != "role"}
        if not self._spoken and (text := text_in(lost.pop("content", ""))):
            self._aside.append(text)
            self.kept.add(len(text))
        if says_something(lost):
            self._left_out(number, said=True)
        return own

    def _left_out(self, number: int, *, said: bool = False) -> None:
        if self._aside or said:
            self.losses.dropped(f"response.choices[{number}]", "another answer than the first")
        self._aside, self._aside_end = [], None

    def _heard_aside(self) -> Iterator[ResponseEvent]:
        """What another choice than the first has said, if the first said nothing."""
        if self._aside:
            yield from self._content("".join(self._aside))
        if self._aside_end is not None:
            yield from self._note_finish(*self._aside_end)

    def _ended_by(self, choice: dict[str, Any], finish: str) -> Iterable[ResponseEvent]:
        """Takes in how *choice* ended, if that is how the answer did, or may turn out to be."""
        if choice_index(choice) in (None, self._first_choice, self._caller):
            return self._note_finish(choice, finish)
        if finish and self._aside:
            self._aside_end = choice, finish
        return ()

    def on_done(self) -> Iterator[ResponseEvent]:
        if self._started:
            return self._end()
        return super().on_close()

    def on_close(self) -> Iterator[ResponseEvent]:
        return self._end() if self._finish is not None or self._aside_end is not None else super().on_close()

    # ---- whole

    def is_error(self, body: dict[str, Any]) -> bool:
        if super().is_error(body):
            return says_something(body.get("error")) or not any(map(_says_something, _choices(body)))
        return "choices" not in body and is_bare_error(body)

    def on_whole(self, body: dict[str, Any]) -> Iterator[ResponseEvent]:
        choices = _choices(body)
        if not choices:
            raise ProtocolError("choices", "there is none")
        self._note_usage(body, choices)
        self._first_choice = min(choice_index(choice) or 0 for choice in choices)
        yield self._start(body)
        for choice in choices:
            message = self._of_choice(choice, body)
            finish = _finish_of(choice) or _word(body.get("finish_reason"))
            if finish == "content_filter":
                # Why it was cut off, not what the model said: OpenAI's own refusals end with "stop".
                message = dict(message)
                self._details = {"explanation": message.pop("refusal", None)}
            yield from self._close_texts()
            yield from self._delta(message, whole=True)
            yield from self._ended_by(choice, finish)
        tier = body.get("service_tier")
        self._tier = tier if type(tier) is str else None
        yield from self._end()

    def _start(self, message: dict[str, Any]) -> ResponseStarted:
        self._started = True
        id_, model, created = message.get("id"), message.get("model"), message.get("created")
        extra = unread(message, _NO_NEWS)
        return ResponseStarted(
            id_ if type(id_) is str else "",
            model if type(model) is str and model else self.call.request.model,
            self._usage if self.streamed else Usage(),
            created if type(created) is int and 0 < created < 1 << 40 else None,
            extra,
        )

    # ---- the end

    def _note_finish(self, choice: dict[str, Any], finish: str) -> Iterator[ResponseEvent]:
        native, matched, details = (choice.get(x) for x in ("native_finish_reason", "stop_reason", "stop_details"))
        if type(native) is str and self._native is None:
            self._native = native
        if type(matched) is str and matched in self.call.request.sampling.stop:
            self._matched = matched
        if type(details) is dict:
            self._details = details
        if says_something(broken := choice.get("error")):
            # OpenRouter's: of the provider behind it.
            yield self.failure_of({"error": broken}, None if self.streamed else self.head.status)
            return
        if not finish:
            if says_something(choice.get("finish_reason")):
                self.losses.dropped("response.choices[0].finish_reason", "it cannot be read")
            return
        meaning = read_stop(finish)
        if isinstance(meaning, ErrorKind):
            yield self.failure(f"the upstream broke off: {finish}", meaning)
            return
        if self._stop_reason is None or self._stop_reason in _UNSURE:
            # It may come early, and again: what says that the answer is not whole holds.
            self._finish, self._stop_reason = finish, meaning or StopReason.OTHER
        if meaning is None:
            self.losses.add("response.choices[0].finish_reason", Action.DOWNGRADED, f"{finish!r} is not known")

    def _note_usage(self, message: dict[str, Any], choices: list[dict[str, Any]]) -> bool:
        """Whether there are counts. They are of the whole so far: the last ones hold."""
        usage = message.get("usage")
        for choice in choices:
            if type(usage) is not dict:
                usage = choice.get("usage")  # Moonshot
        if type(usage) is not dict:
            groq = message.get("x_groq")
            usage = groq.get("usage") if type(groq) is dict else None
        if type(usage) is not dict:
            return False
        self._usage = read_openais(usage)
        return True

    def _end(self) -> Iterator[ResponseEvent]:
        yield from self._heard_aside()
        for is_thinking, piece in self._tags.end() if self._tags else ():
            yield from self._think(piece) if is_thinking else self._say(piece)
        yield from self._close_all(last=True)
        explanation = self._details.get("explanation")
        if type(explanation) is not str:
            explanation = "".join(self._refused) or None
        yield ResponseEnded(
            self._stop(),
            self._usage,
            self._matched,
            self._native or self._finish,
            explanation,
            TIERS_READ.get(self._tier, self._tier) if self._tier else None,
        )

    def _stop(self) -> StopReason:
        stop = self._stop_reason or StopReason.OTHER
        if self._matched is not None and stop is StopReason.END:
            return StopReason.STOP_SEQUENCE
        if self._refused and stop is StopReason.END:
            return StopReason.REFUSAL
        if stop in (StopReason.TOOL_CALL, StopReason.END) and self._cut_call():
            return StopReason.MAX_TOKENS
        return stop

    def _cut_call(self) -> bool:
        """vLLM may say that it called a tool when it ran out of tokens in the midst of the call (vllm issue 53269)."""
        sent, answered = self.call.members, self._usage.output_tokens
        most = sent.get("max_completion_tokens", sent.get("max_tokens"))
        if most is None or answered is None or answered < most or not self._calls.all:
            return False
        last = self._calls.all[-1]
        return last.kind == "function" and bool(last.input.text) and not last.input.whole


def _choices(message: dict[str, Any]) -> list[dict[str, Any]]:
    choices = message.get("choices")
    if type(choices) is dict:
        # Of a server that has one only, or writes a list with its places (PHP).
        choices = [choices] if not all(type(each) is dict for each in choices.values()) else list(choices.values())
    return [each for each in choices if type(each) is dict] if type(choices) is list else []


def _says_something(choice: dict[str, Any]) -> bool:
    for name in ("delta", "message", "text"):
        said = choice.get(name)
        if says_something({**said, "role": None} if type(said) is dict else said):
            return True
    return False


def _more_text(message: dict[str, Any]) -> str | None:
    """The text of a chunk that only goes on with an open block of text, which by far the most chunks do."""
    choices = message.get("choices")
    if type(choices) is not list or len(choices) != 1 or type(choice := choices[0]) is not dict:
        return None
    if choice.get("finish_reason") or choice.get("index") or choice.get("usage") or message.get("usage"):
        return None
    delta = choice.get("delta")
    if type(delta) is not dict or "error" in message or "x_groq" in message or "finish_reason" in message:
        return None
    text = delta.get("content")
    plain = len(delta) == 1 or (len(delta) == 2 and "role" in delta)
    return text if plain and type(text) is str and text else None


def _read_text(data: bytes) -> str | None:
    try:
        message = decode(data, "")
    except ProtocolError:
        return None
    return _more_text(message) if type(message) is dict else None


def _finish_of(choice: dict[str, Any]) -> str:
    """The word by which *choice* says how it ended, wherever it stands; empty if it says none."""
    for members in (choice, choice.get("delta"), choice.get("message")):
        if type(members) is dict:
            for name in _FINISHES:
                if name in members and (word := _word(members[name])):
                    return word
    # Beside the API's own member these say something else: what the provider behind it called it, a stop sequence.
    native, matched = _word(choice.get("native_finish_reason")), _word(choice.get("stop_reason"))
    return native or (matched if matched and read_stop(matched) is not None else "")


def _word(said: Any) -> str:
    if type(said) is dict:
        said = next((said[name] for name in ("type", "reason", "value") if type(said.get(name)) is str), None)
    elif type(said) is list and said:
        said = said[0]
    return said if type(said) is str and said.strip() not in ("", "null") else ""
