"""Members of requests that the vocabulary has no word for, and that hold what a policy looks at elsewhere."""

from __future__ import annotations

from typing import Final, Literal

HOLDS: Final[dict[str, Literal["", "words", "tools"]]] = {
    "mcp_servers": "tools",
    "prediction": "words",
    "prompt": "words",
    "promptVariables": "words",
}
"""By their names: servers whose tools the provider offers to the model; what a template of the client's is filled with,
and an answer that it expects."""
