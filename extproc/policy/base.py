"""What a policy is: it sees requests and answers in the vocabulary of ``llm/``, between the dialect that has read them
and the one that writes them, and says what is to go on. It knows no dialect, no Envoy, and does nothing by itself: what
it needs from another service it asks for as an effect.

A policy is one file with a function ``configure(given) -> make`` and one line in the registry. *given* are its members
as the operator wrote them, read once for a route; *make* makes the policy of one exchange, which may remember.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol

from ..effects import Effect, HttpCall, Result
from ..frozen import Frozen
from ..llm.embeddings import EmbedRequest
from ..llm.events import NO_USAGE, ResponseEvent, StopReason, Usage
from ..llm.losses import LossReport
from ..llm.request import Request


class PolicyError(Exception):
    """The operator's fault: what is wrong at *path* below ``policies``."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(problem)
        self.path = path
        self.problem = problem


class Unavailable(Exception):
    """A policy cannot say: the service that it asks gave no answer that could be used. What then becomes of the
    exchange is the operator's ``fail: open`` or ``closed``. *detail* is for the log, and shows nothing secret."""


class Deny(Frozen):
    """The exchange ends here: the client is told *text*. With *status* 200 as a complete answer, whole or streamed as
    it asked, of a model that has refused (*worded*: in the place that the API has for a refusal in words, if any), or,
    without *refusal*, that has just said so; from 400 on as an error in its own shape, of *code*."""

    text: str
    status: int = 200
    code: str = "content_policy_violation"
    refusal: bool = True
    worded: bool = False

    @property
    def stop(self) -> StopReason:
        return StopReason.REFUSAL if self.refusal else StopReason.END


class Window(Frozen):
    """How a policy looks at answers. *chars*: it is told of so many characters of text, thinking and tools' input at a
    time; 0: of what comes together. The rest, however short, comes with the answer's end. With *hold* nothing goes on
    that it has not been told of; without, it is told of what has gone on already, and cannot change it."""

    chars: int = 0
    hold: bool = True


ALL_OF_IT = 1 << 62
"""``Window.chars`` of a policy that judges an answer at its end."""


class Served(Protocol):
    """A provider's API that the operator has named in a policy's members: where it is, and by which credential it is
    asked. Policies keep it, and have it asked; what it is made of its maker knows."""

    def call(self, path: str, body: bytes, *, seconds: float, now: float) -> HttpCall:
        """*body*, which is JSON and may be asked twice, posted to *path* there with its credential; *now* in Unix
        seconds. Raises Unavailable while there is no credential."""
        ...


class ModelAnswer(Frozen):
    """What a model has answered, whole."""

    text: str
    model: str = ""
    usage: Usage = NO_USAGE


class Models(Protocol):
    """Asks models in the APIs that they have. *seconds*: for the whole of it. Both raise Unavailable."""

    def answer(self, served: Served, system: str, text: str, seconds: float) -> Generator[Effect, Result, ModelAnswer]:
        """What the model answers to a user who says *text*, under the system prompt *system*."""
        ...

    def vector(self, served: Served, text: str, seconds: float) -> Generator[Effect, Result, list[float]]:
        """*text* embedded, to look for what is like it."""
        ...


class Context(Frozen):
    """What a policy may know of its exchange beside request and answer. *losses*: what it leaves out or changes is
    reported there, by the path in the client's request. *facts*: text, numbers and truth for Envoy's dynamic metadata,
    by names that begin with the policy's own. *models*: whom it can have asked."""

    client: str
    upstream: str
    provider: str
    request_id: str
    now: float
    losses: LossReport
    facts: dict[str, Any]
    models: Models


Asking = Generator[Effect, Result, Any]
"""A judgement that takes a call to a service: it yields the effect, is sent what came of it, and returns."""


class Policy:
    """One policy in one exchange. ``on_body`` comes first, then ``on_request``, once; then ``on_events`` as ``window``
    says. Of a request for vectors it sees ``on_embed`` alone, of one for a count of tokens ``on_request`` alone, if it
    ``counts``. Each returns what is to go on (what it was given, if nothing changes) or ``Deny``; or it is a generator
    that does so in the end.
    """

    window: Window | None = None
    """``None``: it does not look at answers, and they pass without being held or read for it."""
    counts: bool = False
    """Whether ``on_request`` also sees a request that only asks for the number of its tokens, which a provider reads as
    any other: for a policy that asks nobody. To deny one is an error."""

    def on_body(self, body: bytes) -> bytes | Deny | Asking:
        """What the client sent, unread: for what is no request of its API yet. All policies are asked before the first
        of them sees the request."""
        return body

    def on_request(self, request: Request) -> Request | Deny | Asking:
        """The client's request."""
        return request

    def on_embed(self, request: EmbedRequest) -> EmbedRequest | Deny | Asking:
        """The client's request for vectors, of which the texts alone may change. A policy without this has nothing to
        say of such a request. The answer holds no text, and is not looked at."""
        return request

    def on_events(self, events: list[ResponseEvent], last: bool) -> list[ResponseEvent] | Deny | Asking:
        """The next part of an answer; *last*: ``ResponseEnded`` is in it. What is returned must be as legal as what was
        given (``llm/grammar.py``): a block that is left out is left out whole. Not asked about errors of the upstream.
        """
        return events


Make = Callable[[Context], Policy]


class Configured(Frozen):
    """A policy as a route has it."""

    name: str
    make: Make
    fail_open: bool = False
    """When it cannot say, the exchange goes on as if it were not there; else the client gets an error."""
    quiet: bool = False
    """And no line in the log says so; the record does."""
    guards: bool = False
    """What it cannot look at does not pass unless the route names it."""
    asks: bool = False
    """It asks a service, for which a message waits."""
