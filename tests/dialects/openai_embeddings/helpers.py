"""What the tests of this dialect share."""

from __future__ import annotations

from typing import Any

from extproc import dialects
from extproc.dialects.base import ResponseHead, UpstreamCall
from extproc.llm.events import ResponseEvent
from extproc.llm.losses import LossReport
from extproc.llm.request import Request
from extproc.settings import Limits

DIALECT = dialects.get("openai_embeddings")


ROUTE: dict[str, Any] = {
    "provider": "openai",
    "auth": {"header": {"Authorization": "Bearer k"}},
    "options": {"model": "text-embedding-3-small", "encoding_format": "float"},
    "override": {"endpoint": "https://api.openai.com/v1/embeddings"},
}


ANSWER = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.0023, -0.0093]}],
    "model": "text-embedding-3-small",
    "usage": {"prompt_tokens": 8, "total_tokens": 8},
}


JSON = [("content-type", "application/json")]


def parsed(body: bytes, status: int = 200, headers: list[tuple[str, str]] | None = None) -> list[ResponseEvent]:
    call = UpstreamCall("POST", "", [], {}, Request(dialect=DIALECT.name, model="m", messages=[]))
    parser = DIALECT.response_parser(call, ResponseHead(status, headers or JSON), Limits(), LossReport())
    return [*parser.feed(body[:5]), *parser.feed(body[5:]), *parser.end()]
