"""The words of the Messages API: versions, beta names, stop reasons, error types.

Sources: the types of Anthropic's Python SDK 2.11.0 (November 2026), and the API reference pages named at each table.
"""

from __future__ import annotations

import re
from typing import Final

from ...llm import signers
from ...llm.events import StopReason
from ...llm.failures import ErrorKind
from ..shared.anthropic import NAME as NAME
from ..shared.anthropic import OWN_TOOL as OWN_TOOL

FAMILY: Final = frozenset({NAME, "anthropic_bedrock", "anthropic_vertex"})
"""The dialects whose requests hold the same, each in an envelope of its own."""
SIGNER: Final = signers.CLAUDE
"""The scheme of Claude's thinking signatures."""

VERSIONS: Final = frozenset({"2023-06-01", "2026-10-21"})
UPSTREAM_VERSION: Final = "2023-06-01"
"""Sent upstream, always: it takes both the older and the newer form of a body (API migration guide, 2026-10-21)."""

BILLING: Final = "x-anthropic-billing-header:"
BILLING_LINE: Final = re.compile(rf"^[ \t]*{BILLING}.*\n?", re.MULTILINE)
"""A line of Claude Code's system prompt that changes with every request and means nothing to a model."""

NO_THREADS: Final = "thread_unsupported_request"
"""The ``error_code`` at which clients send the whole conversation again, without ``thread``."""

STOP_REASONS: Final = {
    "end_turn": StopReason.END,
    "max_tokens": StopReason.MAX_TOKENS,
    "stop_sequence": StopReason.STOP_SEQUENCE,
    "tool_use": StopReason.TOOL_CALL,
    "refusal": StopReason.REFUSAL,
    "pause_turn": StopReason.PAUSED,
    "model_context_window_exceeded": StopReason.CONTEXT_EXCEEDED,
    "compaction": StopReason.COMPACTED,
}
STOP_NAMES: Final = {stop: name for name, stop in STOP_REASONS.items()} | {StopReason.OTHER: "end_turn"}

ERROR_TYPES: Final = {
    ErrorKind.INVALID_REQUEST: "invalid_request_error",
    ErrorKind.AUTHENTICATION: "authentication_error",
    ErrorKind.BILLING: "billing_error",
    ErrorKind.PERMISSION: "permission_error",
    ErrorKind.NOT_FOUND: "not_found_error",
    ErrorKind.CONFLICT: "conflict_error",
    ErrorKind.TOO_LARGE: "request_too_large",
    ErrorKind.RATE_LIMIT: "rate_limit_error",
    ErrorKind.API: "api_error",
    ErrorKind.TIMEOUT: "timeout_error",
    ErrorKind.OVERLOADED: "overloaded_error",
}
ERROR_KINDS: Final = {name: kind for kind, name in ERROR_TYPES.items()}

ILLEGAL_IN_TOOL_ID: Final = re.compile(r"[^a-zA-Z0-9_-]")

IMAGE_TYPES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})

FILES_BETA: Final = "files-api-2025-04-14"
BINDING_BETA: Final = "thinking-binding-controls-2026-08-01"

TOOL_BETAS: Final = {
    "computer_20241022": "computer-use-2024-10-22",
    "computer_20250124": "computer-use-2025-01-24",
    "computer_20251124": "computer-use-2025-11-24",
    "code_execution_20250522": "code-execution-2025-05-22",
    "advisor_20260301": "advisor-tool-2026-03-01",
    "mcp_toolset": "mcp-client-2025-11-20",
}
"""Tool types that work only with a beta."""

# An unknown name in the anthropic-beta header is a 400, so only these are sent.
KNOWN_BETAS: Final = frozenset({
    "advisor-tool-2026-03-01", "agent-memory-2026-07-22", "cache-diagnosis-2026-04-07", "code-execution-2025-05-22",
    "compact-2026-01-12", "compact-2026-09-04", "computer-use-2024-10-22", "computer-use-2025-01-24",
    "computer-use-2025-11-24", "context-1m-2025-08-07", "context-management-2025-06-27", "dev-full-thinking-2025-05-14",
    "extended-cache-ttl-2025-04-11", "fallback-credit-2026-06-01", "fallback-credit-2026-07-01", "fast-mode-2026-02-01",
    "files-api-2025-04-14", "inline-tools-2026-09-15", "interleaved-thinking-2025-05-14", "mcp-client-2025-04-04",
    "mcp-client-2025-11-20", "mcp-client-2026-09-15", "message-threads-2026-08-12",
    "mid-conversation-output-config-2026-07-01", "mid-conversation-system-clear-at-2026-08-21",
    "mid-conversation-tool-changes-2026-07-01", "model-context-window-exceeded-2025-08-26", "output-128k-2025-02-19",
    "output-300k-2026-03-24", "pdfs-2024-09-25", "prompt-caching-2024-07-31", "server-side-fallback-2026-06-01",
    "server-side-fallback-2026-07-01", "skills-2025-10-02", "structured-outputs-2025-11-13", "task-budgets-2026-03-13",
    "thinking-binding-controls-2026-08-01", "thinking-display-updates-2026-08-18", "thinking-token-count-2026-05-13",
    "token-counting-2024-11-01", "token-efficient-tools-2025-02-19", "user-profiles-2026-03-24",
    "user-profiles-2026-08-18", "user-profiles-2026-09-04",
})  # fmt: skip
