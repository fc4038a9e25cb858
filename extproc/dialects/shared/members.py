"""Members of requests that the vocabulary has no word for."""

from __future__ import annotations

from typing import Final, Literal

from ...llm.fields import Fields
from ...llm.request import Member

HOLDS: Final[dict[str, Literal["", "words", "tools"]]] = {
    "mcp_servers": "tools",
    "prediction": "words",
    "prompt": "words",
    "promptVariables": "words",
}
"""By their names, those with what a policy looks at elsewhere: servers whose tools the provider offers to the model;
what a template of the client's is filled with, and an answer that it expects."""


def keep_rest(fields: Fields, extra: dict[str, Member]) -> None:
    """Puts what nobody took of an object into *extra*, by its path."""
    rest = fields.rest()
    if rest is None:
        return
    for name, value in rest.items():
        path = fields.at(name)
        extra[path] = Member(value, path)
