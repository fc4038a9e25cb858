"""Google's ``Schema``, a subset of OpenAPI's, as JSON Schema and back (Gemini API reference, "Schema", November 2026).

Newer models take JSON Schema as it is, in members of their own; what they could not read they leave unheeded.
"""

from __future__ import annotations

from typing import Any, Final

from ..shared.schemas import NotInSubset
from .words import camel

MAX_DEPTH: Final = 64
"""Deeper schemas are cut off: what lies below may be anything."""

_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAPS = ("properties", "$defs", "definitions")
_NUMBERS: Final = frozenset({"maxItems", "maxLength", "maxProperties", "minItems", "minLength", "minProperties"})
_KEPT: Final = frozenset({
    "anyOf", "default", "description", "enum", "example", "format", "items", "maxItems", "maxLength", "maxProperties",
    "maximum", "minItems", "minLength", "minProperties", "minimum", "nullable", "pattern", "properties",
    "propertyOrdering", "required", "title", "type",
})  # fmt: skip
_FORMATS: Final = frozenset({"date-time", "date", "enum", "int32", "int64", "float", "double"})


def to_json_schema(schema: Any, depth: int = 0) -> Any:
    """Google's *schema* as JSON Schema. Types are lower-case, counts are numbers, what may be null says so."""
    if type(schema) is not dict or depth > MAX_DEPTH:
        return schema if type(schema) is bool else {}
    out: dict[str, Any] = {}
    for spelled, value in schema.items():
        name = {"defs": "$defs", "ref": "$ref"}.get(spelled, camel(spelled))
        if name in ("nullable", "propertyOrdering"):
            continue
        if name == "type" and type(value) is str:
            if value.upper() != "TYPE_UNSPECIFIED":
                out[name] = value.lower()
        elif name in _NUMBERS and type(value) is str and value.isdecimal():
            out[name] = int(value)
        elif name == "$ref" and type(value) is str:
            out[name] = value.replace("#/defs/", "#/$defs/")
        elif name == "example":
            out["examples"] = [value]
        elif name in _LISTS and type(value) is list:
            out[name] = [to_json_schema(each, depth + 1) for each in value]
        elif name in _MAPS and type(value) is dict:
            out[name] = {key: to_json_schema(each, depth + 1) for key, each in value.items()}
        elif name in ("items", "additionalProperties"):
            out[name] = to_json_schema(value, depth + 1)
        else:
            out[name] = value
    if schema.get("nullable") is True:
        _allow_null(out)
    return out


def _allow_null(out: dict[str, Any]) -> None:
    if type(out.get("type")) is str:
        out["type"] = [out["type"], "null"]
    if type(out.get("enum")) is list and None not in out["enum"]:
        out["enum"] = [*out["enum"], None]
    if type(out.get("anyOf")) is list:
        out["anyOf"] = [*out["anyOf"], {"type": "null"}]


def to_google(schema: dict[str, Any]) -> dict[str, Any]:
    """JSON *schema* within the subset; what only narrows a value goes into its description. Raises NotInSubset."""
    definitions = {
        f"#/{place}/{name}": member
        for place in ("$defs", "definitions")
        for name, member in (schema.get(place) or {}).items()
    }
    return _Subset(definitions).of(schema, ())


class _Subset:
    def __init__(self, definitions: dict[str, Any]) -> None:
        self._definitions = definitions

    def of(self, schema: Any, above: tuple[str, ...]) -> dict[str, Any]:
        """*above*: the references that led here."""
        if type(schema) is not dict:
            if schema is True:
                return {}
            raise NotInSubset(f"{schema!r} is no schema that it knows")
        if len(above) > MAX_DEPTH:
            raise NotInSubset("it is nested too deep")
        schema = {name: value for name, value in schema.items() if name not in ("$defs", "definitions", "$schema")}
        reference = schema.pop("$ref", None)
        if reference is not None:
            if reference in above:
                raise NotInSubset(f"{reference} is recursive")
            if reference not in self._definitions:
                raise NotInSubset(f"it refers to {reference}, which is not among its definitions")
            return {**self.of(self._definitions[reference], (*above, reference)), **self._only_kept(schema, above)}
        return self._only_kept(schema, above)

    def _only_kept(self, schema: dict[str, Any], above: tuple[str, ...]) -> dict[str, Any]:
        left, out = dict(schema), dict[str, Any]()
        above = (*above, "")
        self._shape(left, out)
        if "const" in left and type(left["const"]) is str:
            out["enum"] = [left.pop("const")]
        if type(variants := left.pop("oneOf", left.pop("anyOf", None))) is list:
            self._variants(variants, out, above)
        if type(variants := left.get("allOf")) is list and len(variants) == 1:
            out |= self.of(left.pop("allOf")[0], above)
        if type(properties := left.pop("properties", None)) is dict:
            out["properties"] = {name: self.of(each, above) for name, each in properties.items()}
        if (items := left.pop("items", None)) is not None:
            out["items"] = self.of(items, above)
        if left.get("format") not in _FORMATS:
            left.pop("format", None)
        left.pop("additionalProperties", None)
        out |= {name: left.pop(name) for name in list(left) if name in _KEPT}
        if type(enum := out.get("enum")) is list and not all(type(value) is str for value in enum):
            left["enum"] = out.pop("enum")
        if left:
            hints = ", ".join(f"{name}: {value}" for name, value in left.items())
            out["description"] = f"{out['description']}\n\n{{{hints}}}" if "description" in out else f"{{{hints}}}"
        return out

    def _shape(self, left: dict[str, Any], out: dict[str, Any]) -> None:
        kind = left.pop("type", None)
        if type(kind) is list:
            kinds = [each for each in kind if each != "null"]
            if len(kinds) < len(kind):
                out["nullable"] = True
            if len(kinds) == 1:
                out["type"] = kinds[0]
            elif kinds:
                out["anyOf"] = [{"type": each} for each in kinds]
        elif kind is not None:
            out["type"] = kind

    def _variants(self, variants: list[Any], out: dict[str, Any], above: tuple[str, ...]) -> None:
        others = [each for each in variants if each != {"type": "null"}]
        if len(others) < len(variants):
            out["nullable"] = True
        if len(others) == 1:
            out |= self.of(others[0], above)
        elif others:
            out["anyOf"] = [self.of(each, above) for each in others]
