"""What Converse's words mean in ours, and back."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

from ...llm.events import Citation, StopReason, Usage
from ..shared.counts import count

NAME: Final = "bedrock_converse"
CLAUDE: Final = "anthropic-claude-v1"
"""Only Claude signs its thinking on Bedrock."""
RAW_REDACTED: Final = "bedrock-converse"
"""The signer of redacted thinking that is not text: carried as the base64 that the wire had."""

IMAGE_TYPES: Final = {"png": "image/png", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp"}
"""Formats of images -> their media types."""
DOCUMENT_TYPES: Final = {
    "pdf": "application/pdf",
    "csv": "text/csv",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "html": "text/html",
    "txt": "text/plain",
    "md": "text/markdown",
}
"""Formats of documents -> their media types."""
TEXT_FORMATS: Final = frozenset({"csv", "html", "txt", "md"})

ILLEGAL_IN_TOOL_ID: Final = re.compile(r"[^a-zA-Z0-9_.:-]")
MAX_TOOL_ID: Final = 64

STOPS: Final = {
    "end_turn": StopReason.END,
    "tool_use": StopReason.TOOL_CALL,
    "max_tokens": StopReason.MAX_TOKENS,
    "stop_sequence": StopReason.STOP_SEQUENCE,
    "guardrail_intervened": StopReason.REFUSAL,
    "content_filtered": StopReason.REFUSAL,
    "model_context_window_exceeded": StopReason.CONTEXT_EXCEEDED,
}
_WORDS: Final = {
    StopReason.END: "end_turn",
    StopReason.MAX_TOKENS: "max_tokens",
    StopReason.STOP_SEQUENCE: "stop_sequence",
    StopReason.TOOL_CALL: "tool_use",
    StopReason.REFUSAL: "content_filtered",
    # The turn is not over, and Converse knows no other word for that.
    StopReason.PAUSED: "max_tokens",
    StopReason.COMPACTED: "max_tokens",
    StopReason.CONTEXT_EXCEEDED: "model_context_window_exceeded",
    StopReason.OTHER: "end_turn",
}


def stop_word(stop: StopReason, native: str | None) -> str:
    """*stop* in Converse's words; *native*, the upstream's own, when it is one of them and means the same."""
    return native if native is not None and STOPS.get(native) is stop else _WORDS[stop]


def read_usage(usage: Any) -> Usage:
    """Token counts. Converse's ``inputTokens`` leaves out what was read from and written to a cache."""
    if type(usage) is not dict:
        return Usage()
    read, written = count(usage, "cacheReadInputTokens"), count(usage, "cacheWriteInputTokens")
    plain = count(usage, "inputTokens")
    total = None if plain is None and read is None and written is None else (plain or 0) + (read or 0) + (written or 0)
    return Usage(total, count(usage, "outputTokens"), read, written)


def write_usage(usage: Usage) -> dict[str, int]:
    """Token counts as Converse says them, which demands the first three."""
    read, written = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
    plain, output = max(0, (usage.input_tokens or 0) - read - written), usage.output_tokens or 0
    counts = {"inputTokens": plain, "outputTokens": output, "totalTokens": plain + read + written + output}
    if read:
        counts["cacheReadInputTokens"] = read
    if written:
        counts["cacheWriteInputTokens"] = written
    return counts


def read_tier(tier: Any) -> str | None:
    word = tier.get("type") if type(tier) is dict else None
    return ("standard" if word == "default" else word) if type(word) is str else None


def write_tier(tier: str | None) -> dict[str, str] | None:
    words = {"standard": "default", "priority": "priority", "flex": "flex"}
    return {"type": words[tier]} if tier in words else None


def read_citation(citation: dict[str, Any]) -> Citation:
    location = citation.get("location")
    web = location.get("web") if type(location) is dict else None
    url = web.get("url") if type(web) is dict else None
    title = citation.get("title")
    source = citation.get("sourceContent")
    parts = [part.get("text") for part in source if type(part) is dict] if type(source) is list else []
    texts = [text for text in parts if type(text) is str]
    return Citation(
        kind="url" if type(url) is str else "document",
        dialect=NAME,
        url=url if type(url) is str else "",
        title=title if type(title) is str else None,
        cited_text="".join(texts) or None,
        native=citation,
    )


def write_citation(citation: Citation) -> dict[str, Any] | None:
    """*citation* in Converse's words; ``None`` when it has none."""
    if citation.dialect == NAME and citation.native is not None:
        return citation.native
    if citation.kind != "url":
        return None
    written: dict[str, Any] = {"title": citation.title} if citation.title else {}
    if citation.cited_text:
        written["sourceContent"] = [{"text": citation.cited_text}]
    return written | {"location": {"web": {"url": citation.url}}}


def read_redacted(blob: str) -> tuple[str, str]:
    """Redacted thinking and its signer, out of a member of type blob (base64 of what Claude calls ``data``)."""
    try:
        return base64.b64decode(blob, validate=True).decode("ascii"), CLAUDE
    except (binascii.Error, ValueError):
        return blob, RAW_REDACTED


def write_redacted(encrypted: str, signer: str) -> str:
    return encrypted if signer == RAW_REDACTED else base64.b64encode(encrypted.encode()).decode()
