"""``GET /v1/models`` and ``GET /v1/models/{id}`` (Anthropic, Models API, November 2026)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs

from ...llm.failures import ProtocolError
from ...llm.models import Model

DEFAULT_LIMIT, MAX_LIMIT = 20, 1000
MAX_DIGITS: Final = 9
"""Of a limit: Python refuses to read numbers of thousands of digits."""


def model_object(model: Model) -> dict[str, Any]:
    created = datetime.fromtimestamp(model.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": "model", "id": model.id, "display_name": model.name, "created_at": created, "lifecycle": "active",
    }  # fmt: skip


def models_page(models: Sequence[Model], query: str) -> dict[str, Any]:
    """The page that *query* (``limit``, ``after_id``, ``before_id``) asks for. Raises ProtocolError."""
    asked = {name: values[-1] for name, values in parse_qs(query).items()}
    limit = _limit(asked.get("limit"))
    first, last, more = 0, len(models), False
    if (after := asked.get("after_id")) is not None:
        first = _index(models, after, "after_id") + 1
    if (before := asked.get("before_id")) is not None:
        last = _index(models, before, "before_id")
        more, first = last - limit > first, max(first, last - limit)
    else:
        more, last = last - first > limit, min(last, first + limit)
    data = [model_object(model) for model in models[first:last]]
    ids = [item["id"] for item in data]
    return {
        "data": data, "has_more": more, "first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None,
    }  # fmt: skip


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS and 1 <= int(text) <= MAX_LIMIT):
        raise ProtocolError("limit", f"expected a number from 1 to {MAX_LIMIT}")
    return int(text)


def _index(models: Sequence[Model], id_: str, name: str) -> int:
    found = next((i for i, model in enumerate(models) if model.id == id_), None)
    if found is None:
        raise ProtocolError(name, "there is no such model")
    return found
