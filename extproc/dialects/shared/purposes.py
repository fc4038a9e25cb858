"""What a vector is for, in the words of those who have some: Google's ``task_type``, Cohere's ``input_type``, and those
of servers that speak OpenAI's API (Voyage, NVIDIA)."""

from __future__ import annotations

from ...llm.embeddings import Purpose

GOOGLE: dict[Purpose, str] = {
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

PURPOSES: dict[str, Purpose] = {word.lower(): purpose for purpose, word in GOOGLE.items()} | {
    "search_query": "query",
    "search_document": "document",
    "query": "query",
    "document": "document",
    "passage": "document",
}
"""In lower case."""
