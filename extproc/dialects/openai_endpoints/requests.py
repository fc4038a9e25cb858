"""The model of a request, read and replaced, in a JSON body, in a form, or in the query; no other byte is touched."""

from __future__ import annotations

from urllib.parse import quote, unquote_plus

from msgspec.structs import replace

from ...llm.failures import ProtocolError
from ..base import ClientCall, encode, top_level, value_of
from . import forms
from .table import WITH_MODEL, endpoint


def may_name_model(call: ClientCall) -> bool:
    """Whether the body may: told by the head alone."""
    return (
        call.method == "POST"
        and endpoint(call.path) in WITH_MODEL
        and (_is_json(call) or forms.boundary(_type(call)) is not None)
    )


def model_of(call: ClientCall) -> str:
    """The model that *call* names, in its query or its body; empty if it names none. Raises ProtocolError."""
    _, _, query = call.path.partition("?")
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        if name == "model":
            return unquote_plus(value)
    if not call.body or not may_name_model(call):
        return ""
    if (boundary := forms.boundary(_type(call))) is not None:
        found = forms.find(call.body, boundary, b"model")
        return call.body[found[0] : found[1]].decode("utf-8", "replace") if found is not None else ""
    model = value_of(top_level(call.body), "model")
    return model if type(model) is str else ""


def renamed(call: ClientCall, model: str) -> ClientCall:
    """*call* with *model* where it names one; a body that names none gets one. Raises ProtocolError."""
    path, mark, query = call.path.partition("?")
    pairs = query.split("&") if query else []
    if any(pair.partition("=")[0] == "model" for pair in pairs):
        named = f"model={quote(model, safe='')}"
        pairs = [named if pair.partition("=")[0] == "model" else pair for pair in pairs]
        return replace(call, path=f"{path}{mark}{'&'.join(pairs)}")
    if not call.body or not may_name_model(call):
        return call
    boundary = forms.boundary(_type(call))
    if boundary is None:
        return replace(call, body=encode({**top_level(call.body), "model": model}))
    text = model.encode()
    if b"\r" in text or b"\n" in text:
        raise ProtocolError("model", "holds a line break")
    found = forms.find(call.body, boundary, b"model")
    if found is None:
        return replace(call, body=forms.field(boundary, b"model", text) + call.body)
    return replace(call, body=b"".join((call.body[: found[0]], text, call.body[found[1] :])))


def _type(call: ClientCall) -> str:
    return call.header("content-type") or ""


def _is_json(call: ClientCall) -> bool:
    media_type = _type(call).partition(";")[0].strip().lower()
    return media_type in ("", "application/json") or media_type.endswith("+json")
