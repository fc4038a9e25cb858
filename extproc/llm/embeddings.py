"""A request for vectors, and the vectors, in words that no dialect owns.

Small on purpose: texts in, one vector for each out. ``at`` is always a path in the client's own request, so that losses
and refusals speak the client's language. A vector stays the JSON text that the upstream wrote: nobody rounds it.
"""

from __future__ import annotations

import base64
import sys
from array import array
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from .failures import ProtocolError, Unsupported

Purpose = Literal[
    "query", "document", "similarity", "classification", "clustering", "question", "fact", "code"
]  # fmt: skip
"""What a vector is for, where a model makes other ones for each."""

_floats = msgspec.json.Decoder(list[float]).decode


class Input(Struct, frozen=True):
    """One thing to embed: a text, or the numbers of its tokens by the model's own tokenizer."""

    text: str = ""
    tokens: list[int] | None = None
    at: str = ""


class EmbedRequest(Struct, frozen=True, kw_only=True):
    """``purpose``, ``title`` (of a document) and ``truncate`` (cut what is too long, or refuse it) are ``None`` when
    the client did not say."""

    dialect: str
    """The dialect that parsed it: the client's."""
    model: str
    inputs: list[Input]
    dimensions: int | None = None
    purpose: Purpose | None = None
    title: str | None = None
    truncate: bool | None = None
    base64: bool = False
    """The client wants each vector as the base64 of its numbers (float32, little-endian), not as a list."""
    single: bool = False
    """The client asked for one vector, where its API tells that from a list of one."""
    at: dict[str, str] = field(default_factory=dict)

    def path_of(self, word: str) -> str:
        """The client's path of one of our words."""
        return self.at.get(word, word)


class Vectors(Struct, frozen=True):
    """An answer. ``items``: a JSON array of numbers for each input, in their order. ``truncated``: the numbers of the
    inputs that were cut. ``input_tokens`` is ``None`` when the upstream does not say."""

    items: list[msgspec.Raw]
    input_tokens: int | None = None
    model: str = ""
    truncated: tuple[int, ...] = ()


def remembered(request: EmbedRequest) -> EmbedRequest:
    """*request* as far as its answer is written by it: without the texts."""
    return msgspec.structs.replace(request, inputs=[Input(at=each.at) for each in request.inputs])


def texts(request: EmbedRequest, most: int) -> list[str]:
    """The inputs for an upstream that takes texts alone, *most* of them in one request. Raises Unsupported."""
    inputs = request.inputs
    if len(inputs) > most:
        path = inputs[most].at
        how_many = "one input" if most == 1 else f"{most} inputs"
        message = f"{path}: this upstream takes {how_many} in a request, and {len(inputs)} were sent"
        raise Unsupported(path, message, "invalid_value")
    for each in inputs:
        if each.tokens is not None:
            # They are another model's: joined to a text they would be a vector of digits.
            raise Unsupported(each.at, f"{each.at}: this upstream takes texts, and no numbers of tokens")
    return [each.text for each in inputs]


def numbers(raw: msgspec.Raw, path: str) -> msgspec.Raw:
    """*raw*, if it is an array of numbers. Raises ProtocolError."""
    _decoded(raw, path)
    return raw


def packed(raw: msgspec.Raw) -> str:
    """A vector as OpenAI packs it: base64 of float32, little-endian. Raises ProtocolError."""
    values = array("f", _decoded(raw, "embedding"))
    if sys.byteorder == "big":
        values.byteswap()
    return base64.b64encode(values.tobytes()).decode()


def _decoded(raw: Any, path: str) -> list[float]:
    try:
        return _floats(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ProtocolError(path, "expected an array of numbers") from None
