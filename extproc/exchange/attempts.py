"""What one attempt of an exchange leaves for the next, in our dynamic metadata."""

from __future__ import annotations

import msgspec

from ..frozen import Frozen
from .incoming import Incoming
from .mutations import NAMESPACE

MEMORY = "memory"
"""The member of our dynamic metadata that one attempt leaves for the next."""


HELD = "held"
"""The member by which the router's stream names the body that it has left for the first attempt."""


class Memory(Frozen):
    """What the first attempt knew and later ones need: Envoy hands each attempt the headers that the one before it
    left. Holds no credential."""

    path: str
    set: list[str]
    """Names of the headers that are not as the client sent them."""
    saved: list[tuple[str, str]]
    """Headers of the client's that an attempt took away or overwrote."""
    authority: str = ""
    """The client's, where an attempt has set another."""
    host: str = ""
    """The authority that an attempt has set in place of the client's; empty if none has."""
    trace: str = ""
    """The ``traceparent`` that the attempt sent, where traces are recorded."""


_decode_memory = msgspec.json.Decoder(Memory).decode
_encode = msgspec.json.Encoder().encode


def recall(message: Incoming) -> Memory | None:
    """What an earlier attempt left."""
    text = message.metadata(NAMESPACE).get(MEMORY)
    if not isinstance(text, str):
        return None
    try:
        return _decode_memory(text)
    except msgspec.DecodeError:
        return None


def held(message: Incoming) -> str:
    """By which key the router's stream has left the body, empty if it has not."""
    key = message.metadata(NAMESPACE).get(HELD)
    return key if isinstance(key, str) else ""


def remember(memory: Memory) -> str:
    """*memory* as the value of our dynamic metadata's ``memory``."""
    return _encode(memory).decode()
