"""Everything else of OpenAI's API, and of the servers that speak it: images, audio, files, batches, rerank ... (OpenAI
API reference, November 2026). It passes: of a request nothing is read but the model, and that only where it is wanted;
of an answer nothing but the usage."""

from __future__ import annotations

import re

from ...llm.events import ResponseFailed
from ..base import ClientCall, Env, Meta, ResponseHead
from ..shared import openai
from ..shared.unread import Unread
from . import requests
from .table import is_rooted, split


class OpenAIEndpoints(Unread):
    name = "openai_endpoints"
    api = re.compile(r"/(chat/completions|completions|responses|embeddings)/?\Z")

    # ---- see ``PassesUnread``

    def split(self, path: str) -> tuple[str, str, str]:
        return split(path)

    def api_root(self, upstream: str, path: str) -> str:
        root = super().api_root(upstream, path)
        return root.removesuffix("/v1") if is_rooted(path) else root

    def may_name_model(self, call: ClientCall) -> bool:
        return requests.may_name_model(call)

    def model_of(self, call: ClientCall) -> str:
        return requests.model_of(call)

    def renamed(self, call: ClientCall, model: str) -> ClientCall:
        return requests.renamed(call, model)

    # ---- answers

    def read_meta(self, head: ResponseHead, env: Env) -> Meta:
        return openai.read_meta(head, env)

    def emit_error(self, failed: ResponseFailed, meta: Meta) -> tuple[ResponseHead, bytes]:
        return openai.emit_error(failed, meta, "input")
