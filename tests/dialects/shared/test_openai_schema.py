from __future__ import annotations

from typing import Any

import pytest

from extproc.dialects.shared.openai_schema import is_strict


def closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


STRING = {"type": "string"}
NESTED: dict[str, Any] = STRING
for _ in range(100):
    NESTED = {"type": "array", "items": NESTED}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (closed(), True),
        (closed(a=STRING, b={"type": ["string", "null"]}, c={"enum": [1]}), True),
        (closed(a={"anyOf": [STRING, closed(b=STRING)]}), True),
        (closed(a={"$ref": "#/$defs/x"}) | {"$defs": {"x": closed(b=STRING)}}, True),
        (closed(a={"type": "array", "items": closed(b=STRING)}), True),
        (closed(a=STRING) | {"required": []}, False),
        (closed(a=STRING) | {"additionalProperties": True}, False),
        ({"type": "object", "properties": {}}, False),
        (STRING, False),
        (closed() | {"anyOf": []}, False),
        (closed(a={"type": "object"}), False),
        (closed(a={"oneOf": [STRING]}), False),
        (closed(a={"anyOf": [{"type": "object", "properties": {"b": STRING}}]}), False),
        (closed(a={"$ref": "#/$defs/x"}) | {"$defs": {"x": {"type": "object"}}}, False),
        (closed(a={"type": ["object", "null"], "properties": {"b": STRING}}), False),
        (closed(a={"type": "array", "items": True}), False),
        (closed(a=3), False),
        (closed(a=STRING) | {"required": "a"}, False),
        (closed() | {"properties": []}, False),
        (closed(a=NESTED), False),
    ],
    ids=lambda value: str(value)[:60],
)
def test_strictness(schema: dict[str, Any], strict: bool) -> None:
    assert is_strict(schema) is strict
