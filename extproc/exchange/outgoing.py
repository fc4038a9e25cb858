"""What Envoy is told, written by hand: a ProcessingResponse, as far as anything here says it.

protobuf makes an object of each message within it, copies those that are put into others, and looks each member of it
up by its name: that took several times what is written here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .phases import Kind
from .written import begun, field, number, removal

NONE: Final = 0
STREAMED: Final = 1
BUFFERED: Final = 2
"""In which modes bodies come. Final: so the compiler writes them where they are used."""
SEND: Final = 1
SKIP: Final = 2
"""Whether headers and trailers come."""
_REPLACE: Final = b"\x08\x01"
"""Of CommonResponse: ``status: CONTINUE_AND_REPLACE``."""
_CLEAR: Final = b"\x28\x01"
"""Of CommonResponse: ``clear_route_cache``."""
_NUMBERS: Final = {
    Kind.REQUEST_HEADERS: 1,
    Kind.RESPONSE_HEADERS: 2,
    Kind.REQUEST_BODY: 3,
    Kind.RESPONSE_BODY: 4,
    Kind.REQUEST_TRAILERS: 5,
    Kind.RESPONSE_TRAILERS: 6,
}
_TRAILERS: Final = frozenset({Kind.REQUEST_TRAILERS, Kind.RESPONSE_TRAILERS})


Encoded = bytes | tuple[bytes, ...]
"""A message, in several parts if it is long."""
LONG: Final = 64 * 1024
"""Bytes of a body from which it is worth while to leave it where it is."""


def whole(message: Encoded) -> bytes:
    """*message* in one part."""
    return b"".join(message) if isinstance(message, tuple) else message


class Mutation:
    """What changes in a head: ``set`` holds what is set, each as ``written.header`` has it, ``removed`` names."""

    __slots__ = ("removed", "set")

    def __init__(self, removed: Iterable[str] = ()) -> None:
        self.set: list[bytes] = []
        self.removed = list(removed)

    def encoded(self) -> bytes:
        """As a HeaderMutation."""
        return b"".join(self.set + [removal(name) for name in self.removed])


class Outgoing:
    """One answer to a message of *kind*, ``None``: of none."""

    __slots__ = (
        "body", "clear_route_cache", "details", "headers", "kind", "metadata", "modes", "patience_ms", "replace",
        "status",
    )  # fmt: skip

    def __init__(self, kind: Kind | None) -> None:
        self.kind = kind
        self.headers: Mutation | None = None
        self.body: bytes | None = None
        """What takes the body's place; ``None`` leaves it."""
        self.replace = False
        """Nothing more of this message is to come."""
        self.clear_route_cache = False
        self.modes: bytes | None = None
        """In which modes what follows is to come: see ``processing_mode``."""
        self.metadata: dict[str, bytes] = {}
        """By namespace, each as ``written.struct`` has it."""
        self.status = 0
        """Other than 0: an answer of our own in the upstream's stead, of this status."""
        self.details = ""
        """Why, for ``response.code_details``."""
        self.patience_ms = 0
        """Other than 0: how much longer than ever Envoy is to wait for the answer."""

    def encoded(self) -> bytes:
        """As a ProcessingResponse."""
        return whole(self.parts())

    def parts(self) -> Encoded:
        """The same, with a long body as a part of its own."""
        kind, rest = self.kind, self._beside()
        if self.status:
            return field(7, self._immediate()) + rest
        if kind is None:
            return rest
        if kind in _TRAILERS:
            return field(_NUMBERS[kind], b"") + rest
        body = self.body
        common = _REPLACE if self.replace else b""
        if self.headers is not None:
            common += field(2, self.headers.encoded())
        end = _CLEAR if self.clear_route_cache else b""
        if body is None:
            return field(_NUMBERS[kind], field(1, common + end)) + rest
        # Each head says how long all is that follows in it; and the body, which may be long, is put in once, if at all.
        head = begun(1, len(body))
        head = common + begun(3, len(head) + len(body)) + head
        head = begun(1, len(head) + len(body) + len(end)) + head
        head = begun(_NUMBERS[kind], len(head) + len(body) + len(end)) + head
        return b"".join([head, body, end, rest]) if len(body) < LONG else (head, body, end + rest)

    def _immediate(self) -> bytes:
        """As an ImmediateResponse."""
        made = field(1, b"\x08" + number(self.status))
        if self.headers is not None:
            made += field(2, self.headers.encoded())
        if self.body:
            made += field(3, self.body)
        return made + field(5, self.details.encode())

    def _beside(self) -> bytes:
        """What stands beside the answer to a message."""
        made = b""
        for name, said in self.metadata.items():
            made += field(1, field(1, name.encode()) + field(2, field(5, said)))
        if made:
            made = field(8, made)
        if self.modes is not None:
            made += field(9, self.modes)
        if self.patience_ms:
            seconds, over = divmod(self.patience_ms, 1000)
            made += field(10, b"\x08" + number(seconds) + b"\x10" + number(over * 1_000_000))
        return made


def delayed(seconds: float) -> Outgoing:
    """The word to Envoy that the answer to its latest message may take so long, each message anew, as far as the
    filter's ``max_message_timeout`` allows."""
    made = Outgoing(None)
    made.patience_ms = int(seconds * 1000)
    return made


def processing_mode(*modes: int) -> bytes:
    """As a ProcessingMode: of the request's and the response's headers, their bodies, their trailers."""
    return b"".join([bytes([at << 3, mode]) for at, mode in enumerate(modes, 1) if mode])
