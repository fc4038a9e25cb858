"""The subset of JSON Schema that Anthropic's structured outputs take.

Anthropic, "Structured outputs", section "JSON Schema limitations" (August 2026). ``transform`` gives what the official
SDK's ``transform_schema`` gives wherever that is right; where the SDK would silently change what a schema means (a map
would become an object without members), it is refused instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ...llm.request import Tool
from .naming import property_names
from .schemas import NotInSubset, as_object, names, repaired

FORMATS: Final = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
MAX_OPTIONAL: Final = 24
"""Most optional properties in one request's schemas."""
MAX_UNIONS: Final = 16
"""Most parameters with a union type in one request's schemas."""

_DEFINITIONS = ("$defs", "definitions")
_UNSUPPORTED: Final = frozenset({
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "maxItems",
    "uniqueItems", "oneOf", "not", "if", "then", "else", "prefixItems", "contains", "minContains", "maxContains",
    "patternProperties", "propertyNames", "minProperties", "maxProperties", "dependentRequired", "dependentSchemas",
    "unevaluatedProperties", "unevaluatedItems",
})  # fmt: skip


def transform(schema: dict[str, Any]) -> dict[str, Any]:
    """*schema* within the subset; what only narrows a value goes into its description. Raises NotInSubset."""
    try:
        _check_references(schema)
        _refuse_references_in_all_of(schema)
        transformed = _transform(schema)
        optional, unions = count(transformed)
    except RecursionError:
        raise NotInSubset("it is nested too deep") from None
    if optional > MAX_OPTIONAL:
        raise NotInSubset(f"it has {optional} optional properties, at most {MAX_OPTIONAL} are allowed")
    if unions > MAX_UNIONS:
        raise NotInSubset(f"it has {unions} properties of a union type, at most {MAX_UNIONS} are allowed")
    return transformed


def conforms(schema: dict[str, Any]) -> bool:
    """Whether *schema* is within the subset as it stands."""
    try:
        _check_references(schema)
        _refuse_references_in_all_of(schema)
        _transform(schema)
        return all(_conforms(node) for node in _nodes(schema))
    except (NotInSubset, RecursionError):
        return False


def count(schema: dict[str, Any]) -> tuple[int, int]:
    """How many optional properties, and how many properties of a union type, there are in *schema*."""
    optional = unions = 0
    for node in _nodes(schema):
        properties = node.get("properties")
        if type(properties) is not dict:
            continue
        optional += len(properties.keys() - set(names(node.get("required"))))
        unions += sum("anyOf" in p or type(p.get("type")) is list for p in properties.values() if type(p) is dict)
    return optional, unions


def _conforms(node: dict[str, Any]) -> bool:
    if not _UNSUPPORTED.isdisjoint(node):
        return False
    if "properties" in node or node.get("type") == "object":
        return node.get("additionalProperties") is False
    return node.get("format", "date") in FORMATS and node.get("minItems", 0) in (0, 1)


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """*schema* and the schemas within it. Each costs the same, however deep it stands."""
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if type(node) is not dict:
            continue
        yield node
        waiting.append(node.get("items"))
        for name in ("allOf", "oneOf", "anyOf"):
            members = node.get(name)
            if type(members) is list:
                waiting += reversed(members)
        for name in (*reversed(_DEFINITIONS), "properties"):
            members = node.get(name)
            if type(members) is dict:
                waiting += reversed(members.values())


def _check_references(schema: dict[str, Any]) -> None:
    """Every reference points at one of the schema's own definitions, and none leads back to itself."""
    definitions: dict[str, Any] = {}
    for place in _DEFINITIONS:
        members = schema.get(place)
        if type(members) is dict:
            definitions |= {f"#/{place}/{name}": member for name, member in members.items()}
    within = {path: list(_references(member)) for path, member in definitions.items()}
    for reference in [*_references(schema), *(r for references in within.values() for r in references)]:
        if reference not in definitions:
            raise NotInSubset(f"it refers to {reference}, which is not among its definitions")
    _refuse_cycles(within)


def _refuse_cycles(within: dict[str, list[str]]) -> None:
    """*within*: the definitions that each definition refers to."""
    left = {path: len(references) for path, references in within.items()}
    users: dict[str, list[str]] = {path: [] for path in within}
    for path, references in within.items():
        for reference in references:
            users[reference].append(path)
    free = [path for path, count in left.items() if not count]
    while free:
        for user in users[free.pop()]:
            left[user] -= 1
            if not left[user]:
                free.append(user)
    for path, count in left.items():
        if count:
            raise NotInSubset(f"{path} is recursive")


def _references(schema: Any) -> Iterator[str]:
    for node in _nodes(schema):
        reference = node.get("$ref")
        if reference is not None:
            yield reference if type(reference) is str else str(reference)


