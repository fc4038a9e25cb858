"""``POST /v1/messages/count_tokens``, for upstreams that have no such thing: an estimate, and said to be one.

Claude Code asks it to decide when a conversation must be made shorter; it can live with an estimate, not with a 404.
"""

from __future__ import annotations

from typing import Final

from ...llm.failures import ProtocolError
from ...llm.losses import LossReport
from ...llm.request import Request
from ..base import ClientCall, encode
from ..shared.estimate import estimate as estimated
from ..shared.estimate import read_count
from ..shared.reading import decode
from .parse_request import parse_request

PATH: Final = "/count_tokens"
"""What follows the path of the Messages API itself."""
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
    request = parse(call)
    if not request.model:
        raise ProtocolError("model", "is missing")
    return estimated(request)
