"""JSON Schemas of tools, made fit for an API that is stricter than the one they were written for.

What is rewritten means what was written. The walks keep their own stack: a deep schema costs what its size costs, and
none is too deep for Python.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import msgspec

from ...llm.fields import Fields
from ...llm.losses import Action, LossReport
from ...llm.request import Tool
from ..base import encode

MAPS: Final = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Keywords whose value maps names to schemas."""
LISTS: Final = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
"""Keywords whose value is a list of schemas."""
SINGLE: Final = frozenset({
    "items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames", "unevaluatedItems",
    "unevaluatedProperties", "additionalItems",
})  # fmt: skip
"""Keywords whose value is a schema."""
_HOLDING: Final = MAPS | LISTS | SINGLE

Schema = dict[str, Any]

decode: Final = msgspec.json.Decoder().decode


class NotInSubset(Exception):
    """The schema says something that an API's subset of JSON Schema cannot say; the message says what."""


def schema_object(fields: Fields, name: str) -> Schema | None:
    """Takes the schema *name*. An empty list is an empty object: PHP writes one for the other."""
    value = fields.any(name)
    if value is None or value == []:
        return None if value is None else {}
    if type(value) is dict:
        return value
    return Fields({name: value}, fields.path).take(name, dict)  # raises, in the words of all other members


def children(schema: Schema) -> list[Any]:
    """The values that stand directly within *schema* where a schema belongs, whatever they are."""
    found: list[Any] = []
    if _HOLDING.isdisjoint(schema):
        # As most: they say what a value is.
        return found
    for name in schema:
        value = schema[name]
        if name in MAPS and type(value) is dict:
            found += value.values()
        elif name in LISTS and type(value) is list:
            found += value
        elif name in SINGLE:
            found += value if type(value) is list and name == "items" else [value]
    return found


def nodes(schema: Any) -> list[Schema]:
    """*schema* and the schemas within it, those that are objects."""
    found: list[Schema] = []
    waiting: list[Any] = [schema]
    while waiting:
        node = waiting.pop()
        if type(node) is dict:
            found.append(node)
            waiting += children(node)
    return found


def repaired(schema: Schema, *, openai: bool = False) -> Schema:
    """*schema* itself, or a copy that validators take: with objects where PHP left lists, with lists where it left
    objects, without what is null or no value of its keyword, and with an object at the root, not a reference to one.
    *openai*: with what that API demands too, ``type`` and ``properties`` at the root and ``items`` in each array."""
    root = _lacks_root(schema, openai)
    if not root:
        seen = _seen(blake2b(encode(schema), digest_size=16).digest(), openai)
        if not seen:
            seen.append(any(_is_lacking(node, openai) for node in nodes(schema)))
        if not seen[0]:
            return schema
    copy: Schema = decode(encode(schema))
    if root:
        copy = _inlined(copy)
    waiting: list[Any] = [copy]
    while waiting:
        node = waiting.pop()
        if type(node) is dict:
            _repair(node, openai)
            waiting += children(node)
    _settle_root(copy, openai)
    return copy


def _lacks_root(schema: Schema, openai: bool) -> bool:
    kind = schema.get("type")
    if "$ref" in schema or (type(kind) is list and "object" in kind):
        return True
    return openai and (kind is None or (kind == "object" and "properties" not in schema))


def _settle_root(schema: Schema, openai: bool) -> None:
    kind = schema.get("type")
    if (type(kind) is list and "object" in kind) or (openai and kind is None):
        schema["type"] = "object"
    if openai and schema.get("type") == "object":
        schema.setdefault("properties", {})


def _inlined(schema: Schema) -> Schema:
    """*schema* with what its root refers to in the reference's place. What else holds there is a part of ``allOf``."""
    for _ in range(MAX_REFERENCES):
        found = _branch(schema, schema)
        if found is schema:
            break
        beside = {name: value for name, value in schema.items() if name != "$ref"}
        if _BESIDE.issuperset(beside):
            schema = {**found, **beside}
        else:
            schema = {**beside, "allOf": [*_listed(beside.get("allOf")), found]}
    return schema


_BESIDE: Final = frozenset({"$schema", "$id", "$defs", "definitions", "$comment", "title", "description", "type"})
"""What may stand beside a reference and asks nothing of the input but that it is an object."""
MAX_REFERENCES: Final = 8
"""References that lead to another one, and choices within choices, are followed so far."""