def _refuse_references_in_all_of(schema: dict[str, Any]) -> None:
    """An ``allOf`` that is taken for what it is may hold no reference, at any depth."""
    waiting: list[tuple[Any, bool]] = [(schema, False)]
    while waiting:
        node, inside = waiting.pop()
        if type(node) is not dict:
            continue
        if inside and node.get("$ref") is not None:
            raise NotInSubset("allOf holds a reference")
        for name in ("allOf", "oneOf", "anyOf"):
            members = node.get(name)
            if type(members) is list:
                taken = name == "allOf" and not any(type(node.get(other)) is list for other in ("anyOf", "oneOf"))
                waiting += [(member, inside or taken) for member in members]
        for name in ("properties", *_DEFINITIONS):
            members = node.get(name)
            if type(members) is dict:
                waiting += [(member, inside) for member in members.values()]
        waiting.append((node.get("items"), inside))


def _transform(schema: Any) -> dict[str, Any]:
    if type(schema) is not dict:
        raise NotInSubset(f"{schema!r} is not an object")
    left = dict(schema)
    out: dict[str, Any] = {}
    for place in _DEFINITIONS:
        definitions = left.pop(place, None)
        if definitions is not None:
            out[place] = {name: _transform(member) for name, member in _object(definitions, place).items()}
    if (reference := left.pop("$ref", None)) is not None:
        out["$ref"] = reference
        return out
    kinds = _shape(left, out)
    for name in ("description", "title"):
        if (value := left.pop(name, None)) is not None:
            out[name] = value
    if "object" in kinds:
        _object_members(left, out)
    if "string" in kinds and (form := left.pop("format", None)):
        (out if form in FORMATS else left)["format"] = form
    if "array" in kinds:
        if (items := left.pop("items", None)) is not None:
            out["items"] = _transform(items)
        if (least := left.pop("minItems", None)) is not None:
            (out if least in (0, 1) else left)["minItems"] = least
    if left:
        hints = "{" + ", ".join(f"{name}: {value}" for name, value in left.items()) + "}"
        out["description"] = f"{out['description']}\n\n{hints}" if "description" in out else hints
    return out


def _shape(left: dict[str, Any], out: dict[str, Any]) -> tuple[str, ...]:
    """Move over what says which values there are; returns the JSON types whose own keywords count."""
    kind = left.pop("type", None)
    alternatives = [left.pop(name, None) for name in ("anyOf", "oneOf", "allOf")]
    enum = left.get("enum")
    if type(enum) is list and enum and all(map(_primitive, enum)):
        out["enum"] = list(left.pop("enum"))
    if "const" in left and _primitive(left["const"]):
        out["const"] = left.pop("const")
    literal = "enum" in out or "const" in out
    for name, variants in zip(("anyOf", "anyOf", "allOf"), alternatives, strict=True):
        if type(variants) is list:
            out[name] = [_transform(variant) for variant in variants]
            break
    else:
        if not literal:
            if kind is None:
                raise NotInSubset("a schema without a type, which allows anything")
            out["type"] = kind
    if literal or kind is None:
        return ()
    return tuple(kind) if type(kind) is list else (kind,)


def _object_members(left: dict[str, Any], out: dict[str, Any]) -> None:
    properties, others = left.pop("properties", None), left.pop("additionalProperties", None)
    if type(others) is dict or "patternProperties" in left or (properties is None and others is not False):
        raise NotInSubset("it has a map, an object whose property names are open")
    properties = {} if properties is None else _object(properties, "properties")
    out["properties"] = {name: _transform(member) for name, member in properties.items()}
    out["additionalProperties"] = False
    required = left.pop("required", None)
    if required is not None:
        out["required"] = required


def _object(value: Any, name: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise NotInSubset(f"{name} is not an object")
    return value


def _primitive(value: Any) -> bool:
    return value is None or type(value) in (str, int, float, bool)


# ---- names of properties


def input_names(tools: list[Tool]) -> dict[str, dict[str, str]]:
    """By tool: members of its input that Claude's API refuses by their names -> as they are sent."""
    found: dict[str, dict[str, str]] = {}
    for tool in tools:
        if tool.kind == "function" and tool.schema is not None:
            properties = as_object(repaired(tool.schema))[0].get("properties")
            if type(properties) is dict and (renamed := property_names(properties)):
                found[tool.name] = renamed
    return found


def with_names(schema: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """*schema* with its properties renamed, wherever it names them."""

    def named(keys: Any) -> Any:
        return [names.get(key, key) if type(key) is str else key for key in keys] if type(keys) is list else keys

    out = dict(schema)
    for name in ("properties", "dependentRequired", "dependentSchemas"):
        if type(members := schema.get(name)) is dict:
            out[name] = {names.get(key, key): value for key, value in members.items()}
    if "dependentRequired" in out:
        out["dependentRequired"] = {key: named(keys) for key, keys in out["dependentRequired"].items()}
    if "required" in schema:
        out["required"] = named(schema["required"])
    return out


def undone(keys: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """*keys* for the answer: as sent -> as the client knows them."""
    return {tool: {sent: name for name, sent in names.items()} for tool, names in keys.items()}
