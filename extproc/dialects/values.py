"""What goes into a dialect and comes out of it, as values."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from ..capabilities import Capabilities
from ..frozen import Frozen
from ..headers import Headers
from ..llm.failures import ProtocolError, Unsupported
from ..llm.losses import LossReport
from ..llm.request import Request

Members = dict[str, Any]
"""A JSON object, decoded."""

encode: Final = msgspec.json.Encoder().encode
"""Compact JSON, key order kept, non-ASCII as UTF-8."""

_decode_top_level: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_value: Final = msgspec.json.Decoder().decode


def top_level(body: bytes) -> dict[str, Any]:
    """The members of a request's body, each still as its bytes (``msgspec.Raw``). Raises ProtocolError."""
    try:
        return _decode_top_level(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError("", f"the request body is not a JSON object: {error}") from None


def value_of(members: Mapping[str, Any], name: str) -> Any:
    """Member *name* as a value, decoded or not before; ``None`` if there is none. Raises ProtocolError: its bytes may
    be no Unicode, or a number that none can hold."""
    value = members.get(name)
    if type(value) is not msgspec.Raw:
        return value
    try:
        return _decode_value(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(name, f"cannot be read: {error}") from None


def member_at(members: Mapping[str, Any], place: str) -> Any:
    """What stands at *place*, the names of members joined by dots; ``None`` where nothing does that can be read."""
    outer, _, inner = place.partition(".")
    try:
        value = value_of(members, outer)
    except ProtocolError:
        return None
    if not inner:
        return value
    return member_at(value, inner) if type(value) is dict else None


class Opened:
    """The outermost members of one *body*, as ``top_level`` gives them: whoever has looked at them hands them on, for
    all of a body is gone through to find them."""

    __slots__ = ("body", "members")

    def __init__(self, body: bytes, members: dict[str, Any]) -> None:
        self.body = body
        self.members = members


class ClientCall(Frozen):
    """What the client sent."""

    method: str
    path: str
    headers: Headers
    body: bytes
    opened: Opened | None = None
    """Of this body, or of one that stood in its place before."""

    @property
    def is_opened(self) -> bool:
        """The body's members have been looked at."""
        return self.opened is not None and self.opened.body is self.body

    def members(self) -> dict[str, Any]:
        """The body's members (see ``top_level``), the caller's own. Raises ProtocolError."""
        opened = self.opened
        if opened is not None and opened.body is self.body:
            return opened.members.copy()
        return top_level(self.body)

    def header(self, name: str) -> str | None:
        """The value of header *name*; several values are joined by commas, as HTTP allows."""
        values = [value for key, value in self.headers if key == name]
        return ",".join(values) if values else None


class Operation(Enum):
    """What a client's request asks for."""

    ANSWER = "answer"
    """A model's answer to a conversation."""
    COUNT = "count"
    """The number of the tokens that a conversation has: see ``CountsTokens``."""
    EMBED = "embed"
    """Vectors."""
    ELSE = "else"
    """What passes unread: see ``PassesUnread``."""


class Asked(Frozen):
    """What a gateway must know of a request of which it reads nothing else. A dialect may have one with members more:
    what it gives from ``peek`` comes back to ``address``."""

    model: str = ""
    stream: bool = False
    operation: Operation = Operation.ANSWER


class Traits(Frozen):
    """What a record tells of a request beside its model."""

    tools: int = 0
    """How many it offers the model."""
    end_user: str = ""
    """Whom the client says it asks for."""


NO_TRAITS: Final = Traits()

Verbs = tuple[str, str]
"""What stands behind an API's path: for a whole answer, for a streamed one. Each may bring a query."""

_MODEL: Final = "{model}"


class Upstream(Frozen):
    """Whom a request goes to. ``path`` is where the provider has the API, with ``{model}`` where the model belongs, and
    perhaps a query. ``capabilities`` is the row of the model that is sent."""

    provider: str
    path: str
    capabilities: Capabilities = Capabilities()
    model: str = ""
    verbs: Verbs | None = None
    """The provider's own, where they differ from the dialect's."""

    def at(self, asked: Asked, verbs: Verbs | None = None) -> str:
        """The path as it is sent: with the model's name in it, and with what *verbs*, or the provider's own, say of the
        stream. A verb that the path has already is replaced: an operator may have written either. Raises Unsupported
        where the path needs a model and there is none: a path without one would be another's (B17, B18)."""
        path, verbs = self.path, self.verbs or verbs
        if verbs is not None:
            path, _, query = path.partition("?")
            path = next((path.removesuffix(verb) for verb in map(bare, verbs) if path.endswith(verb)), path)
            path += verbs[asked.stream]
            if query:
                path += ("&" if "?" in path else "?") + query
        return path.replace(_MODEL, in_path(asked.model)) if _MODEL in path else path


def bare(verb: str) -> str:
    """*verb* without its query."""
    return verb.partition("?")[0]


def in_path(model: str) -> str:
    """A model's name as one segment of a path. Raises Unsupported."""
    if not model:
        raise Unsupported("model", "model is required: the upstream's path names it", "invalid_value")
    if model in (".", ".."):
        # They cannot be escaped, and would lead to another path.
        raise Unsupported("model", "model is no name that a path can hold", "invalid_value")
    return quote(model, safe="")


class Undo(Frozen):
    """What a request's emitter changed that the response's parser must change back."""

    names: dict[str, str] = {}
    """Tool names as sent -> as the client knows them."""
    custom: frozenset[str] = frozenset()
    """Free-form tools (by the client's name) that were sent as functions with one string member ``input``."""
    fences: bool = False
    """Only an instruction asked for JSON: an answer that is one fenced block loses its fence."""
    keys: dict[str, dict[str, str]] = {}
    """By the client's name of a tool: members of its input, as sent -> as the client knows them, where they differ."""
    signer: str = ""
    """Whose the signatures of the answer's thinking are (``llm.signers``), where the dialect serves several makers."""


class UpstreamCall(Frozen):
    """What goes upstream. ``method`` and ``path`` are the dialect's ``address``; ``members`` are the body's top-level
    members in the order in which they are written."""

    method: str
    path: str
    headers: Headers
    members: dict[str, Any]
    request: Request
    undo: Undo = Undo()


class Meta(Frozen):
    """What a response's headers say that clients of every dialect understand, each under its own header's name."""

    request_id: str | None = None
    retry_after: str | None = None
    retry_after_ms: str | None = None
    should_retry: str | None = None
    limits: dict[str, str] = {}
    """``requests-limit``, ``requests-remaining``, ``tokens-limit``, ``tokens-remaining`` -> the number as text."""
    resets: dict[str, float] = {}
    """``requests``, ``tokens`` -> Unix time at which the limit is whole again."""


class ResponseHead(Struct):
    """Status and headers of a response."""

    status: int
    headers: Headers = []

    def header(self, name: str) -> str:
        for key, value in self.headers:
            if key == name:
                return value
        return ""

    @property
    def media_type(self) -> str:
        """The content type without its parameters, lower-case; empty when there is none."""
        return self.header("content-type").partition(";")[0].strip().lower()


class Env(Frozen):
    """What comes from outside: the time in Unix seconds, and an id of this exchange."""

    now: float = 0.0
    request_id: str = ""


class Answering(Frozen):
    """What a client's answer is written by."""

    request: Request
    """What ``llm.request.remembered`` leaves of the client's. What else of it an answer shows belongs in its
    ``client_state``, as few bytes as can be: it stays for as long as the answer takes."""
    upstream: ResponseHead
    """The head that the upstream answered."""
    meta: Meta
    """What that head says (``Dialect.read_meta``)."""
    env: Env
    losses: LossReport
    """Where an emitter reports what the client's API has no word for."""


STREAM_TYPES: Final = frozenset({"text/event-stream", "application/vnd.amazon.eventstream"})
"""The media types of the framings that there are."""


def is_stream(head: ResponseHead) -> bool:
    """Whether the upstream answers with a stream that can be passed on as it comes."""
    return head.status < 400 and head.media_type in STREAM_TYPES
