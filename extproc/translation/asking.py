"""Models that policies ask: each in the API that its provider has, by a translation of its own."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final, Protocol, cast

import msgspec

from ..capabilities import Capabilities
from ..dialects import registry
from ..dialects.base import GivesVectors, Headers, ResponseHead, Upstream, UpstreamCall, encode
from ..effects import Effect, HttpAnswer, HttpCall, Result
from ..llm.events import StopReason
from ..llm.failures import ProtocolError
from ..llm.fold import TextBlock, folded
from ..llm.losses import LossReport
from ..llm.request import Message, Request
from ..policy import base as policy
from ..route.route import Route
from ..route.served import ServedRoute
from ..route.text import RouteError
from ..settings import Limits
from .calls import Answer, Call, Refused

MAX_ANSWER: Final = 8 * 1024 * 1024
"""Bytes of a model's answer to a policy."""
JSON: Final[Headers] = [("content-type", "application/json")]


class Aside(Protocol):
    """A ``Translation``, as far as it is needed here."""

    head: ResponseHead

    def request(self, body: bytes, method: str = "POST", path: str = "") -> Call | Answer: ...

    def response_head(self, status: int, headers: Headers) -> None: ...

    def response_body(self, chunk: bytes, end_of_stream: bool = False) -> bytes: ...


Begin = Callable[[str, Route], Aside]
"""Makes the exchange of a client of that dialect on that route."""


class ModelAsker:
    """See ``policy.base.Models``."""

    def __init__(self, begin: Begin, limits: Limits) -> None:
        self._begin = begin
        self._limits = limits

    def answer(
        self, served: policy.Served, system: str, text: str, seconds: float
    ) -> Generator[Effect, Result, policy.ModelAnswer]:
        asker = registry.get(registry.FALLBACK)
        whom = cast(ServedRoute, served)
        model = whom.route.model or ""
        said = Request(
            dialect=asker.name,
            model=model,
            system=[Message("system", system)],
            messages=[Message("user", text)],
        )
        emitted = asker.emit_request(said, Upstream("", "", Capabilities(), model), LossReport())
        body = yield from self._asked(asker.name, whom, asker.paths[0], emitted.members, seconds)
        call = UpstreamCall("POST", "", [], {}, said)
        parser = asker.response_parser(call, ResponseHead(200, JSON), self._limits, LossReport())
        answer = folded([*parser.feed(body), *parser.end()])
        if answer.ended is None or answer.ended.stop not in (StopReason.END, StopReason.STOP_SEQUENCE):
            why = "in an error" if answer.ended is None else f"by {answer.ended.stop.value}"
            raise policy.Unavailable(f"the model's answer has ended {why}")
        found = "".join(block.text for block in answer.blocks if isinstance(block, TextBlock))
        return policy.ModelAnswer(found, (answer.started and answer.started.model) or model, answer.usage)

    def vector(self, served: policy.Served, text: str, seconds: float) -> Generator[Effect, Result, list[float]]:
        asker = registry.get(registry.EMBEDDINGS)
        whom = cast(ServedRoute, served)
        model = whom.route.model or ""
        members = {"model": model, "input": text}
        if whom.route.target(asker.name, None, model).dialect != asker.name:
            # OpenAI's own models make one vector for every purpose, and its API would not take the word.
            members["input_type"] = "query"
        body = yield from self._asked(asker.name, whom, asker.paths[0], members, seconds)
        try:
            (item,) = cast(GivesVectors, asker).read_vectors(ResponseHead(200, JSON), body).items
            vector: list[float] = msgspec.json.decode(item, type=list[float])
        except (ProtocolError, msgspec.DecodeError, ValueError):
            raise policy.Unavailable("the embedding model's answer has no vector in it") from None
        return vector

    def _asked(
        self, client: str, served: ServedRoute, path: str, members: dict[str, Any], seconds: float
    ) -> Generator[Effect, Result, bytes]:
        """The answer's body in the API *client*, to the request of *members* at *path*. Raises Unavailable."""
        fetched = served.route.begin()
        if fetched is not None:
            yield fetched
        exchange = self._begin(client, served.route)
        try:
            call = exchange.request(encode(members), "POST", path)
        except (Refused, RouteError) as error:
            raise policy.Unavailable(f"the model cannot be asked: {error}") from None
        if isinstance(call, Answer):
            raise policy.Unavailable("the model cannot be asked")
        url = served.origin + call.full_path()
        headers, safe = tuple(call.all_headers()), client == registry.EMBEDDINGS
        # An answer is not had twice for the same money.
        result = yield HttpCall(url, call.method, headers, call.body, seconds, MAX_ANSWER, safe)
        if not isinstance(result, HttpAnswer):
            raise policy.Unavailable(f"no answer of the model's: {result}")
        exchange.response_head(result.status, list(result.headers))
        body = exchange.response_body(result.body, True)
        if result.status != 200 or exchange.head.status != 200:
            raise policy.Unavailable(f"the model's provider answered {result.status}")
        return body