@lru_cache(maxsize=4096)
def _seen(digest: bytes, openai: bool) -> list[bool]:
    """Whether the schema of this *digest* is lacking something; empty until it is known. An agent sends the same tools
    with each of its turns."""
    return []


def _is_lacking(node: Schema, openai: bool) -> bool:
    if openai and _lacks_items(node):
        return True
    for name in node:
        value = node[name]
        if value is None:
            if name not in _MAY_BE_NULL:
                return True
        elif name not in _LOOKED_AT:
            # As most: they say what a value is.
            continue
        elif name == "type":
            if value not in _TYPES if type(value) is str else not _TYPES.issuperset(_types(node)):
                return True
        elif name in MAPS:
            if not value if type(value) is not dict else not all(map(_is_schema, value.values())):
                return True
        elif name in SINGLE:
            if type(value) is list and (name == "items" or not value):
                return True
        elif name in _EXCLUSIVE:
            if type(value) is bool:
                return True
        elif type(value) is not list or (not value and name in LISTS):
            return True
    return False


def _repair(node: Schema, openai: bool) -> None:
    for name, value in list(node.items()):
        if name in MAPS and not value:
            node[name] = {}
        elif value is None and name not in _MAY_BE_NULL:
            del node[name]
        elif name in MAPS and type(value) is dict:
            node[name] = {key: inner if _is_schema(inner) else {} for key, inner in value.items()}
        elif name in SINGLE and value == []:
            node[name] = {}
        elif name in _LISTS_OF_ANY and (type(value) is not list or not value):
            if listed := _listed(value):
                node[name] = listed
            elif name != "required" or value != []:
                del node[name]
    if type(properties := node.get("properties")) is dict:
        _hoist(node, properties)
    _modernize(node)
    if openai and _lacks_items(node):
        node["items"] = {}


def _modernize(node: Schema) -> None:
    """What earlier drafts said otherwise, and types by the names that programming languages have for them."""
    if not _TYPES.issuperset(kinds := _types(node)):
        found = [word for kind in kinds if (word := _MEANT.get(kind.lower(), kind.lower()))]
        if not found:
            del node["type"]
        else:
            node["type"] = found if type(node["type"]) is list else found[0]
    if type(items := node.get("items")) is list:
        node["prefixItems"] = items
        rest = node.pop("additionalItems", None)
        del node["items"]
        if rest is not None:
            node["items"] = rest
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if type(wanted := node.get(exclusive)) is bool:
            del node[exclusive]
            if wanted and bound in node:
                node[exclusive] = node.pop(bound)


def _types(node: Schema) -> list[str]:
    kind = node.get("type")
    if type(kind) is str:
        return [kind]
    return [each for each in kind if type(each) is str] if type(kind) is list else []


_TYPES: Final = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_MEANT: Final = {
    "any": "", "mixed": "", "str": "string", "text": "string", "int": "integer", "int32": "integer", "int64": "integer",
    "long": "integer", "float": "number", "double": "number", "decimal": "number", "bool": "boolean", "list": "array",
    "tuple": "array", "dict": "object", "map": "object", "none": "null", "nil": "null",
}  # fmt: skip
"""What is no type of JSON Schema -> the one that is meant; empty: all of them."""
_MAY_BE_NULL: Final = frozenset({"default", "const", "example"})
_LISTS_OF_ANY: Final = frozenset({*LISTS, "required", "enum"})
_EXCLUSIVE: Final = frozenset({"exclusiveMinimum", "exclusiveMaximum"})
_LOOKED_AT: Final = MAPS | SINGLE | _LISTS_OF_ANY | _EXCLUSIVE | {"type"}


def _listed(value: Any) -> list[Any]:
    """What was meant as a list: PHP writes one with gaps as an object, and one name may stand alone."""
    if type(value) is dict:
        return list(value.values())
    return value if type(value) is list else [value] if type(value) is str else []


def _hoist(node: Schema, properties: Schema) -> None:
    """JSON Schema's third draft said of each property whether it is required."""
    demanded = [key for key, inner in properties.items() if type(inner) is dict and inner.get("required") is True]
    if demanded:
        node["required"] = list(dict.fromkeys([*_listed(node.get("required")), *demanded]))


