from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects.shared.schemas import as_object, children, names, nodes, repaired, schema_object
from extproc.llm.failures import ProtocolError
from extproc.llm.fields import Fields

OBJECT: dict[str, Any] = {"type": "object"}
A, B = {"type": "string"}, {"type": "integer"}


@pytest.mark.parametrize(("value", "found"), [(None, None), ([], {}), ({}, {}), (A, A)])
def test_a_list_of_php_is_an_object(value: Any, found: Any) -> None:
    assert schema_object(Fields({"s": value}, "t"), "s") == found


@pytest.mark.parametrize("value", ["x", 3, [1]])
def test_nothing_else_is_a_schema(value: Any) -> None:
    with pytest.raises(ProtocolError, match=r"t\.s"):
        schema_object(Fields({"s": value}, "t"), "s")


def test_the_schemas_within_one() -> None:
    schema = {"properties": {"items": A, "b": {"anyOf": [A, True]}}, "items": [A, B], "not": B, "enum": [{"type": "x"}]}
    assert children(schema) == [A, {"anyOf": [A, True]}, A, B, B]
    assert len(nodes(schema)) == 7, "and what an enum holds is none"


@pytest.mark.parametrize(
    ("schema", "openai", "expected"),
    [
        ({"type": "object", "properties": []}, False, {"type": "object", "properties": {}}),
        ({"properties": {"a": []}}, False, {"properties": {"a": {}}}),
        ({"properties": {"a": None}}, False, {"properties": {"a": {}}}),
        ({"properties": {"a": {"items": []}}}, False, {"properties": {"a": {"items": {}}}}),
        ({"properties": {"a": {"type": "object", "properties": []}}}, False,
         {"properties": {"a": {"type": "object", "properties": {}}}}),
        (OBJECT, True, {"type": "object", "properties": {}}),
        ({"properties": {"a": {"type": "array"}}}, True,
         {"properties": {"a": {"type": "array", "items": {}}}, "type": "object"}),
        ({"type": "object", "properties": {"a": {"type": ["array", "null"]}}}, True,
         {"type": "object", "properties": {"a": {"type": ["array", "null"], "items": {}}}}),
        ({}, True, {"type": "object", "properties": {}}),
        ({"type": ["object", "null"]}, False, OBJECT),
        ({"type": None, "enum": None, "default": None}, False, {"default": None}),
        ({"required": {"0": "a", "2": "b"}, "enum": {"1": "x"}}, False, {"required": ["a", "b"], "enum": ["x"]}),
        ({"required": "a"}, False, {"required": ["a"]}),
        ({"properties": {"a": {"type": "STRING"}, "b": {"type": "int"}, "c": {"type": "any"}}}, False,
         {"properties": {"a": {"type": "string"}, "b": {"type": "integer"}, "c": {}}}),
        ({"type": ["str", "None"]}, False, {"type": ["string", "null"]}),
        ({"items": [A, B], "additionalItems": False}, False, {"prefixItems": [A, B], "items": False}),
        ({"minimum": 1, "exclusiveMinimum": True, "maximum": 2, "exclusiveMaximum": False}, False,
         {"exclusiveMinimum": 1, "maximum": 2}),
        ({"required": None, "anyOf": []}, False, {}),
        ({"anyOf": {"0": A, "2": {"properties": []}}}, False, {"anyOf": [A, {"properties": {}}]}),
        ({"properties": {"a": {"required": True}, "b": {"required": False}}}, False,
         {"properties": {"a": {}, "b": {}}, "required": ["a"]}),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "properties": {"a": A}}}}, False,
         {"type": "object", "properties": {"a": A}, "$defs": {"A": {"type": "object", "properties": {"a": A}}}}),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/B"}, "B": OBJECT}}, False,
         {"type": "object", "$defs": {"A": {"$ref": "#/$defs/B"}, "B": OBJECT}}),
        ({"$ref": "#/$defs/A", "required": ["a"], "$defs": {"A": OBJECT}}, False,
         {"required": ["a"], "$defs": {"A": OBJECT}, "allOf": [OBJECT]}),
    ],
)  # fmt: skip
def test_repaired(schema: Any, openai: bool, expected: Any) -> None:
    before = copy.deepcopy(schema)
    assert repaired(schema, openai=openai) == expected
    assert schema == before, "the client's own stays as it was"
    assert repaired(expected, openai=openai) is expected


