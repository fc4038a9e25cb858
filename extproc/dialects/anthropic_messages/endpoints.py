"""Everything else of Anthropic's API: batches of messages, files, skills (Anthropic API reference, November 2026). It
passes; of a batch the models are read, and replaced where the route names one."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from ...headers import Headers
from ...llm.events import ResponseFailed
from ...llm.failures import ProtocolError
from ..base import ClientCall, Env, Meta, ResponseHead, encode, top_level, value_of
from ..shared.unread import Unread, is_inside
from . import meta

_PATH: Final = re.compile(r"(?P<prefix>.*?)/v1/(?P<rest>(?P<name>messages/batches|files|skills)(?:/.*)?)", re.DOTALL)
_NAMES: Final = {"messages/batches": "batches", "files": "files", "skills": "skills"}
"""How a route calls them, by what follows the version in their path."""
_BATCHES: Final = "/messages/batches"
_MARK: Final = "anthropic-version"
"""A header that Anthropic's clients alone send: OpenAI's have files at the same path."""
_array: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


class AnthropicEndpoints(Unread):
    name = "anthropic_endpoints"
    api = re.compile(r"/messages/?\Z")

    def speaks(self, path: str, headers: Headers) -> bool:
        return self.endpoint(path) != "files" or any(name.lower() == _MARK for name, _ in headers)

    # ---- see ``PassesUnread``

    def split(self, path: str) -> tuple[str, str, str]:
        found = _PATH.fullmatch(path.partition("?")[0].rstrip("/"))
        if found is None or not is_inside(found["rest"]):
            return "", "", ""
        return found["prefix"], _NAMES[found["name"]], found["rest"]

    def may_name_model(self, call: ClientCall) -> bool:
        return call.method == "POST" and call.path.partition("?")[0].rstrip("/").endswith(_BATCHES)

    def model_of(self, call: ClientCall) -> str:
        if not call.body or not self.may_name_model(call):
            return ""
        # Whose the batch is, its first request says.
        first = next(iter(_requests(top_level(call.body))), {})
        model = value_of(_params(first), "model")
        return model if type(model) is str else ""

    def renamed(self, call: ClientCall, model: str) -> ClientCall:
        if not call.body or not self.may_name_model(call):
            return call
        members = top_level(call.body)
        asked = [{**each, "params": {**_params(each), "model": model}} for each in _requests(members)]
        return replace(call, body=encode({**members, "requests": asked}))

    # ---- answers

    def read_meta(self, head: ResponseHead, env: Env) -> Meta:
        return meta.read_meta(head, env)

    def emit_error(self, failed: ResponseFailed, meta_: Meta) -> tuple[ResponseHead, bytes]:
        return meta.emit_error(failed, meta_)


def _params(request: dict[str, Any]) -> dict[str, Any]:
    return top_level(bytes(request.get("params") or b"{}"))


def _requests(members: dict[str, Any]) -> list[dict[str, Any]]:
    """Raises ProtocolError."""
    try:
        return [top_level(bytes(each)) for each in _array(members.get("requests") or b"[]")]
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ProtocolError("requests", "expected an array") from None
