"""``extproc.yaml``: providers, models and what holds for all of them, in a screenful.

Whatever a route's metadata may say (``docs/envoy.md``) may be said here of a provider, of a model, or of all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from ..policy import KINDS
from ..providers import DIALECTS, PROVIDERS
from ..route import RouteError
from ..route import text as route_text
from ..route.catalogue import MEMBERS
from ..route.model import Level, split_endpoint
from ..route.text import choose, shown

DEFAULT_LISTEN = "127.0.0.1:10000"
_LINK = re.compile(r"\[([^]]*)\]\([^)]*\)")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,48}\Z")


class FileError(Exception):
    """The file is not what it should be; the message is one line, with the place in the file."""


def _url(text: str) -> str:
    split_endpoint(text)
    return text


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ValueError("expected an address and a port, as 127.0.0.1:10000")
    return text


def _key(text: str) -> str:
    if text and "${" not in text:
        raise ValueError("expected a reference, ${NAME} or ${file:/path}: a key has no place in a file that is shown")
    return text


def _named(value: Any) -> Any:
    """No members at all are as good as an empty mapping."""
    return {} if value is None else value


class NamedProvider(Level):
    """One provider, by a name of your own. ``provider`` may be left out where that name is a provider's."""

    url: Annotated[str, AfterValidator(_url), Field(description="The base URL, as the vendor's own SDK takes it.")] = ""
    key: Annotated[
        str, AfterValidator(_key), Field(description="The API key, as ${NAME} or ${file:/path}; usually left out.")
    ] = ""
    models: Annotated[list[str], Field(description="Models of its that clients are told of.")] = []


