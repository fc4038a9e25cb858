"""``POST /v1/messages/count_tokens``, for upstreams that have no such thing: an estimate, and said to be one.

Claude Code asks it to decide when a conversation must be made shorter; it can live with an estimate, not with a 404.
"""

from __future__ import annotations

from typing import Any

from ...llm.failures import ProtocolError
from ...llm.losses import LossReport
from ...llm.request import Request
from ..base import ClientCall, encode
from ..shared.estimate import read_count
from ..shared.reading import decode
from .parse_request import parse_request

PATH = "/count_tokens"
"""What follows the path of the Messages API itself."""
BYTES_PER_TOKEN = 4
MESSAGE_TOKENS = 4
"""What a message costs beside its content."""
IMAGE_TOKENS = 1600
"""An image of the largest size that is not made smaller (Anthropic, Vision guide); a file is taken for one."""


COUNTED = ("model", "messages", "system", "tools", "tool_choice", "thinking")
"""Members of a request that the API takes where it counts."""


def parse(call: ClientCall) -> Request:
    """What *call* asks the number of tokens of. Raises ProtocolError and Unsupported, as the request would."""
    body = decode(call.body, "")
    if type(body) is not dict:
        raise ProtocolError("", "the request body is not a JSON object")
    # The one member that the request itself must have and this one has not.
    whole = ClientCall(call.method, call.path, call.headers, encode({"max_tokens": 1, **body}))
    return parse_request(whole, LossReport())


def read(body: bytes) -> int | None:
    """The number in an answer; ``None`` when there is none."""
    return read_count(body, "input_tokens")


def estimate(call: ClientCall) -> int:
    """How many tokens *call*'s request has, about. Raises ProtocolError and Unsupported, as the request would."""
    if not parse(call).model:
        raise ProtocolError("model", "is missing")
    body = decode(call.body, "")
    size = _Size()
    size.add(body.get("system"))
    for message in body["messages"]:
        size.add(message["content"])
    for tool in body.get("tools") or []:
        size.bytes += len(encode(tool))
    return -(-size.bytes // BYTES_PER_TOKEN) + MESSAGE_TOKENS * len(body["messages"]) + IMAGE_TOKENS * size.images


class _Size:
    """Bytes of text, and images, in content that has been checked."""

    def __init__(self) -> None:
        self.bytes = 0
        self.images = 0

    def add(self, content: Any) -> None:
        """A text, a block, or several."""
        if type(content) is str:
            self.bytes += len(content.encode("utf-8", "replace"))
        elif type(content) is list:
            for block in content:
                self.add(block)
        elif type(content) is dict:
            self._add_block(content)

    def _add_block(self, block: dict[str, Any]) -> None:
        match block.get("type"):
            case "image":
                self.images += 1
            case "document":
                self._add_document(block)
            case "tool_use" | "server_tool_use":
                self.add(block.get("name"))
                self.bytes += len(encode(block.get("input")))
            case _:
                for name in ("text", "thinking", "title", "content"):
                    self.add(block.get(name))

    def _add_document(self, block: dict[str, Any]) -> None:
        self.add(block.get("title"))
        self.add(block.get("context"))
        source = block.get("source")
        match source:
            case {"type": "text", "data": text}:
                self.add(text)
            case {"type": "content", "content": content}:
                self.add(content)
            case _:
                self.images += 1
