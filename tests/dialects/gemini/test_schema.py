from __future__ import annotations

from typing import Any

import pytest

from extproc.dialects.gemini.schema import to_google, to_json_schema
from extproc.dialects.shared.schemas import NotInSubset

BOTH: list[tuple[Any, Any]] = [  # Google's, JSON Schema
    ({"type": "STRING", "description": "d"}, {"type": "string", "description": "d"}),
    ({"type": "INTEGER", "format": "int32", "minimum": 1}, {"type": "integer", "format": "int32", "minimum": 1}),
    ({"type": "STRING", "nullable": True}, {"type": ["string", "null"]}),
    ({"type": "STRING", "enum": ["a", "b"]}, {"type": "string", "enum": ["a", "b"]}),
    ({"type": "ARRAY", "items": {"type": "NUMBER"}}, {"type": "array", "items": {"type": "number"}}),
    ({"type": "OBJECT", "properties": {"a": {"type": "BOOLEAN"}}, "required": ["a"]},
     {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}),
    ({"anyOf": [{"type": "STRING"}, {"type": "NUMBER"}]}, {"anyOf": [{"type": "string"}, {"type": "number"}]}),
]  # fmt: skip


def lowered(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {k: v.lower() if k == "type" and isinstance(v, str) else lowered(v) for k, v in schema.items()}
    return [lowered(each) for each in schema] if isinstance(schema, list) else schema


@pytest.mark.parametrize(("google", "json_schema"), BOTH)
def test_both_ways(google: Any, json_schema: Any) -> None:
    assert to_json_schema(google) == json_schema
    assert to_google(json_schema) == lowered(google)


@pytest.mark.parametrize(
    ("google", "json_schema"),
    [
        ({"type": "OBJECT", "property_ordering": ["a"], "properties": {"any_of": {"type": "STRING"}}},
         {"type": "object", "properties": {"any_of": {"type": "string"}}}),
        ({"any_of": [{"type": "STRING"}], "nullable": True}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"type": "STRING", "maxLength": "5", "example": "x"}, {"type": "string", "maxLength": 5, "examples": ["x"]}),
        ({"type": "TYPE_UNSPECIFIED"}, {}),
        ({"type": "STRING", "nullable": True, "enum": ["a"]}, {"type": ["string", "null"], "enum": ["a", None]}),
        ({"ref": "#/defs/x", "defs": {"x": {"type": "STRING"}}},
         {"$ref": "#/$defs/x", "$defs": {"x": {"type": "string"}}}),
    ],
)  # fmt: skip
def test_what_google_says_in_its_own_way(google: Any, json_schema: Any) -> None:
    assert to_json_schema(google) == json_schema


@pytest.mark.parametrize(
    ("schema", "google"),
    [
        ({"type": "object", "properties": {"p": {"$ref": "#/$defs/P"}}, "$defs": {"P": {"type": "string"}}},
         {"type": "object", "properties": {"p": {"type": "string"}}}),
        ({"type": "string", "format": "uri", "$schema": "x"}, {"type": "string"}),
        ({"const": "a"}, {"enum": ["a"]}),
        ({"type": "integer", "enum": [1, 2]}, {"type": "integer", "description": "{enum: [1, 2]}"}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}], "description": "d"},
         {"nullable": True, "type": "string", "description": "d"}),
        ({"oneOf": [{"type": "string"}, {"type": "number"}]}, {"anyOf": [{"type": "string"}, {"type": "number"}]}),
        ({"type": ["string", "number"]}, {"anyOf": [{"type": "string"}, {"type": "number"}]}),
        ({"allOf": [{"type": "string"}]}, {"type": "string"}),
        ({"type": "object", "additionalProperties": False, "description": "d", "patternProperties": {}},
         {"type": "object", "description": "d\n\n{patternProperties: {}}"}),
    ],
)  # fmt: skip
def test_what_is_outside_the_subset(schema: Any, google: Any) -> None:
    assert to_google(schema) == google


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"$ref": "#/$defs/A", "$defs": {"A": {"type": "array", "items": {"$ref": "#/$defs/A"}}}}, "recursive"),
        ({"$ref": "#/nowhere"}, "not among its definitions"),
        ({"type": "array", "items": 3}, "no schema"),
    ],
)
def test_what_cannot_be_said(schema: Any, problem: str) -> None:
    with pytest.raises(NotInSubset, match=problem):
        to_google(schema)


def test_depth_is_bounded() -> None:
    deep: Any = {"type": "string"}
    for _ in range(200):
        deep = {"type": "array", "items": deep}
    assert to_json_schema(deep)["type"] == "array"
    with pytest.raises(NotInSubset, match="too deep"):
        to_google(deep)
