"""``rag``: what a store of documents holds about the user's question goes to the model with it.

The question is embedded by the model that ``embeddings`` names, in whichever API its provider has, and the nearest
passages are asked of the store that ``search`` names (``stores.py`` knows them). They become a message of the user's
behind the question, so that they stand where the API has messages. A turn in which the user says nothing (a tool's
result, an image) asks for nothing.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

from msgspec.structs import replace

from ..effects import Effect, Result
from ..frozen import Frozen
from ..llm.request import Message, Request
from .base import Asking, Context, Make, Policy, Served
from .given import Given
from .stores import STORES, Lookup, Passage, Store
from .texts import Scope, said_in

OPENAI_URL = "https://api.openai.com/v1/embeddings"
PASSAGES = "{{passages}}"
TEMPLATE = f"Passages that may help to answer, each with its number and its source:\n\n{PASSAGES}"
MAX_QUESTION = 8000
"""Characters; of a longer one the last are looked for."""


class _Rules(Frozen):
    embedder: Served | None
    store: Store
    top_k: int
    max_chars: int
    template: str
    seconds: float


def configure(given: Given) -> Make:
    search = given.part("search")
    store = STORES[search.choice("kind", tuple(STORES))](search)
    search.finish()
    embedder = _embedder(given.part("embeddings")) if store.needs_vector or given.has("embeddings") else None
    template = given.text("template", TEMPLATE)
    if PASSAGES not in template:
        raise given.error("template", f"must have {PASSAGES} in it")
    top_k, chars = given.count("top_k", 4), given.count("max_chars", 20_000)
    rules = _Rules(embedder, store, top_k, chars, template, given.seconds("timeout", 5.0))
    return lambda context: Rag(rules, context)


def _embedder(given: Given) -> Served:
    made = given.served(embeds=True) if given.has("provider") else given.openai_embedder(OPENAI_URL)
    given.finish()
    return made


class Rag(Policy):
    """Of one exchange."""

    def __init__(self, rules: _Rules, context: Context) -> None:
        self._rules = rules
        self._context = context

    def on_request(self, request: Request) -> Request | Asking:
        asked = said_in(replace(request, extra={}), Scope())
        question = "\n".join(said for said in asked if said.strip())[-MAX_QUESTION:]
        return self._with_passages(request, question.encode("utf-8", "replace").decode()) if question else request

    def _with_passages(self, request: Request, question: str) -> Asking:
        began = time.monotonic()
        try:
            found = yield from self._found(question)
        finally:
            self._context.facts["rag_ms"] = round((time.monotonic() - began) * 1000)
        text = self._shown(found)
        if not text:
            return request
        added = Message("user", self._rules.template.replace(PASSAGES, text))
        messages = request.messages
        if messages[-1].role == "assistant":  # an answer that the client has begun itself stays the last
            return replace(request, messages=[*messages[:-1], added, messages[-1]])
        return replace(request, messages=[*messages, added])

    def _found(self, question: str) -> Generator[Effect, Result, list[Passage]]:
        rules = self._rules
        vector: list[float] | None = None
        if rules.embedder is not None:
            vector = yield from self._context.models.vector(rules.embedder, question, rules.seconds)
        return (yield from rules.store.find(Lookup(question, vector, rules.top_k, rules.seconds)))

    def _shown(self, found: list[Passage]) -> str:
        """Whole passages, as many as there is room for."""
        shown: list[str] = []
        left = self._rules.max_chars
        for passage in found:
            text = f"[{len(shown) + 1}] {passage.source}".rstrip() + f"\n{passage.text}"
            left -= len(text)
            if left < 0:
                break
            shown.append(text)
        facts: dict[str, Any] = self._context.facts
        facts["rag_found"], facts["rag_used"] = len(found), len(shown)
        return "\n\n".join(shown)
