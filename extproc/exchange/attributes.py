"""What Envoy says about an exchange beside its headers and bodies: whose route it is, which attempt, whose answer.

Attributes come with a stream's first message, under the filter's type, each by the expression that asked for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from google.protobuf import json_format, text_format

from ..envoy_api.envoy.config.core.v3.base_pb2 import Metadata
from ..names import remembered
from ..route import RouteError
from ..route.cache import by_text
from ..route.model import checked
from ..route.text import read
from .incoming import Incoming
from .mutations import NAMESPACE

GATEWAY: Final = "envoy-gateway"
"""The namespace in which Envoy Gateway tells what a route was made of."""
ATTEMPT: Final = "upstream.request_attempt_count"
ROUTE_NAME: Final = "xds.route_name"
MODELS: Final = "xds.virtual_host_metadata.filter_metadata['extproc']['models']"
ROUTES: Final = "xds.virtual_host_metadata.filter_metadata['extproc']['routes']"
"""Beneath it each route of the listener's by its name: ``[...]['routes']['openai']``."""
PATH: Final = "request.path"
METHOD: Final = "request.method"
CODE_DETAILS: Final = "response.code_details"
OURS: Final = "extproc_"
"""How the details of our own answers begin."""
BY_UPSTREAM: Final = "via_upstream"

NO_METADATA: Final = (
    "no route metadata came: set filter_metadata.extproc.route on the route, the cluster or the endpoint, and ask for "
    "it in request_attributes: xds.route_metadata.filter_metadata['extproc']['route']"
)
_A_MAP: Final = "CelMap value"
"""What Envoy says for an attribute that is a mapping."""

_LEVELS: Final = {"xds.route_metadata": 0, "xds.cluster_metadata": 1, "xds.upstream_host_metadata": 2}
_LEAF: Final = 0
_ANNOTATION: Final = 1
_ALL: Final = 2
_LAST: Final = 3
"""The forms in which a level's metadata can come, the best one first: the string leaf, Envoy Gateway's annotation, all
of the metadata as text, and a mapping, which cannot be read."""
_LEVEL_NAMES: Final = ("route", "cluster", "endpoint")
_SUFFIXES: Final = {
    ".filter_metadata['extproc']['route']": _LEAF,
    ".filter_metadata['envoy-gateway']['resources'][0]['annotations']['extproc']": _ANNOTATION,
    "": _ALL,
}
_DEBUG_PREFIX: Final = re.compile(r"^\s*goo\.gle/\S+\s*")

_encode: Final = msgspec.json.Encoder().encode

LevelText = str | Mapping[str, Any] | None


class Attributes:
    """The attributes of one message."""

    __slots__ = ("_fields", "_levels")

    def __init__(self, message: Incoming) -> None:
        self._fields = message.attributes
        self._levels: list[tuple[int, str] | None] | None = None

    def text(self, name: str) -> str:
        found = self._fields.get(name)
        return found if isinstance(found, str) else ""

    def named_route(self, name: str) -> str:
        """What the virtual host says of the route *name*, empty if nothing."""
        return self.text(_place_of(name))

    @property
    def attempt(self) -> int | None:
        """0 in a listener filter, 1, 2 ... in an upstream filter; ``None`` if Envoy was not asked."""
        value = self._fields.get(ATTEMPT)
        return None if value is None else int(value or 0)

    @property
    def speechless(self) -> bool:
        """Whether no level says anything to us."""
        return not any(self._found())

    def route_says(self) -> Mapping[str, Any]:
        """What the route says alone, whether or not it is a whole route. Raises RouteError."""
        item = self._found()[0]
        level = _read(item, _LEVEL_NAMES[0]) if item is not None else None
        if not level:
            return {}
        found = _said(level if isinstance(level, str) else _encode(level).decode())
        if isinstance(found, str):
            raise RouteError(found)
        return found

    def levels(self) -> list[LevelText]:
        """The metadata of route, cluster and endpoint, for ``compile_route``. Raises RouteError if there is none."""
        levels = [_read(item, _LEVEL_NAMES[i]) if item is not None else None for i, item in enumerate(self._found())]
        if not any(levels):
            raise RouteError(NO_METADATA)
        return levels

    @property
    def is_annotated(self) -> bool:
        """The route's text is, or may be, an annotation of an HTTPRoute: whoever may write those is not always who may
        have the keys."""
        found = self._found()[0]
        return found is not None and (found[0] == _ANNOTATION or (found[0] == _ALL and f'"{GATEWAY}"' in found[1]))

    def _found(self) -> list[tuple[int, str] | None]:
        """Of each level the form in which it came, and its text."""
        if self._levels is not None:
            return self._levels
        found: list[tuple[int, str] | None] = [None, None, None]
        for name, text in self._fields.items():
            where = _where(name)
            if where is None or not text or not isinstance(text, str):
                continue
            level, form = where
            if text == _A_MAP:
                # Only if nothing else says it.
                form = _LAST
            best = found[level]
            if best is None or form < best[0]:
                found[level] = (form, text)
        self._levels = found
        return found


def _beneath(name: str) -> str:
    return f"{ROUTES}['{name}']"


_place_of: Final = remembered(256)(_beneath)
"""By which attribute a route of the virtual host's comes."""


@remembered(256)
def _where(name: str) -> tuple[int, int] | None:
    """Which level an attribute is about, and in which form."""
    plain = name.replace('"', "'")
    for prefix, level in _LEVELS.items():
        if plain.startswith(prefix):
            form = _SUFFIXES.get(plain.removeprefix(prefix))
            return None if form is None else (level, form)
    return None


def _read(item: tuple[int, str], level: str) -> LevelText:
    form, text = item
    if text == _A_MAP:
        raise RouteError(f"{level}: extproc.route is a mapping: write it as one string of YAML, as in `route: |`")
    return _of_struct(text, level) if form == _ALL else text


@by_text(1024)
def _said(text: str) -> Mapping[str, Any] | str:
    """What a route's *text* says, or what is wrong with it."""
    try:
        return checked(read(text, "route"), "route")
    except RouteError as error:
        return str(error)


@by_text(1024)
def _of_struct(text: str, level: str) -> LevelText:
    """All of the metadata, as Envoy prints it: text-format protobuf, in some builds behind a link that says that it is
    not meant to be read."""
    metadata = Metadata()
    try:
        text_format.Parse(_DEBUG_PREFIX.sub("", text), metadata, allow_unknown_field=True)
    except text_format.ParseError:
        path = f"xds.{'upstream_host' if level == 'endpoint' else level}_metadata.filter_metadata['extproc']['route']"
        raise RouteError(f"{level}: the metadata cannot be read in this form; ask for {path} instead") from None
    if NAMESPACE not in metadata.filter_metadata:
        return _annotation(metadata)
    members: dict[str, Any] = json_format.MessageToDict(metadata.filter_metadata[NAMESPACE])
    route = members.get("route", members)
    return route if isinstance(route, (str, dict)) else members


def _annotation(metadata: Metadata) -> str | None:
    """An HTTPRoute's annotation. Envoy Gateway's own API lets a policy ask for nothing smaller than all metadata."""
    if GATEWAY not in metadata.filter_metadata:
        return None
    members: dict[str, Any] = json_format.MessageToDict(metadata.filter_metadata[GATEWAY])
    resources = members.get("resources") or [{}]
    text = resources[0].get("annotations", {}).get(NAMESPACE)
    return text if isinstance(text, str) else None
