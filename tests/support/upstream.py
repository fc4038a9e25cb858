"""A scripted upstream for tests: answers what the test put down, else as the demo's provider does."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from extproc.demo.provider import Received, Respond, ScriptedAnswer, ScriptedProvider, json_answer, sse_answer


class ScriptedUpstream(ScriptedProvider):
    """``will`` puts down the next answers; without one the request goes to *usual*."""

    def __init__(self, usual: Respond) -> None:
        super().__init__(self._next)
        self._usual = usual
        self._script: deque[ScriptedAnswer] = deque()

    def will(self, *answers: ScriptedAnswer) -> None:
        self._script.extend(answers)

    def _next(self, request: Received) -> ScriptedAnswer:
        try:
            return self._script.popleft()
        except IndexError:
            return self._usual(request)

    def reset(self) -> None:
        """Forget the script and what was received."""
        self._script.clear()
        self.received.clear()
        self.gone = 0

    def always(self, answer: Callable[[Received], ScriptedAnswer]) -> Callable[[], None]:
        """Give *answer* to every request until the returned function is called."""
        usual, self._usual = self._usual, answer

        def undo() -> None:
            self._usual = usual

        return undo

    @property
    def last(self) -> Received:
        return self.received[-1]

    def idle(self, within: float = 5.0) -> bool:
        """Whether no exchange is open, now or *within* so many seconds."""
        return eventually(lambda: self.open == 0, within)


def eventually(holds: Callable[[], bool], within: float = 20.0) -> bool:
    """Whether *holds* becomes true *within* so many seconds."""
    until = time.monotonic() + within
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def whole_lines(file: Path) -> list[bytes]:
    """The lines of *file*, to which a process writes, without one that is not ended; none before the file is there."""
    return file.read_bytes().rpartition(b"\n")[0].splitlines() if file.exists() else []


def events(*values: Any, done: bool = False) -> list[bytes]:
    """Values as the ``data`` of events, named by their ``type`` where they have one; with OpenAI's end if *done*."""
    made = []
    for value in values:
        name = f"event: {value['type']}\n".encode() if "type" in value else b""
        made.append(name + b"data: " + msgspec.json.encode(value) + b"\n\n")
    return [*made, b"data: [DONE]\n\n"] if done else made


def chat(content: str | None = "hi", *, finish: str = "stop", **message: Any) -> ScriptedAnswer:
    """A whole Chat Completions answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    usage = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}
    base = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-5"}
    return json_answer({**base, "choices": [choice], "usage": usage})


def chat_chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    """One chunk of a Chat Completions stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5", "choices": [choice]}


def chat_stream(
    *deltas: dict[str, Any], finish: str | None = "stop", done: bool = True, **options: Any
) -> ScriptedAnswer:
    """A Chat Completions stream of *deltas*."""
    chunks = [chat_chunk(role="assistant", content=""), *(chat_chunk(**delta) for delta in deltas)]
    if finish:
        chunks.append(chat_chunk(finish))
        usage = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}
        chunks.append({**chat_chunk(), "choices": [], "usage": usage})
    return sse_answer(events(*chunks, done=done), **options)


def message(*content: dict[str, Any], stop: str = "end_turn", **members: Any) -> dict[str, Any]:
    """A Messages answer."""
    usage = {"input_tokens": 11, "output_tokens": 5, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    base = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5"}
    return {**base, "content": list(content), "stop_reason": stop, "stop_sequence": None, "usage": usage, **members}


def message_events(*blocks: Sequence[dict[str, Any]], stop: str | None = "end_turn") -> list[Any]:
    """The events of a Messages stream: of each block its start, then its deltas. Without *stop* the end is missing."""
    made: list[Any] = [{"type": "message_start", "message": {**message(), "stop_reason": None}}]
    for index, (start, *deltas) in enumerate(blocks):
        made.append({"type": "content_block_start", "index": index, "content_block": start})
        made += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        made.append({"type": "content_block_stop", "index": index})
    if stop:
        delta = {"stop_reason": stop, "stop_sequence": None}
        made.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 5}})
        made.append({"type": "message_stop"})
    return made


def text_block(*texts: str) -> list[dict[str, Any]]:
    """A text block for ``message_events``."""
    return [{"type": "text", "text": ""}, *({"type": "text_delta", "text": text} for text in texts)]
