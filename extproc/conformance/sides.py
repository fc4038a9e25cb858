"""Both ends of an exchange, in a dialect's own words: who asks, and who is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from .. import dialects
from ..capabilities import Capabilities
from ..dialects.base import (
    Answering,
    ClientCall,
    Dialect,
    Env,
    Headers,
    Meta,
    ResponseHead,
    Upstream,
    UpstreamCall,
    encode,
)
from ..llm.events import ResponseEvent, ResponseFailed
from ..llm.fold import Folded, ToolCallBlock, folded
from ..llm.losses import LossReport
from ..llm.request import Message, Request, ToolCall, ToolResult
from ..providers import PROVIDERS, native_to
from ..settings import Limits

MODELS = {
    "openai_chat": ("gpt-5.4-mini", "gpt-audio"),
    "openai_responses": ("gpt-5.4-mini", "gpt-audio"),
    "anthropic_messages": ("claude-opus-4-8", "claude-haiku-4-5"),
    "bedrock_converse": ("anthropic.claude-opus-4-8", "anthropic.claude-haiku-4-5"),
    "gemini": ("gemini-2.5-flash", "gemini-2.5-flash"),
}
"""For each API a model that can do all that it has, and one that can be told how to choose its tokens: models that
reason often cannot."""
_decode = msgspec.json.Decoder().decode
NOW = 1_767_225_600.0
"""Seconds; any will do, as long as it is always the same."""


_ANYTHING = Capabilities(
    cache_control=True, cache_points=True, call_signatures=True, hosted_search=True, web_search=True,
    reasoning_field="reasoning_details", thinking="adaptive", budget_too=True, top_k=True,
)  # fmt: skip
"""A client says all that its API has words for, whoever may be asked."""


def _anyone(name: str, model: str) -> Upstream:
    provider = native_to(name)
    endpoint = PROVIDERS[provider].dialects[name]
    return Upstream(provider, endpoint.path, _ANYTHING, model, endpoint.verbs)


_Turn = Callable[[Any], list[Any]]
_TURNS: dict[str, tuple[str, _Turn]] = {
    "openai_chat": ("messages", lambda answer: [answer["choices"][0]["message"]]),
    "anthropic_messages": ("messages", lambda answer: [{"role": "assistant", "content": answer["content"]}]),
    "openai_responses": ("input", lambda answer: answer["output"]),
    "gemini": ("contents", lambda answer: [answer["candidates"][0]["content"]]),
    "bedrock_converse": ("messages", lambda answer: [answer["output"]["message"]]),
}
"""Where a request of an API has the conversation, and what of an answer its clients put there."""


class AskingSide:
    """Who speaks dialect *name*, and asks for *model*."""

    def __init__(self, name: str, model: str) -> None:
        self.dialect: Dialect = dialects.get(name)
        self.model = model

    def asks(self, request: Request) -> tuple[ClientCall, Request]:
        """*request* as this client sends it, and what of it this API can say. Raises Unsupported."""
        asked = replace(request, dialect=self.dialect.name, model=self.model)
        made = self.dialect.emit_request(asked, _anyone(self.dialect.name, self.model), LossReport())
        call = as_call(made)
        return call, self.dialect.parse_request(call, LossReport())

    def asks_again(self, call: ClientCall, request: Request, answer: bytes) -> ClientCall:
        """*call* with the whole *answer* that it got, as it came, and a result for the call that is in it: what an
        agent sends next."""
        member, turn = _TURNS[self.dialect.name]
        said = turn(_decode(answer))
        made = [ToolCall(block.id, block.name, block.input) for block in self._calls(request, answer)]
        results = [Message("tool", [ToolResult(block.id, "18 degrees") for block in made])]
        history = [*request.messages, Message("assistant", [*made]), *results]
        last = _decode(self.asks(replace(request, messages=history))[0].body)[member][-1]
        body = _decode(call.body)
        return replace(call, body=encode({**body, member: [*body[member], *said, last]}))

    def _calls(self, request: Request, answer: bytes) -> list[ToolCallBlock]:
        read = self.reads(self.asks(request)[1], ResponseHead(200, [("content-type", "application/json")]), answer)
        return [block for block in read.blocks if isinstance(block, ToolCallBlock)]

    def reads(self, asked: Request, head: ResponseHead, body: bytes) -> Folded:
        """The answer to *asked*."""
        call = UpstreamCall("POST", "", [], {}, asked)
        parser = self.dialect.response_parser(call, head, Limits(), LossReport())
        return folded([*parser.feed(body), *parser.end()])


class AskedSide:
    """Who is asked in dialect *name*."""

    def __init__(self, name: str) -> None:
        self.dialect: Dialect = dialects.get(name)

    def reads(self, call: ClientCall) -> Request:
        """Raises ProtocolError, Unsupported."""
        return self.dialect.parse_request(call, LossReport())

    def answers(self, request: Request, events: Sequence[ResponseEvent]) -> tuple[ResponseHead, list[bytes]]:
        """Head and pieces of the answer that tells *events*."""
        if isinstance(events[0], ResponseFailed):
            head, body = self.dialect.emit_error(events[0], Meta())
            return head, [body]
        media_type = self.dialect.stream_type if request.stream else "application/json"
        upstream = ResponseHead(200, [("content-type", media_type)])
        answering = Answering(request, upstream, Meta(), Env(NOW, "conformance"), LossReport())
        emitter = self.dialect.response_emitter(answering)
        pieces = [emitter.emit(event) for event in events]
        return emitter.head, [piece for piece in pieces if piece]


def as_call(made: UpstreamCall) -> ClientCall:
    """What is sent as it arrives."""
    headers: Headers = [("content-type", "application/json"), *made.headers]
    return ClientCall(made.method, made.path, headers, encode(made.members))


def broken_off(pieces: Sequence[bytes]) -> list[bytes]:
    """The first half of an answer."""
    return list(pieces[: max(1, len(pieces) // 2)])