@pytest.mark.parametrize("schema", [OBJECT, {"properties": {"a": {"type": "array"}}}, {"enum": [[]], "default": []}])
def test_what_lacks_nothing_is_the_same(schema: Any) -> None:
    assert repaired(schema) is schema


@pytest.mark.parametrize("combiner", ["anyOf", "oneOf", "allOf"])
def test_a_combiner_at_the_root_becomes_one_object(combiner: str) -> None:
    branches = [
        {"properties": {"a": A, "k": A}, "required": ["a"]},
        {"properties": {"b": B, "k": B}, "required": ["b"]},
    ]
    made, lost = as_object({"type": "object", combiner: branches, "required": ["z"]})
    assert combiner not in made and combiner in lost and made["type"] == "object"
    assert list(made["properties"]) == ["a", "k", "b"] and made["properties"]["a"] == A
    assert made["properties"]["k"] == {"allOf" if combiner == "allOf" else "anyOf": [A, B]}
    assert made["required"] == (["z", "a", "b"] if combiner == "allOf" else ["z"])


def test_branches_may_be_references() -> None:
    schema = {"$defs": {"A": {"properties": {"a": A}}}, "oneOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/none"}]}
    made, _ = as_object(schema)
    assert made["properties"] == {"a": A}


def test_a_choice_within_a_choice_is_one_of_its_branches() -> None:
    within = {"allOf": [{"properties": {"a": A}, "required": ["a"]}, {"properties": {"b": B}}]}
    made, words = as_object({"anyOf": [within, {"properties": {"c": A}}]})
    assert made == {"type": "object", "properties": {"a": A, "b": B, "c": A}} and "allOf" in words


def test_what_openai_refuses_at_the_root_besides() -> None:
    schema = {"type": "object", "properties": {"a": A}, "not": {"required": ["a"]}, "enum": [{}]}
    assert as_object(schema) == (schema, "")
    made, words = as_object(schema, openai=True)
    assert made == {"type": "object", "properties": {"a": A}} and '"not"' in words and '"enum"' in words


def test_without_a_combiner_nothing_changes() -> None:
    made, lost = as_object(OBJECT)
    assert made is OBJECT and lost == ""


@pytest.mark.parametrize(("value", "found"), [(["a", 3, "b"], ["a", "b"]), ("a", []), (None, []), ({}, [])])
def test_required_names(value: Any, found: list[str]) -> None:
    assert names(value) == found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["properties", "items", "anyOf", "type", "not", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(st.sampled_from(["properties", "items", "allOf", "oneOf", "type", "required"]), JSON, max_size=5)
)
def test_no_schema_breaks_them(schema: dict[str, Any]) -> None:
    for openai in (False, True):
        made = repaired(schema, openai=openai)
        assert repaired(made, openai=openai) == made, "once is enough"
    made, _ = as_object(schema)
    assert not {"allOf", "oneOf"} & set(made)


def test_what_is_known_of_a_schema_is_known_of_that_one_alone() -> None:
    """Of each API its own, however often it is asked, and never of what has been made of it."""
    for _ in range(3):
        plain: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "array"}}}
        assert repaired(plain) is plain
        assert repaired(plain, openai=True) == {
            "type": "object", "properties": {"a": {"type": "array", "items": {}}}
        }  # fmt: skip
        whole: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}
        assert repaired(whole, openai=True) is whole and repaired(whole) is whole
        whole["properties"] = []
        assert repaired(whole) == {"type": "object", "properties": {}} and whole["properties"] == []
