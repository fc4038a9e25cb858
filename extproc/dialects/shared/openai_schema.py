"""Whether a JSON Schema meets the rules of OpenAI's strict mode (OpenAI, "Structured model outputs", Nov 2026)."""

from __future__ import annotations

from typing import Any, Final

from .schemas import names

_UNSUPPORTED: Final = frozenset(
    {
        "allOf", "contains", "dependentRequired", "dependentSchemas", "else", "if", "maxContains", "maxProperties",
        "minContains", "minProperties", "not", "oneOf", "patternProperties", "prefixItems", "propertyNames", "then",
        "unevaluatedItems", "unevaluatedProperties", "uniqueItems",
    }
)  # fmt: skip
MAX_DEPTH: Final = 64
"""Deeper schemas are taken for not strict; the provider allows 10 levels."""


def is_strict(schema: dict[str, Any]) -> bool:
    """Every object closed and every property required, nothing that cannot be enforced; the root an object."""
    return schema.get("type") == "object" and "anyOf" not in schema and _strict(schema, 0)


def _strict(schema: Any, depth: int) -> bool:
    if type(schema) is not dict or depth > MAX_DEPTH or not _UNSUPPORTED.isdisjoint(schema):
        return False
    kind = schema.get("type")
    is_object = kind == "object" or (type(kind) is list and "object" in kind) or "properties" in schema
    if is_object:
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if schema.get("additionalProperties") is not False or type(properties) is not dict:
            return False
        if type(required) is not list or not properties.keys() <= set(names(required)):
            return False
    return all(_strict(inner, depth + 1) for inner in _inner(schema))


def _inner(schema: dict[str, Any]) -> list[Any]:
    inner: list[Any] = []
    for name in ("properties", "$defs", "definitions"):
        members = schema.get(name)
        if type(members) is dict:
            inner += members.values()
    if "items" in schema:
        inner.append(schema["items"])
    options = schema.get("anyOf")
    return inner + options if type(options) is list else inner
