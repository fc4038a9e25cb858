"""What a vector is for, in the words of those who have some: Google's ``task_type``, Cohere's ``input_type``, and those
of servers that speak OpenAI's API (Voyage, NVIDIA)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ...llm.embeddings import EmbedRequest, Purpose
from ...llm.losses import Action, LossReport

GOOGLE: Final[dict[Purpose, str]] = {
    "query": "RETRIEVAL_QUERY",
    "document": "RETRIEVAL_DOCUMENT",
    "similarity": "SEMANTIC_SIMILARITY",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
    "question": "QUESTION_ANSWERING",
    "fact": "FACT_VERIFICATION",
    "code": "CODE_RETRIEVAL_QUERY",
}
"""Gemini API reference, ``TaskType``; Vertex AI has the same words."""

PURPOSES: Final[dict[str, Purpose]] = {word.lower(): purpose for purpose, word in GOOGLE.items()} | {
    "search_query": "query",
    "search_document": "document",
    "query": "query",
    "document": "document",
    "passage": "document",
}
"""In lower case."""


def demanded(asked: EmbedRequest, words: Mapping[Purpose, str], otherwise: str, losses: LossReport) -> str:
    """The purpose by the *words* of an API that must be told one: *otherwise* where the client says none, or one that
    there is no word for."""
    if asked.purpose is None:
        losses.rewritten(asked.path_of("input_type"), f"{otherwise}: it is not said what the vectors are for")
    elif asked.purpose not in words:
        losses.add(asked.path_of("purpose"), Action.DOWNGRADED, otherwise)
    else:
        return words[asked.purpose]
    return otherwise
