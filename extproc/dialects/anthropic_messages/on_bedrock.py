"""The Messages API as Amazon Bedrock's InvokeModel has it: the model in the path, version and betas in the body, and
streams as AWS event streams whose messages hold an event each (Anthropic, "Claude on Amazon Bedrock").
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any, ClassVar, Final

from ...framing import eventstream
from ...llm.events import ResponseEvent, ResponseFailed
from ...llm.failures import ProtocolError
from ...llm.fields import Fields
from ...settings import Limits
from ..base import encode
from ..shared import bedrock
from ..shared.reading import decode
from .emit_response import MessagesEmitter
from .parse_response import MessagesParser

VERSION: Final = "bedrock-2023-05-31"
STREAM_TYPE: Final = "application/vnd.amazon.eventstream"

_CHUNK: Final = eventstream.encode_headers(
    {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
)
_DATA: Final = b"data: "


def body(members: dict[str, Any], betas: str) -> dict[str, Any]:
    """A Messages request's *members* as they go to Bedrock; *betas* as the header has them."""
    kept = {name: value for name, value in members.items() if name not in ("model", "stream")}
    out: dict[str, Any] = {"anthropic_version": VERSION, **kept}
    if betas:
        out["anthropic_beta"] = betas.split(",")
    return out


def count_members(members: dict[str, Any]) -> dict[str, Any]:
    """The question how many tokens a Messages request with *members* has: the whole body of an InvokeModel, in base64
    (Bedrock Runtime API reference, ``CountTokens``)."""
    invoked = encode(body({**members, "max_tokens": 1}, ""))
    return {"input": {"invokeModel": {"body": base64.b64encode(invoked).decode()}}}


def counted_body(data: bytes) -> tuple[dict[str, Any], bool]:
    """The request in such a question, and whether it is Converse's, not the Messages API's. Raises ProtocolError."""
    asked = Fields(Fields(decode(data, ""), "").take("input", dict), "input")
    if "converse" in asked:
        return asked.take("converse", dict), True
    text = Fields(asked.take("invokeModel", dict), "input.invokeModel").take("body", str)
    try:
        found = decode(base64.b64decode(text, validate=True), "input.invokeModel.body")
    except (binascii.Error, ValueError):
        raise ProtocolError("input.invokeModel.body", "not base64") from None
    if type(found) is not dict:
        raise ProtocolError("input.invokeModel.body", "expected an object")
    return found, False


class BedrockMessagesParser(MessagesParser):
    stream_types: ClassVar[tuple[str, ...]] = (STREAM_TYPE,)

    def make_framing(self, limits: Limits) -> eventstream.EventStreamDecoder:
        return eventstream.EventStreamDecoder(limits.max_event_bytes)

    def bytes_of(self, item: Any) -> bytes:
        return b"" if isinstance(item, eventstream.Corrupt) else item.payload

    def on_item(self, item: Any, *, last: bool) -> Iterator[ResponseEvent]:
        if isinstance(item, eventstream.Corrupt):
            raise ProtocolError("eventstream", item.problem)
        headers, payload = item
        wrapped = self.decode_message(payload, last=last) if payload else None
        if headers.get(":message-type", "event") != "event":
            yield bedrock.failure_in_stream(headers, wrapped)
        elif type(wrapped) is dict and type(wrapped.get("bytes")) is str:
            message = self.decode_message(_unwrapped(wrapped["bytes"]), last=last)
            if message is not None:
                yield from self.on_message(message)

    def failure_of(self, error: Any, status: int | None = None) -> ResponseFailed:
        named = bool(self.head.header(bedrock.ERROR_TYPE))
        return bedrock.failure_of_head(self.head, error, status) if named else super().failure_of(error, status)


def _unwrapped(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ProtocolError("chunk.bytes", "not base64") from None


class BedrockMessagesEmitter(MessagesEmitter):
    stream_type: ClassVar[str] = STREAM_TYPE

    def stream(self, event: ResponseEvent) -> bytes:
        if type(event) is ResponseFailed:
            headers = eventstream.encode_headers(bedrock.stream_headers(event))
            return eventstream.encode(headers, encode({"message": bedrock.message(event)}))
        return b"".join([_chunk(data) for data in _events(super().stream(event))])


def _events(stream: bytes) -> Iterator[bytes]:
    """What each event of a Messages stream holds; comments are for that stream alone."""
    for part in stream.split(b"\n\n"):
        _, found, data = part.partition(_DATA)
        if found:
            yield data


def _chunk(data: bytes) -> bytes:
    return eventstream.encode(_CHUNK, b'{"bytes":"%b"}' % base64.b64encode(data))
