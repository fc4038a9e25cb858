"""Which endpoints there are, by what follows the version in their path."""

from __future__ import annotations

import re
from typing import Final

from ..shared.unread import is_inside

ENDPOINTS = (
    "images", "audio", "moderations", "completions", "rerank", "score", "classify", "pooling", "tokenize", "realtime",
    "files", "uploads", "batches", "fine_tuning", "videos", "vector_stores", "containers", "evals", "conversations",
    "responses", "chat",
)  # fmt: skip
"""The first word behind the version. ``responses`` and ``chat`` are what is stored of them: ``/responses/{id}``,
``/chat/completions/{id}``; asking for one is an API of its own."""
COMPACT: Final = "compact"
"""``/responses/compact`` keeps nothing: a conversation comes back shorter, and sealed."""
WITH_MODEL: Final = frozenset(
    {
        "images", "audio", "moderations", "completions", "rerank", "score", "classify", "pooling", "tokenize",
        "videos", "fine_tuning", COMPACT,
    }
)  # fmt: skip
"""Those whose requests name a model in their body."""

_PATH: Final = re.compile(
    r"(?P<prefix>.*?)/(?P<version>v1|v2)/(?P<rest>(?P<name>" + "|".join(ENDPOINTS) + r")(?:/.*)?)", re.DOTALL
)
_WHOLE: Final = re.compile(r"responses(/input_tokens)?|chat(/completions)?")
"""APIs of their own."""
_COMPACT: Final = "responses/compact"
_ROOTED: Final = re.compile(r"(?P<prefix>.*?)/(?P<rest>(?:de)?(?P<tokens>tokenize)|score|classify|pooling)", re.DOTALL)
"""What vLLM has at its root, without a version."""


def split(path: str) -> tuple[str, str, str]:
    """What stands before the version in a client's *path*, the endpoint's name, and the path from there on without the
    query; all empty where it is no endpoint's."""
    plain = path.partition("?")[0].rstrip("/")
    found = _PATH.fullmatch(plain)
    if found is None and (there := _ROOTED.fullmatch(plain)) is not None:
        return there["prefix"], there["tokens"] or there["rest"], there["rest"]
    if found is None or _WHOLE.fullmatch(found["rest"]) or (found["version"] == "v2" and found["name"] != "rerank"):
        return "", "", ""
    if not is_inside(found["rest"]):
        return "", "", ""
    name = COMPACT if found["rest"] == _COMPACT else found["name"]
    return found["prefix"], name, found["rest"]


def is_rooted(path: str) -> bool:
    """Whether *path*, an endpoint's, has no version before it."""
    return _PATH.fullmatch(path.partition("?")[0].rstrip("/")) is None


def endpoint(path: str) -> str:
    """The name of the endpoint at *path*; empty if there is none."""
    return split(path)[1]