def _uses(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class NamedModel(Level):
    """One name for a model, or a pattern in which one ``*`` stands for any text."""

    use: Annotated[
        list[str],
        BeforeValidator(_uses),
        Field(
            min_length=1,
            description="PROVIDER, PROVIDER/MODEL, or another model's name; of a list the next one when one fails.",
        ),
    ]
    name: Annotated[str, Field(description=MEMBERS["name"])] = ""
    owned_by: Annotated[str, Field(description=MEMBERS["owned_by"])] = ""
    created: Annotated[int | str, Field(description=MEMBERS["created"])] = 0


def _model(value: Any) -> Any:
    return value if isinstance(value, dict) else {"use": value}


class GatewayFile(Level):
    """The whole file. Members of a route said here hold for every provider and model that does not say otherwise."""

    listen: Annotated[
        str, AfterValidator(_address), Field(description="Where clients connect. Who reaches it spends your keys.")
    ] = DEFAULT_LISTEN
    providers: Annotated[
        dict[str, Annotated[NamedProvider, BeforeValidator(_named)]],
        Field(description="Left out: those that are found in the environment and on this machine."),
    ] = {}
    models: Annotated[
        dict[str, Annotated[NamedModel, BeforeValidator(_model)]],
        Field(description="Left out: every provider's own, by their names. Any other name is a 404, unless `*` is."),
    ] = {}


def read(text: str, where: str = "extproc.yaml") -> GatewayFile:
    """*text* (YAML 1.2 or JSON) as a gateway. Raises FileError, which begins with *where*."""
    return gateway(values_of(text, where), where)


def values_of(text: str, where: str = "extproc.yaml") -> dict[str, Any]:
    """*text* as plain values, whatever they are. Raises FileError."""
    try:
        return route_text.read(text, where)
    except RouteError as error:
        raise FileError(str(error)) from None


def gateway(values: dict[str, Any], where: str = "extproc.yaml") -> GatewayFile:
    """*values* as a gateway. Raises FileError."""
    try:
        found = GatewayFile.model_validate(values)
    except ValidationError as error:
        raise FileError(f"{where}: {next(_problems(error, values))}") from None
    for name, entry in found.providers.items():
        at = f"{where}: providers.{name[:48]}"
        if not _NAME.match(name):
            raise FileError(f"{at}: expected a name of letters, digits, `_`, `.` and `-`")
        if not entry.provider and name.replace("_", "-") not in PROVIDERS:
            raise FileError(f"{at}: say which one it is, as provider: openai-compatible{choose(name, PROVIDERS)}")
        if entry.auth.model_fields_set and entry.key:
            raise FileError(f"{at}: key and auth say the same thing; give one of them")
    for name, model in found.models.items():
        if not name or name.count("*") > 1:
            raise FileError(f"{where}: models.{name[:48]}: expected a name, in which one `*` may stand for any text")
        if isinstance(model.created, str) and not re.fullmatch(r"\d{4}-\d\d-\d\d", model.created):
            raise FileError(f"{where}: models.{name[:48]}.created: expected a day such as 2025-09-29")
    return found


def said(entry: Level) -> dict[str, Any]:
    """What *entry* says of routes, as a route's metadata."""
    own = set(type(entry).model_fields) - set(Level.model_fields)
    found = entry.model_dump(exclude_unset=True, exclude=own)
    return found | {"auth": "none"} if found.get("auth") == {"none": True} else found


def _problems(error: ValidationError, values: dict[str, Any]) -> Iterator[str]:
    for item in error.errors(include_url=False, include_input=False):
        where = [str(part) for part in item["loc"] if part != "[key]"]
        path = ".".join(where)[:120]
        match item["type"]:
            case "extra_forbidden":
                yield f"unknown key {shown(path)}{choose(where[-1], _known(where))}"
            case "value_error":
                yield f"{path}: {item['ctx']['error']}"
            case "missing":
                yield f"{path}: is missing: expected PROVIDER/MODEL, or {{use: PROVIDER/MODEL}}"
            case _:
                yield f"{path}: {item['msg'].lower()}"
    yield "cannot be read"


def _known(where: list[str]) -> list[str]:
    fields = GatewayFile.model_fields
    if len(where) > 2:
        fields = NamedProvider.model_fields if where[0] == "providers" else NamedModel.model_fields
    return list(fields)


def schema(*, links: bool = False) -> dict[str, Any]:
    """The JSON schema of the file, for editors; with *links* the descriptions keep theirs, to pages of ``docs/``."""
    made = GatewayFile.model_json_schema()
    made |= {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "extproc.yaml"}
    definitions: dict[str, Any] = made["$defs"]
    definitions["Auth"]["properties"].pop("none", None)
    auth = {"anyOf": [{"$ref": "#/$defs/Auth"}, {"const": "none"}]}
    policies = {
        "items": {"type": "object", "propertyNames": {"enum": list(KINDS)}, "minProperties": 1, "maxProperties": 1},
        "type": "array",
    }
    forms: dict[str, dict[str, Any]] = {
        "auth": auth,
        "policies": policies,
        "provider": {"enum": list(PROVIDERS)},
        "client": {"enum": list(DIALECTS)},
        "upstream": {"enum": list(DIALECTS)},
        "quirks": {"type": "object"},
        "prefixes": {"type": "object", "additionalProperties": {"type": "string"}},
    }
    for part in (made, definitions["NamedProvider"], definitions["NamedModel"]):
        properties = part["properties"]
        properties |= {name: {"description": properties[name]["description"], **form} for name, form in forms.items()}
    for kind in ("provider", "url", "key", "models"):
        definitions["NamedModel"]["properties"].pop(kind, None)
    uses = definitions["NamedModel"]["properties"]["use"]
    text = {"type": "string"}
    definitions["NamedModel"]["properties"]["use"] = {"description": uses["description"], "anyOf": [text, uses]}
    entries: dict[str, Any] = made["properties"]
    model = {"anyOf": [text, {"type": "array", "items": text, "minItems": 1}, {"$ref": "#/$defs/NamedModel"}]}
    provider = {"anyOf": [{"$ref": "#/$defs/NamedProvider"}, {"type": "null"}]}
    entries["models"]["additionalProperties"] = model
    entries["providers"]["additionalProperties"] = provider
    found: dict[str, Any] = _shown(made, links)
    return found


def _shown(value: Any, links: bool) -> Any:
    """*value*, a part of a schema, without the defaults that only say that a member was left out."""
    if isinstance(value, list):
        return [_shown(each, links) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {name: each for name, each in value.items() if name != "default" or not _left_out(each)}
    if not links and isinstance(about := kept.get("description"), str):
        kept["description"] = _LINK.sub(r"\1", about)
    return {name: _shown(each, links) for name, each in kept.items()}


def _left_out(default: Any) -> bool:
    return isinstance(default, dict) or (default in ("", 0, 1, []) and not isinstance(default, bool))
