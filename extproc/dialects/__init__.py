"""Wire APIs: one folder each, and the registry that names them."""

from __future__ import annotations

from .registry import (
    ANYWHERE,
    ASK_FOR_VECTORS,
    EMBEDDINGS,
    FALLBACK,
    GIVE_VECTORS,
    LABEL_THINKING,
    REGISTRY,
    USAGE_ON_DEMAND,
    UnknownDialect,
    asks_in,
    by_name,
    detect,
    get,
    listing,
    resembled,
    shape_for,
    told,
    unread,
)

__all__ = [
    "ANYWHERE",
    "ASK_FOR_VECTORS",
    "EMBEDDINGS",
    "FALLBACK",
    "GIVE_VECTORS",
    "LABEL_THINKING",
    "REGISTRY",
    "USAGE_ON_DEMAND",
    "UnknownDialect",
    "asks_in",
    "by_name",
    "detect",
    "get",
    "listing",
    "resembled",
    "shape_for",
    "told",
    "unread",
]
