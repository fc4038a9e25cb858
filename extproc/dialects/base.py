"""What a dialect must offer, and what every dialect's parser and emitter share.

A dialect is one wire API: it reads and writes requests, responses, streams and errors in that API's own words. It knows
no other dialect. Everything here is pure: no I/O, no clock; what is needed from outside arrives in a constructor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable
from urllib.parse import quote, unquote

from ..headers import Headers as Headers
from ..llm import signers
from ..llm.embeddings import EmbedRequest, Vectors
from ..llm.events import (
    NO_USAGE,
    BlockEnded,
    ResponseEnded,
    ResponseEvent,
    ResponseFailed,
    ResponseStarted,
    StopReason,
    TextDelta,
    TextStarted,
    Usage,
)
from ..llm.failures import ErrorKind
from ..llm.kept import Kept
from ..llm.losses import LossReport
from ..llm.models import Model
from ..llm.request import Request
from ..llm.signers import CLAUDE
from ..settings import Limits
from .values import NO_TRAITS as NO_TRAITS
from .values import STREAM_TYPES as STREAM_TYPES
from .values import Answering as Answering
from .values import Asked as Asked
from .values import ClientCall as ClientCall
from .values import Env as Env
from .values import Members as Members
from .values import Meta as Meta
from .values import Opened as Opened
from .values import Operation as Operation
from .values import ResponseHead as ResponseHead
from .values import Traits as Traits
from .values import Undo as Undo
from .values import Upstream as Upstream
from .values import UpstreamCall as UpstreamCall
from .values import Verbs as Verbs
from .values import bare as bare
from .values import encode as encode
from .values import in_path as in_path
from .values import is_stream as is_stream
from .values import member_at as member_at
from .values import top_level as top_level
from .values import value_of as value_of


class ResponseParser(Protocol):
    """The upstream's bytes to events: streamed or whole, success or error. One per response. What a stream makes it and
    an emitter keep is bounded by ``kept``."""

    kept: Kept

    def feed(self, data: bytes) -> list[ResponseEvent]: ...

    def end(self) -> list[ResponseEvent]:
        """The upstream has ended. Never raises; a broken response ends in ResponseFailed."""
        ...


class ResponseEmitter(Protocol):
    """Events to the client's bytes. One per response. ``head`` holds the status and the headers that this dialect sets:
    final at once when streamed, with the last byte when whole."""

    head: ResponseHead

    @property
    def keeps_texts(self) -> bool:
        """Texts stay here until the end of the response."""
        ...

    @property
    def failed(self) -> ResponseFailed | None:
        """A failure that no event told of, found in writing; the response is over."""
        ...

    def emit(self, event: ResponseEvent) -> bytes: ...


@runtime_checkable
class Dialect(Protocol):
    """One wire API. Stateless. Derive it from ``DialectBase``, which knows what most of them have in common."""

    name: str
    paths: tuple[str, ...]
    """How the path of a client's request ends when it speaks this dialect (the query left off)."""
    root: str
    """A pattern: what stands before each of ``paths`` where the API is mounted at a host's root."""
    converses: bool
    """It holds conversations, which the vocabulary of ``llm`` can tell, streamed or whole. Others only pass through."""
    limits: tuple[str, ...]
    """The top-level members that bound the size of an answer. Of several an upstream knows one (``token_field``)."""
    places: Mapping[str, str]
    """Where a route's options stand in a body, by the names that most APIs have for them, where it is not at its top:
    ``{"temperature": "generationConfig.temperature"}``."""
    stream_type: str
    """The content type of its streams."""
    headers: tuple[str, ...]
    """The headers of its own that a client sends and a same-dialect upstream gets, in lower case."""
    end_users: tuple[str, ...]
    """Where a request says for whom it is, the newer place first; the names of members joined by dots."""

    # ---- a client's request, unread

    def claims(self, members: dict[str, Any]) -> bool:
        """Whether a body with these top-level members speaks this dialect. Asked only when the path says nothing."""
        ...

    def operation(self, path: str) -> Operation:
        """What a request at *path*, one of ``paths``, asks for."""
        ...

    def peek(self, path: str, members: Mapping[str, Any]) -> Asked:
        """What a request at *path* (with its query) asks for. *members* are its body's, as ``top_level`` gives them. A
        member of a wrong type counts as absent. Never raises."""
        ...

    def rename(self, path: str, members: dict[str, Any], model: str) -> tuple[str, dict[str, Any]]:
        """The request's path and members with *model* for its model, everything else as it was. Neither argument is
        changed."""
        ...

    def traits(self, members: Mapping[str, Any]) -> Traits:
        """What a request with these *members* offers, and for whom. What cannot be read counts as absent. Never
        raises."""
        ...

    def signer(self, provider: str, model: str) -> str:
        """Whose the seals are that *model* at *provider* gives with its thinking, where it speaks this dialect (see
        ``llm.signers``)."""
        ...

    def mend(self, body: bytes, losses: LossReport, signer: str = CLAUDE) -> bytes:
        """A request that goes to an upstream of this same dialect: *body* itself, or without what an earlier turn's
        translation left in it and this API would refuse. *signer*: whose signatures the upstream takes
        (``llm.signers``), where the dialect serves several makers. Never raises."""
        ...

    # ---- requests

    def address(self, upstream: Upstream, asked: Asked) -> tuple[str, str]:
        """Method and path of the request that has *upstream* do what was *asked*. Raises Unsupported."""
        ...

    def parse_request(self, call: ClientCall, losses: LossReport) -> Request:
        """Raises ProtocolError or Unsupported."""
        ...

    def emit_request(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        """Raises Unsupported. A request of this same dialect, with its ``source``, is given back as it was sent, but
        for what was changed since."""
        ...

    # ---- responses

    def response_parser(
        self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport
    ) -> ResponseParser: ...

    def response_emitter(self, answering: Answering) -> ResponseEmitter: ...

    def read_meta(self, head: ResponseHead, env: Env) -> Meta:
        """What this dialect's response headers say."""
        ...

    # ---- answers of our own

    def emit_error(self, failed: ResponseFailed, meta: Meta) -> tuple[ResponseHead, bytes]:
        """An error response with nothing before it, in this dialect's own shape."""
        ...

    def deny(
        self,
        request: Request,
        text: str,
        env: Env,
        usage: Usage = NO_USAGE,
        model: str = "",
        stop: StopReason = StopReason.REFUSAL,
        worded: bool = False,
    ) -> tuple[ResponseHead, bytes]:
        """A complete answer to *request*, streamed if it asked for a stream, that says *text* and, by *stop*, that the
        model has refused, *worded*: in the place that the API has for such words; an error where the dialect's answers
        hold no text. *model* is who is said to answer, if not the one that was asked."""
        ...


class DialectBase:
    """What most wire APIs have in common: a JSON body that names the model and whether to stream at its top; a path
    that depends on the model alone, or on ``verbs`` as well; server-sent events."""

    limits: tuple[str, ...] = ()
    places: Mapping[str, str] = {}
    stream_type = "text/event-stream; charset=utf-8"
    headers: tuple[str, ...] = ()
    end_users: tuple[str, ...] = ()
    verbs: Verbs | None = None

    def operation(self, path: str) -> Operation:
        return Operation.ANSWER

    def peek(self, path: str, members: Mapping[str, Any]) -> Asked:
        model = value_of(members, "model")
        stream = value_of(members, "stream") is True
        return Asked(model if type(model) is str else "", stream, self.operation(path))

    def rename(self, path: str, members: dict[str, Any], model: str) -> tuple[str, dict[str, Any]]:
        return path, {**members, "model": model}

    def traits(self, members: Mapping[str, Any]) -> Traits:
        said = (member_at(members, place) for place in self.end_users)
        return Traits(self.offered(members), next((who for who in said if type(who) is str and who), ""))

    def offered(self, members: Mapping[str, Any]) -> int:
        """How many tools a request with these *members* offers."""
        tools = member_at(members, "tools")
        return len(tools) if type(tools) is list else 0

    def signer(self, provider: str, model: str) -> str:
        return signers.signer(provider, model)

    def mend(self, body: bytes, losses: LossReport, signer: str = CLAUDE) -> bytes:
        return body

    def address(self, upstream: Upstream, asked: Asked) -> tuple[str, str]:
        return "POST", upstream.at(asked, self.verbs)

    def deny(
        self: Any,
        request: Request,
        text: str,
        env: Env,
        usage: Usage = NO_USAGE,
        model: str = "",
        stop: StopReason = StopReason.REFUSAL,
        worded: bool = False,
    ) -> tuple[ResponseHead, bytes]:
        dialect: Dialect = self
        if not dialect.converses:
            failed = ResponseFailed(ErrorKind.INVALID_REQUEST, text, 400, "content_policy_violation", ours=True)
            return dialect.emit_error(failed, Meta())
        media_type = dialect.stream_type if request.stream else "application/json"
        upstream = ResponseHead(200, [("content-type", media_type)])
        emitter = dialect.response_emitter(Answering(request, upstream, Meta(), env, LossReport()))
        denial = _denial(text, env, usage, model or request.model, stop, worded)
        body = b"".join([emitter.emit(event) for event in denial])
        return emitter.head, body


class ModelInPath(DialectBase):
    """An API whose path names the model, in the segment that ends with one of ``paths`` or stands before it, and says
    by its verb whether to stream: ``/model/{model}/converse-stream``, ``/models/{model}:generateContent``."""

    paths: tuple[str, ...] = ()
    verbs: Verbs

    def peek(self, path: str, members: Mapping[str, Any]) -> Asked:
        _, model, after = self._split(path)
        stream = after.partition("?")[0].rstrip("/") == bare(self.verbs[True])
        return Asked(unquote(model), stream, self.operation(path))

    def rename(self, path: str, members: dict[str, Any], model: str) -> tuple[str, dict[str, Any]]:
        before, _, after = self._split(path)
        return f"{before}{quote(model, safe='')}{after}", members

    def _split(self, path: str) -> tuple[str, str, str]:
        """*path* before the model's name, that name as it stands there, and what follows."""
        bare = path.partition("?")[0].rstrip("/")
        end = max((end for end in self.paths if bare.endswith(end)), key=len, default="")
        before, slash, model = bare.removesuffix(end).rpartition("/")
        return before + slash, model, path[len(bare) - len(end) :]


def _denial(text: str, env: Env, usage: Usage, model: str, stop: StopReason, worded: bool) -> list[ResponseEvent]:
    return [
        ResponseStarted(env.request_id, model, usage, int(env.now) or None),
        TextStarted(0, worded),
        TextDelta(0, text),
        BlockEnded(0),
        ResponseEnded(stop, usage),
    ]


# ---- what a dialect may be able to do besides


@runtime_checkable
class CountsTokens(Protocol):
    """A dialect whose API tells how many tokens a request has (``Operation.COUNT``)."""

    def count_address(self, upstream: Upstream, asked: Asked) -> tuple[str, str] | None:
        """Method and path of that question to *upstream*, which speaks this dialect; ``None`` where it is not known."""
        ...

    def estimate(self, call: ClientCall) -> bytes:
        """The answer to *call* without an upstream. Raises ProtocolError, Unsupported."""
        ...


@runtime_checkable
class AsksForCounts(Protocol):
    """A dialect whose clients can be told the number of their tokens by an upstream of another: see ``GivesCounts``."""

    def parse_count(self, call: ClientCall) -> Request:
        """What *call* asks the number of tokens of. Raises ProtocolError, Unsupported."""
        ...

    def write_count(self, tokens: int) -> bytes:
        """The client's answer."""
        ...


@runtime_checkable
class GivesCounts(Protocol):
    """A dialect whose upstreams tell how many tokens a request has."""

    def emit_count(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall | None:
        """The question to *upstream*; ``None`` where nobody knows how to ask it. Raises Unsupported."""
        ...

    def read_count(self, body: bytes) -> int | None:
        """The number in the upstream's answer; ``None`` when there is none."""
        ...


@runtime_checkable
class AsksForVectors(Protocol):
    """A dialect whose clients ask for embeddings, of whichever upstream ``GivesVectors``."""

    words: tuple[str, ...]
    """Members of a request, beside the model and the inputs, for which every API of embeddings has its own word."""

    def parse_embed(self, call: ClientCall, losses: LossReport) -> EmbedRequest:
        """Raises ProtocolError, Unsupported."""
        ...

    def write_vectors(self, request: EmbedRequest, vectors: Vectors) -> bytes:
        """The client's whole answer. *request* is what ``llm.embeddings.remembered`` leaves of it. Raises
        ProtocolError."""
        ...


@runtime_checkable
class GivesVectors(Protocol):
    """A dialect whose upstreams give embeddings. Its answers are whole."""

    def emit_embed(self, request: EmbedRequest, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        """Raises Unsupported."""
        ...

    def read_vectors(self, head: ResponseHead, body: bytes) -> Vectors:
        """Raises ProtocolError."""
        ...


@runtime_checkable
class PassesUnread(Protocol):
    """A dialect whose requests go on as they came, to the same place of the upstream's API. A request that names no
    model, or whose model nobody asks for, is not read at all."""

    name: str

    def speaks(self, path: str, headers: Headers) -> bool:
        """Whether a request at *path*, one of its own, with *headers* is of this API, where others have that path as
        well."""
        ...

    def endpoint(self, path: str) -> str:
        """The name of the endpoint that a client's *path* leads to; empty if it is none of these."""
        ...

    def prefix(self, path: str) -> str:
        """What stands before the API in a client's *path*."""
        ...

    def may_name_model(self, call: ClientCall) -> bool:
        """Whether the body of *call* may name a model; its head alone is asked."""
        ...

    def model_of(self, call: ClientCall) -> str:
        """The model that *call* names; empty if none. Raises ProtocolError."""
        ...

    def renamed(self, call: ClientCall, model: str) -> ClientCall:
        """*call* with *model*, every other byte as it was. Raises ProtocolError."""
        ...

    def place(self, upstream: Upstream, path: str, model: str) -> str:
        """The upstream's path for what a client asks at *path*, without the client's query. Raises Unsupported."""
        ...


@runtime_checkable
class ListsModels(Protocol):
    """A dialect whose API tells which models there are."""

    def asks_for_models(self, path: str, headers: Headers) -> bool:
        """Whether a GET at *path*, which other APIs have as well, can only be a client's of this one."""
        ...

    def one_model(self, model: Model) -> bytes: ...

    def all_models(self, models: Sequence[Model], query: str) -> bytes:
        """As far as *query* asks for them. Raises ProtocolError."""
        ...


class Sieve(Protocol):
    """A stream's bytes, less what the client did not ask for, or with what it has to be told besides."""

    def feed(self, chunk: bytes) -> bytes: ...

    def end(self) -> bytes:
        """What is left when the stream has ended."""
        ...


@runtime_checkable
class UsageOnDemand(Protocol):
    """A dialect whose streams tell what was used only if they are asked to."""

    def asking_for_usage(self, members: Mapping[str, Any]) -> dict[str, Any] | None:
        """A request's *members* (see ``top_level``) and that its stream shall tell; ``None`` if it is no stream, or
        says something of that itself. The argument is not changed."""
        ...

    def without_usage(self, limits: Limits) -> Sieve:
        """Takes what was asked so out of the stream again."""
        ...


class Labelling(Sieve, Protocol):
    """Says in an answer that passes whose signatures stand in it."""

    def whole(self, body: bytes) -> bytes:
        """A body that is no stream."""
        ...


@runtime_checkable
class LabelsThinking(Protocol):
    """A dialect that several makers speak, none of whom takes back what another one signed."""

    def labels(self, signer: str, limits: Limits) -> Labelling | None:
        """``None`` where the answer needs none."""
        ...
