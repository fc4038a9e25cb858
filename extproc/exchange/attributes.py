"""What Envoy tells of an exchange in a stream's first message: the route's metadata, the attempt, earlier notes.

Attributes are CEL expressions, each requested by name in Envoy's configuration (``request_attributes``). One that ends
in a string arrives as that string; one that ends in a map does not (Envoy 1.37 to 1.40): so the contract is a string.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from google.protobuf import text_format
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from ..envoy_api.base_pb2 import Metadata
from ..envoy_api.external_processor_pb2 import ProcessingRequest

FILTER = "envoy.filters.http.ext_proc"
NAMESPACE = "extproc"
ATTEMPT = "upstream.request_attempt_count"
CODE_DETAILS = "response.code_details"
_LEVELS = ("xds.route_metadata", "xds.cluster_metadata", "xds.upstream_host_metadata")
_LEAF = ".filter_metadata['extproc']['route']"
_ANNOTATION = "xds.route_metadata.filter_metadata['envoy-gateway']['resources'][0]['annotations']['extproc']"
# Envoy 1.37 begins its text form so, to keep programs from reading it.
_DEBUG_PREFIX = re.compile(r"^goo\.gle/\w+\s+")

Level = str | Mapping[str, Any] | None


class Attributes:
    """The attributes of one message."""

    def __init__(self, message: ProcessingRequest) -> None:
        self._fields = message.attributes[FILTER].fields if FILTER in message.attributes else {}
        self._notes = message.metadata_context.filter_metadata

    def text(self, name: str) -> str:
        """A string attribute; empty when it is not there."""
        return self._fields[name].string_value if name in self._fields else ""

    @property
    def attempt(self) -> int:
        """1, 2 ... in an upstream filter; 0 in a listener filter."""
        return int(self._fields[ATTEMPT].number_value) if ATTEMPT in self._fields else 0

    def note(self, name: str) -> dict[str, Any]:
        """What an earlier attempt noted under *name* in our dynamic metadata; empty when nothing."""
        if NAMESPACE not in self._notes or name not in self._notes[NAMESPACE].fields:
            return {}
        found: dict[str, Any] = MessageToDict(self._notes[NAMESPACE].fields[name].struct_value)
        return found

    def levels(self) -> list[Level]:
        """The metadata of route, cluster and endpoint, as ``compile_route`` takes them."""
        levels: list[Level] = [self.text(name + _LEAF) or _struct_form(self.text(name)) for name in _LEVELS]
        levels[0] = levels[0] or self.text(_ANNOTATION) or None
        return levels


def _struct_form(text: str) -> Level:
    return _parse(text) if text else None


@lru_cache(maxsize=1024)
def _parse(text: str) -> Level:
    """The namespace ``extproc`` of a Metadata message in protobuf's text form: a convenience beside the string leaf."""
    try:
        metadata = text_format.Parse(_DEBUG_PREFIX.sub("", text), Metadata(), allow_unknown_field=True)
    except text_format.ParseError:
        return None
    if NAMESPACE not in metadata.filter_metadata:
        return None
    found = MessageToDict(metadata.filter_metadata[NAMESPACE])
    leaf = found.get("route")
    if isinstance(leaf, str):
        return leaf
    return {name: _whole_numbers(value) for name, value in found.items()} or None


def _whole_numbers(value: Any) -> Any:
    """A Struct has only doubles: 1.0 was 1."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {k: _whole_numbers(v) for k, v in value.items()}
    return [_whole_numbers(v) for v in value] if isinstance(value, list) else value


def dynamic_metadata(members: Mapping[str, Any]) -> Struct:
    """*members* in our namespace, for a ProcessingResponse. Envoy lays them over what is there, member by member."""
    struct = Struct()
    struct.update({NAMESPACE: dict(members)})
    return struct
