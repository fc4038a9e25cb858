"""Which endpoints there are, by what follows the version in their path."""

from __future__ import annotations

import re

from ..shared.unread import is_inside

ENDPOINTS = (
    "images", "audio", "moderations", "completions", "rerank", "realtime",
    "files", "uploads", "batches", "fine_tuning", "videos", "vector_stores", "containers", "evals", "conversations",
    "responses", "chat",
)  # fmt: skip
"""The first word behind the version. ``responses`` and ``chat`` are what is stored of them: ``/responses/{id}``,
``/chat/completions/{id}``; asking for one is an API of its own."""
WITH_MODEL = frozenset({"images", "audio", "moderations", "completions", "rerank", "videos", "fine_tuning"})
"""Those whose requests name a model in their body."""

_PATH = re.compile(
    r"(?P<prefix>.*?)/(?P<version>v1|v2)/(?P<rest>(?P<name>" + "|".join(ENDPOINTS) + r")(?:/.*)?)", re.DOTALL
)
_WHOLE = re.compile(r"responses(/(input_tokens|compact))?|chat(/completions)?")
"""No endpoints of their own, or none that passes here."""


def split(path: str) -> tuple[str, str, str]:
    """What stands before the version in a client's *path*, the endpoint's name, and the path from there on without the
    query; all empty where it is no endpoint's."""
    plain = path.partition("?")[0].rstrip("/")
    found = _PATH.fullmatch(plain)
    if found is None or _WHOLE.fullmatch(found["rest"]) or (found["version"] == "v2" and found["name"] != "rerank"):
        return "", "", ""
    if not is_inside(found["rest"]):
        return "", "", ""
    return found["prefix"], found["name"], found["rest"]


def endpoint(path: str) -> str:
    """The name of the endpoint at *path*; empty if there is none."""
    return split(path)[1]
