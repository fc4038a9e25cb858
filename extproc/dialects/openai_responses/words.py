"""What the Responses API's words mean in ours, and back."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from ...frozen import Frozen
from ...llm import marker, signers
from ...llm.events import Citation, Usage
from ...llm.failures import ProtocolError
from ..base import encode
from ..shared.counts import read_openais
from ..shared.reading import decode

NAME: Final = "openai_responses"
SIGNER: Final = signers.OPENAI
"""Whose the encrypted reasoning is that bears no label."""
CLAUDE: Final = signers.CLAUDE
CARRIER: Final = "anthropic:"
"""Begins an ``encrypted_content`` of our own making, which carries Claude's signed thinking."""


class Carried(Frozen):
    """One of Claude's blocks of thinking: ``signature`` over ``text``, or ``encrypted`` instead of both."""

    text: str = ""
    signature: str | None = None
    encrypted: str | None = None


def write_carrier(carried: Carried) -> str:
    if carried.encrypted is not None:
        block = {"type": "redacted_thinking", "data": carried.encrypted}
    else:
        block = {"type": "thinking", "thinking": carried.text, "signature": carried.signature or ""}
    return CARRIER + base64.b64encode(encode([block])).decode()


def read_carrier(encrypted_content: str) -> list[Carried] | None:
    """The blocks that *encrypted_content* carries; ``None`` when it is the provider's own, or broken."""
    if not encrypted_content.startswith(CARRIER):
        return None
    try:
        blocks = decode(base64.b64decode(encrypted_content[len(CARRIER) :], validate=True), "encrypted_content")
    except (binascii.Error, ValueError, ProtocolError):
        return None
    carried = []
    for block in blocks if type(blocks) is list else ():
        if type(block) is not dict:
            continue
        if type(data := block.get("data")) is str:
            carried.append(Carried(encrypted=data))
        elif type(text := block.get("thinking")) is str and type(signature := block.get("signature")) is str:
            carried.append(Carried(text, signature))
    return carried or None


def read_seal(encrypted_content: str, signer: str = SIGNER) -> marker.Seal:
    """Whose *encrypted_content* is: *signer*'s own, another's that came through here, or our own mark."""
    seal = marker.unsealed(encrypted_content)
    if seal is not None:
        return seal
    if marker.is_mark(encrypted_content):
        return marker.Seal(marker.SIGNER, encrypted_content)
    return marker.Seal(signer, encrypted=encrypted_content)


def read_usage(usage: Any) -> Usage:
    return read_openais(usage) if type(usage) is dict else Usage()


def write_usage(usage: Usage) -> dict[str, Any] | None:
    """Token counts, all of which the API's own type requires; ``None`` when nothing at all is known."""
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    input_tokens, output_tokens = usage.input_tokens or 0, usage.output_tokens or 0
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens or 0,
            "cache_write_tokens": usage.cache_write_tokens or 0,
        },
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": input_tokens + output_tokens,
    }


def read_annotation(annotation: dict[str, Any]) -> Citation:
    """An annotation; its positions count within the text of its own part."""
    is_url = annotation.get("type") == "url_citation"
    url, title = annotation.get("url"), annotation.get("title")
    start, end = annotation.get("start_index"), annotation.get("end_index")
    return Citation(
        kind="url" if is_url and type(url) is str else str(annotation.get("type")),
        dialect=NAME,
        url=url if type(url) is str else "",
        title=title if type(title) is str else None,
        start=start if type(start) is int else None,
        end=end if type(end) is int else None,
        native=annotation,
    )


def write_annotation(citation: Citation, text: str) -> dict[str, Any] | None:
    """*citation* of a part's *text*; ``None`` when this API has no words for it."""
    if citation.dialect == NAME and citation.native is not None:
        return citation.native
    if citation.kind != "url":
        return None
    return {
        "type": "url_citation",
        "start_index": citation.start or 0,
        "end_index": len(text) if citation.end is None else citation.end,
        "title": citation.title or "",
        "url": citation.url,
    }
