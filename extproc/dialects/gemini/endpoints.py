"""Everything else of Google's Gemini API: files, cached contents, batches, pictures and videos (Gemini API reference,
November 2026). It passes; the model is read, and replaced, where a path or a cached content names one. An upload that
goes on at an address of Google's own (``x-goog-upload-url``) does so without the gateway."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote

from msgspec.structs import replace

from ...headers import Headers
from ...llm.events import ResponseFailed
from ..base import Asked, ClientCall, Env, Meta, ResponseHead, Upstream, encode, top_level, value_of
from ..shared import google
from ..shared.unread import Unread, is_inside

_PATH: Final = re.compile(
    r"(?P<prefix>.*?)(?P<way>/upload|/download)?/(?P<version>v1beta|v1alpha|v1)/"
    r"(?P<rest>(?P<name>files|cachedContents|batches|fileSearchStores|tunedModels|operations)(?:[/:].*)?"
    r"|models/(?P<model>[^/:]+)(?:/operations/.*|:(?P<verb>predictLongRunning|batchGenerateContent"
    r"|asyncBatchEmbedContent)))",
    re.DOTALL,
)
_NAMES: Final = {
    "files": "files", "cachedContents": "caches", "batches": "batches", "fileSearchStores": "vector_stores",
    "tunedModels": "fine_tuning", "operations": "operations", "predictLongRunning": "videos",
    "batchGenerateContent": "batches", "asyncBatchEmbedContent": "batches", None: "operations",
}  # fmt: skip
"""How a route calls them, by what follows the version in their path, or the model."""
_SHARED = ("files", "batches")
"""What OpenAI's API has at the same path of the same version."""
_MARK: Final = "x-goog-"
"""How headers begin that Google's clients alone send."""
_CACHES: Final = "/cachedContents"
_MODELS: Final = "models/"


class GeminiEndpoints(Unread):
    name = "gemini_endpoints"

    def speaks(self, path: str, headers: Headers) -> bool:
        found = _found(path)
        shared = found is not None and found["version"] == "v1" and found["name"] in _SHARED
        return not shared or any(name.lower().startswith(_MARK) for name, _ in headers)

    # ---- see ``PassesUnread``

    def split(self, path: str) -> tuple[str, str, str]:
        found = _found(path)
        if found is None:
            return "", "", ""
        return found["prefix"], _NAMES[found["name"] or found["verb"]], found["rest"]

    def may_name_model(self, call: ClientCall) -> bool:
        return call.method == "POST" and call.path.partition("?")[0].rstrip("/").endswith(_CACHES)

    def model_of(self, call: ClientCall) -> str:
        found = _found(call.path)
        if found is not None and found["model"]:
            return unquote(found["model"])
        if not call.body or not self.may_name_model(call):
            return ""
        model = value_of(top_level(call.body), "model")
        return google.model_name(model) if type(model) is str else ""

    def renamed(self, call: ClientCall, model: str) -> ClientCall:
        found = _found(call.path)
        if found is not None and found["model"]:
            start, end = found.span("model")
            return replace(call, path=f"{call.path[:start]}{quote(model, safe='')}{call.path[end:]}")
        if not call.body or not self.may_name_model(call):
            return call
        return replace(call, body=encode({**top_level(call.body), "model": f"{_MODELS}{model}"}))

    def place(self, upstream: Upstream, path: str, model: str) -> str:
        found = _found(path)
        assert found is not None, "asked before"
        bare, mark, query = upstream.path.partition("?")
        root, _, _ = bare.partition(f"/{_MODELS}")
        before, _, _ = root.rpartition("/")
        rest = found["rest"]
        if found["model"]:
            start, end = (at - found.start("rest") for at in found.span("model"))
            rest = f"{rest[:start]}{{model}}{rest[end:]}"
        at = Upstream(upstream.provider, f"{before}{found['way'] or ''}{root.removeprefix(before)}/{rest}{mark}{query}")
        return at.at(Asked(model))

    # ---- answers

    def read_meta(self, head: ResponseHead, env: Env) -> Meta:
        return google.read_meta(head)

    def emit_error(self, failed: ResponseFailed, meta: Meta) -> tuple[ResponseHead, bytes]:
        return google.emit_error(failed, meta)


def _found(path: str) -> re.Match[str] | None:
    found = _PATH.fullmatch(path.partition("?")[0].rstrip("/"))
    return found if found is not None and is_inside(found["rest"]) else None