def _is_schema(value: Any) -> bool:
    return value is not None and value != []


def _lacks_items(node: Schema) -> bool:
    kind = node.get("type")
    is_array = kind == "array" or (type(kind) is list and "array" in kind)
    return is_array and node.get("items") is None and "prefixItems" not in node


def as_object(schema: Schema, *, openai: bool = False) -> tuple[Schema, str]:
    """*schema* without the combiners at its root, which some APIs refuse there (*openai*: and what else that one does),
    and what was lost as words for the tool's description (empty: nothing was). The branches become one object: all of
    their properties, and required is what each of them requires, of ``allOf`` what any does."""
    refused = _REFUSED_BY_OPENAI if openai else _COMBINERS
    if refused.isdisjoint(schema):
        return schema, ""
    out = _folded(schema, refused, schema, 0)
    lost = {name: schema[name] for name in schema if name in refused}
    return out, f"The input must match this JSON Schema:\n{encode(lost).decode()}"


def _folded(schema: Schema, refused: frozenset[str], root: Schema, depth: int) -> Schema:
    out = {name: value for name, value in schema.items() if name not in refused}
    out["type"] = "object"
    own = schema.get("properties")
    out["properties"] = dict(own) if type(own) is dict else {}
    required = dict.fromkeys(names(schema.get("required")))
    for combiner in ("allOf", "anyOf", "oneOf"):
        branches = schema.get(combiner)
        if type(branches) is list:
            folded = [_branch(branch, root) for branch in branches if type(branch) is dict]
            if depth < MAX_REFERENCES:
                folded = [
                    branch if _COMBINERS.isdisjoint(branch) else _folded(branch, _COMBINERS, root, depth + 1)
                    for branch in folded
                ]
            _join(out["properties"], folded, combiner)
            required |= _demanded(folded, combiner)
    if required:
        out["required"] = list(required)
    return out


_COMBINERS: Final = frozenset({"anyOf", "oneOf", "allOf"})
_REFUSED_BY_OPENAI: Final = _COMBINERS | {"enum", "not"}


def rooted(tool: Tool, schema: Schema, losses: LossReport, *, openai: bool = False) -> tuple[Schema, str]:
    """*schema* with an object at its root, and the description of its *tool*, with what the object cannot say."""
    schema, words = as_object(schema, openai=openai)
    if words:
        losses.add(tool.at, Action.DOWNGRADED, "its schema's choices are described, not enforced")
    return schema, "\n\n".join(text for text in (tool.description, words) if text)


def _branch(branch: Schema, root: Schema) -> Schema:
    """*branch*, or the definition of *root* that it refers to."""
    place, _, name = str(branch.get("$ref", "")).removeprefix("#/").partition("/")
    definitions = root.get(place) if place in ("$defs", "definitions") else None
    found = definitions.get(name) if type(definitions) is dict else None
    return found if type(found) is dict else branch


def _join(properties: Schema, branches: list[Schema], combiner: str) -> None:
    """Add the properties of *branches*. Of a property that several have each form stays possible; what the object
    itself says of a property stands, and the parts of ``allOf`` hold beside it."""
    forms: dict[str, dict[bytes, Any]] = {}
    for branch in branches:
        members = branch.get("properties")
        for name, schema in members.items() if type(members) is dict else ():
            forms.setdefault(name, {})[encode(schema)] = schema
    for name, found in forms.items():
        if combiner == "allOf" and name in properties:
            found = {encode(properties[name]): properties[name], **found}
        elif name in properties:
            continue
        each = list(found.values())
        word = "allOf" if combiner == "allOf" else "anyOf"
        properties[name] = each[0] if len(each) == 1 else {word: each}


def _demanded(branches: list[Schema], combiner: str) -> dict[str, None]:
    counts: dict[str, int] = {}
    for branch in branches:
        for name in dict.fromkeys(names(branch.get("required"))):
            counts[name] = counts.get(name, 0) + 1
    needed = 1 if combiner == "allOf" else len(branches)
    return dict.fromkeys(name for name, count in counts.items() if count >= needed)


def names(required: Any) -> list[str]:
    """What a schema's ``required`` names."""
    return [name for name in required if type(name) is str] if type(required) is list else []
