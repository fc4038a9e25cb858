from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic import transform_schema
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.dialects.shared.claude_schema import conforms, count, transform
from extproc.dialects.shared.schemas import NotInSubset


def obj(required: list[str] | None = None, /, **properties: Any) -> dict[str, Any]:
    required = list(properties) if required is None else required
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


STRING = {"type": "string"}
LIKE_THE_SDK: list[Any] = [
    obj(a=STRING),
    obj(a={"type": "integer", "minimum": 0, "maximum": 9, "description": "Age"}),
    obj(a={"type": "integer", "minimum": 0}),
    obj(a={"oneOf": [STRING, {"type": "null"}]}),
    obj(a={"anyOf": [STRING, {"type": "integer", "multipleOf": 2}], "description": "d", "title": "t"}),
    obj(a={"allOf": [STRING, {"type": "string", "maxLength": 3}]}),
    obj(a={"type": "string", "format": "date-time"}),
    obj(a={"type": "string", "format": "credit-card", "pattern": "^x"}),
    obj(a={"type": "array", "items": STRING, "minItems": 1}),
    obj(a={"type": "array", "items": obj(b=STRING), "minItems": 2, "uniqueItems": True}),
    obj(a={"type": "array"}),
    obj(a={"type": "string", "enum": ["x", "y"]}),
    obj(a={"enum": ["x", 1, None, True]}),
    obj(a={"const": 3, "type": "integer"}),
    obj(a={"type": "string", "enum": [["nested"]]}),
    obj(a={"type": "boolean", "default": True}),
    {"type": "object", "properties": {"a": STRING}, "title": "T", "$schema": "https://json-schema.org/draft/2020-12"},
    {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/B"}},
        "$defs": {"B": obj(c={"type": "number", "minimum": 1})},
    },
    {"$ref": "#/$defs/B", "$defs": {"B": obj(c=STRING)}},
    {"type": "object", "properties": {}},
]


@pytest.mark.parametrize("schema", LIKE_THE_SDK, ids=lambda s: json.dumps(s)[:60])
def test_the_same_as_the_sdk(schema: dict[str, Any]) -> None:
    before = json.dumps(schema)
    assert transform(schema) == transform_schema(schema)
    assert json.dumps(schema) == before, "not changed in place"


LEAF = st.sampled_from([STRING, {"type": "integer", "minimum": 1}, {"enum": ["a", 1]}, {"type": "null"},
                        {"type": "string", "format": "uri", "maxLength": 9},
                        {"const": None, "title": "c"}])  # fmt: skip
NESTED = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3).map(lambda p: obj(**p)),
        inner.map(lambda i: {"type": "array", "items": i, "maxItems": 4}),
        st.lists(inner, min_size=1, max_size=3).map(lambda v: {"oneOf": v, "description": "one of"}),
        st.lists(inner, min_size=1, max_size=3).map(lambda v: {"anyOf": v}),
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(NESTED)
def test_any_schema_of_the_usual_words_is_the_same_as_the_sdk(schema: dict[str, Any]) -> None:
    transformed = transform(schema)
    assert transformed == transform_schema(schema)
    assert conforms(transformed)
    assert transform(transformed) == transformed


def test_type_arrays_stay() -> None:
    assert transform(obj(a={"type": ["string", "null"], "maxLength": 3}))["properties"]["a"] == {
        "type": ["string", "null"],
        "description": "{maxLength: 3}",
    }


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "object", "additionalProperties": STRING}, "a map"),
        (obj(a={"type": "object", "additionalProperties": {"type": "integer"}}), "a map"),
        (obj(a={"type": "object"}), "a map"),
        ({"type": "object", "properties": {}, "patternProperties": {"^x": STRING}}, "a map"),
        (obj(a={}), "without a type"),
        (obj(a=True), "not an object"),
        (obj(a={"type": "array", "items": [STRING]}), "not an object"),
        ({"type": "object", "properties": []}, "properties is not an object"),
        (obj(a={"$ref": "https://e.x/schema"}), "not among its definitions"),
        (obj(a={"$ref": "#/properties/b"}), "not among its definitions"),
        (
            {"$ref": "#/$defs/A", "$defs": {"A": obj(next={"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}]})}},
            "recursive",
        ),
        (
            {"$ref": "#/$defs/A", "$defs": {"A": obj(b={"$ref": "#/$defs/B"}), "B": obj(a={"$ref": "#/$defs/A"})}},
            "recursive",
        ),
        ({"allOf": [{"$ref": "#/$defs/A"}, STRING], "$defs": {"A": STRING}}, "allOf holds a reference"),
        (obj([], **{f"p{i}": STRING for i in range(25)}), "25 optional"),
        (obj(**{f"p{i}": {"type": ["string", "null"]} for i in range(17)}), "17 properties of a union"),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_what_the_subset_cannot_say(schema: dict[str, Any], problem: str) -> None:
    with pytest.raises(NotInSubset, match=problem):
        transform(schema)
    if "optional" not in problem and "union" not in problem:
        assert not conforms(schema)


@pytest.mark.parametrize(
    "schema",
    [
        obj(a=STRING),
        obj(a={"type": "string", "enum": ["a"], "pattern": "^a"}, b={"anyOf": [STRING, {"type": "null"}]}),
        obj(a={"type": "array", "items": obj(b=STRING), "minItems": 1}),
        {"$ref": "#/$defs/A", "$defs": {"A": obj(b=STRING)}},
    ],
)
def test_schemas_within_the_subset(schema: dict[str, Any]) -> None:
    assert conforms(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": STRING}},
        obj(a={"type": "integer", "minimum": 0}),
        obj(a={"oneOf": [STRING]}),
        obj(a={"type": "string", "format": "phone"}),
        obj(a={"type": "array", "items": STRING, "minItems": 2}),
        obj(a={"type": "array", "items": {"type": "object", "properties": {}}}),
    ],
)
def test_schemas_outside_the_subset(schema: dict[str, Any]) -> None:
    assert not conforms(schema)


def test_counting() -> None:
    schema = obj(["a"], a=STRING, b={"anyOf": [obj([], c=STRING), {"type": "null"}]}, d={"type": ["string", "null"]})
    assert count(schema) == (3, 2)


JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.sampled_from(["object", "array", "#/$defs/a"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["type", "properties", "items", "$ref", "$defs", "anyOf", "allOf", "enum", "required", "a"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(["type", "properties", "$defs", "anyOf", "$ref"]), JUNK, max_size=4))
def test_junk_is_refused_not_a_crash(schema: dict[str, Any]) -> None:
    try:
        transform(schema)
    except NotInSubset:
        assert not conforms(schema)
