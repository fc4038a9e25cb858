"""``GET /v1beta/models`` and ``GET /v1beta/models/{id}`` (Gemini API reference, "Models", November 2026)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import parse_qs

from ...llm.failures import ProtocolError
from ...llm.models import Model
from ..base import Headers

DEFAULT_SIZE, MAX_SIZE = 50, 1000
MAX_DIGITS: Final = 9
"""Of a number in a query: Python refuses to read numbers of thousands of digits."""
_OURS: Final = re.compile(r"/v1(?:beta|alpha)\d*/(?:publishers/[^/]+/)?models(?:/|\Z)")


def asks(path: str, headers: Headers) -> bool:
    """Whether a GET of the models at *path* is a Gemini client's: by the version in the path, or by its own kind of
    key."""
    bare, _, query = path.partition("?")
    names = {name for name, _ in headers}
    return _OURS.search(bare) is not None or "x-goog-api-key" in names or "key" in parse_qs(query)


def model_object(model: Model) -> dict[str, Any]:
    return {
        "name": f"models/{model.id}",
        "displayName": model.name,
        "version": "",
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }


def models_page(models: Sequence[Model], query: str) -> dict[str, Any]:
    """The page that *query* (``pageSize``, ``pageToken``) asks for. Raises ProtocolError."""
    asked = {name: values[-1] for name, values in parse_qs(query).items()}
    size = min(_number(asked, "pageSize", DEFAULT_SIZE) or DEFAULT_SIZE, MAX_SIZE)
    first = _number(asked, "pageToken", 0)
    page: dict[str, Any] = {"models": [model_object(model) for model in models[first : first + size]]}
    if first + size < len(models):
        page["nextPageToken"] = str(first + size)
    return page


def _number(asked: dict[str, str], name: str, default: int) -> int:
    text = asked.get(name, asked.get(re.sub("([A-Z])", r"_\1", name).lower()))
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS):
        raise ProtocolError(name, "expected a number that is not negative")
    return int(text)
