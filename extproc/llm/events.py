"""The response, as a series of events. Every dialect's parser produces these; every emitter takes them.

A whole (not streamed) response is the same series, all at once. ``grammar.py`` says which event may follow which.
Blocks are numbered 0, 1, 2 ... in the order in which they start; several may be open at once, because parallel tool
calls interleave in some wire formats.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

from ..frozen import Frozen, Plain
from .failures import ErrorKind

Extra = dict[str, Any]
"""Members that a parser did not understand, by name: carried to the same dialect, reported to others."""


class StopReason(Enum):
    """Why the model stopped."""

    __hash__ = object.__hash__  # Enum's own is a Python function, and these are looked up for every answer

    END = "end"
    MAX_TOKENS = "max_tokens"
    STOP_SEQUENCE = "stop_sequence"
    TOOL_CALL = "tool_call"
    REFUSAL = "refusal"
    PAUSED = "paused"
    CONTEXT_EXCEEDED = "context_exceeded"
    COMPACTED = "compacted"
    OTHER = "other"


class Usage(Plain):
    """Token counts; ``None`` is unknown. ``input_tokens`` includes what was read from and written to a cache,
    ``output_tokens`` includes reasoning: each dialect converts at its edge."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


NO_USAGE: Final = Usage()


def total(usage: Usage) -> int | None:
    """The tokens of both directions, as far as they are known; ``None`` if neither is."""
    known = [count for count in (usage.input_tokens, usage.output_tokens) if count is not None]
    return sum(known) if known else None


class Citation(Frozen):
    """Where a piece of text comes from. ``start`` and ``end`` count code points within the block's own text and are
    ``None`` where the dialect cites the block as a whole; ``native`` is the dialect's own object, for itself."""

    kind: str
    """``url`` for a page on the web, anything else for what only its own dialect can show."""
    dialect: str
    url: str = ""
    title: str | None = None
    cited_text: str | None = None
    start: int | None = None
    end: int | None = None
    native: Extra | None = None


class ResponseStarted(Frozen):
    id: str
    model: str
    usage: Usage = NO_USAGE
    created: int | None = None
    """Unix seconds, when the upstream says it."""
    extra: Extra | None = None


class TextStarted(Plain):
    block: int
    refusal: bool = False
    """The text says why the model will not answer (Chat's and Responses' ``refusal``)."""


class ThinkingStarted(Plain):
    block: int


class ToolCallStarted(Plain):
    """A call that the client shall run. ``kind`` is ``function`` (the input is a JSON object, as text fragments) or
    ``custom`` (the input is free text). ``id`` is empty when the upstream gave none: the emitter makes one.
    ``signature`` proves to the provider (Google) the thinking that led to the call, and must come back with it."""

    block: int
    id: str
    name: str
    kind: str = "function"
    extra: Extra | None = None
    signature: str | None = None


class OpaqueStarted(Frozen):
    """A content block that only ``dialect`` knows (a server tool's call or result ...): carried whole to itself,
    reported to others."""

    block: int
    dialect: str
    content: Extra


class TextDelta(Plain):
    block: int
    text: str


class ThinkingDelta(Plain):
    block: int
    text: str


class ThinkingSealed(Plain):
    """What proves a block of thinking to the provider that made it: a signature over the text, or, for a redacted
    block, the encrypted thinking itself. ``signer`` is the scheme, by the names that OpenRouter's ``reasoning_details``
    uses in ``format`` (``anthropic-claude-v1``, ``openai-responses-v1`` ...)."""

    block: int
    signature: str | None = None
    encrypted: str | None = None
    signer: str = ""


class ToolInputDelta(Plain):
    block: int
    fragment: str


class OpaqueDelta(Frozen):
    block: int
    delta: Extra


class CitationAdded(Frozen):
    block: int
    citation: Citation


class BlockEnded(Plain):
    block: int


class ResponseEnded(Frozen):
    stop: StopReason
    usage: Usage = NO_USAGE
    stop_sequence: str | None = None
    native_reason: str | None = None
    """The upstream's own word for ``stop``."""
    explanation: str | None = None
    """Why it was refused, for a reader."""
    service_tier: str | None = None
    """``priority``, ``flex`` ... or ``standard``."""
    extra: Extra | None = None


class ResponseFailed(Frozen):
    """The response ended in an error, before it started or in the middle, blocks open or not."""

    kind: ErrorKind
    message: str
    status: int | None = None
    """HTTP status of the upstream, or of an error of our own; ``None`` within a stream."""
    code: str | None = None
    param: str | None = None
    """The path in the request that is at fault, as in ``messages[0].content[1]``."""
    ours: bool = False
    """Said by this program about the client's own request, not by the upstream: ``param`` is in the client's words."""
    retry_after: str | None = None
    """Seconds after which asking again may help, where the error itself says it."""


class KeepAlive(Plain):
    pass


BlockStarted = TextStarted | ThinkingStarted | ToolCallStarted | OpaqueStarted
BlockDelta = TextDelta | ThinkingDelta | ThinkingSealed | ToolInputDelta | OpaqueDelta | CitationAdded
ResponseEvent = ResponseStarted | BlockStarted | BlockDelta | BlockEnded | ResponseEnded | ResponseFailed | KeepAlive
