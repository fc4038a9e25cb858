"""The registry: the one place that names the dialects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import unquote

from ..llm.failures import ProtocolError
from ..llm.models import Model
from .anthropic_messages import AnthropicMessages
from .anthropic_messages.endpoints import AnthropicEndpoints
from .anthropic_messages.hosted import AnthropicBedrock, AnthropicVertex
from .base import (
    AsksForVectors,
    Dialect,
    GivesVectors,
    Headers,
    LabelsThinking,
    ListsModels,
    PassesUnread,
    UsageOnDemand,
    top_level,
)
from .bedrock_converse import BedrockConverse
from .cohere_embeddings import CohereBedrock, CohereEmbeddings
from .gemini import Gemini
from .gemini.endpoints import GeminiEndpoints
from .gemini_embeddings import GeminiEmbeddings
from .nova_embeddings import NovaEmbeddings
from .openai_chat import OpenAIChat
from .openai_embeddings import OpenAIEmbeddings
from .openai_endpoints import OpenAIEndpoints
from .openai_responses import OpenAIResponses
from .titan_embeddings import TitanEmbeddings
from .vertex_predict import VertexPredict

_CONVERSE: Final = BedrockConverse()
_ALL: Final[tuple[Dialect, ...]] = (
    OpenAIChat(),
    AnthropicMessages(),
    OpenAIResponses(),
    _CONVERSE,
    Gemini(),
    AnthropicBedrock(_CONVERSE.read_counted),
    AnthropicVertex(),
    OpenAIEmbeddings(),
    GeminiEmbeddings(),
    VertexPredict(),
    TitanEmbeddings(),
    NovaEmbeddings(),
    CohereEmbeddings(),
    CohereBedrock(),
    AnthropicEndpoints(),
    GeminiEndpoints(),
    OpenAIEndpoints(),
)
"""In the order in which they are asked whether a body is theirs."""


def by_name(every: Iterable[Dialect]) -> dict[str, Dialect]:
    """Dialects by name. Raises TypeError for one that lacks a part of the interface: at start-up, and not at the first
    request that needs it (A16)."""
    found: dict[str, Dialect] = {}
    for dialect in every:
        if not isinstance(dialect, Dialect) or dialect.name in found:
            raise TypeError(f"{type(dialect).__name__} lacks a part of Dialect, or its name is another's")
        found[dialect.name] = dialect
    return found


REGISTRY: Final = by_name(_ALL)
_ENDS: Final = [(dialect.paths, dialect) for dialect in _ALL]
"""Of each the ends of its paths."""
# Asked of each once: whether an object has an optional ability costs more than the parsing of a small body.
_UNREAD: Final = {name: dialect for name, dialect in REGISTRY.items() if isinstance(dialect, PassesUnread)}
ASK_FOR_VECTORS: Final = {name: dialect for name, dialect in REGISTRY.items() if isinstance(dialect, AsksForVectors)}
GIVE_VECTORS: Final = {name: dialect for name, dialect in REGISTRY.items() if isinstance(dialect, GivesVectors)}
LABEL_THINKING: Final = {name: dialect for name, dialect in REGISTRY.items() if isinstance(dialect, LabelsThinking)}
USAGE_ON_DEMAND: Final = {name: dialect for name, dialect in REGISTRY.items() if isinstance(dialect, UsageOnDemand)}
"""The dialects that can do so, by their names."""
FALLBACK: Final = "openai_chat"
"""In whose shape a client is answered that could not be told."""
EMBEDDINGS: Final = "openai_embeddings"
"""In whose shape vectors are asked for where no client says."""

ANYWHERE: Final[Mapping[str, str]] = {}
"""No API is bound to a prefix."""
NO_HEADERS: Final[Headers] = []


class UnknownDialect(ValueError):
    """No dialect has that name; the message lists those that there are."""


def get(name: str) -> Dialect:
    """The dialect of that name. Raises UnknownDialect."""
    found = REGISTRY.get(name)
    if found is None:
        raise UnknownDialect(f"unknown dialect {name!r}; there are {', '.join(REGISTRY)}")
    return found


def unread(name: str | None) -> PassesUnread | None:
    """The dialect *name*, if its requests pass unread."""
    return None if name is None else _UNREAD.get(name)


def detect(path: str, body: bytes, prefixes: Mapping[str, str] = ANYWHERE, headers: Headers = NO_HEADERS) -> str | None:
    """The client's dialect: by how the path ends; where the path belongs to no API at all (``/anything``), by the
    body's members. ``None`` for another endpoint of an API, and for what no dialect claims.

    *headers* tell two APIs apart whose other endpoints have the same path.

    *prefixes*: dialect -> behind which prefix alone it is recognised; the others behind any (F2)."""
    plain = path.partition("?")[0].rstrip("/")
    for ends, dialect in _ENDS:
        if plain.endswith(ends):
            return dialect.name if _is_mounted(dialect, plain, prefixes.get(dialect.name)) else None
    for name, passing in _UNREAD.items():
        if passing.endpoint(plain) and passing.speaks(plain, headers):
            return name if prefixes.get(name) in (None, passing.prefix(plain)) else None
    if "/v1" in plain:
        return None
    try:
        members = top_level(body)
    except ProtocolError:
        return None
    return next((dialect.name for dialect in _ALL if dialect.name not in prefixes and dialect.claims(members)), None)


def _is_mounted(dialect: Dialect, plain: str, prefix: str | None) -> bool:
    """Whether *plain*, which ends as a path of *dialect*, has before that nothing but *prefix*."""
    if prefix is None:
        return True
    ends = (plain.removesuffix(end) for end in dialect.paths if plain.endswith(end))
    return any(
        stem.startswith(prefix) and re.fullmatch(dialect.root, stem.removeprefix(prefix)) is not None for stem in ends
    )


def listing(path: str) -> str | None:
    """The model that a GET of *path* asks about, empty for all of them; ``None`` if it asks for something else."""
    _, found, id_ = f"{path.partition('?')[0]}/".partition("/models/")
    return unquote(id_).strip("/") if found else None


def asks_in(path: str, headers: Headers) -> str:
    """Whose form of the models a GET of *path* with *headers* wants: several APIs have them at the same path."""
    listing = ((name, dialect) for name, dialect in REGISTRY.items() if isinstance(dialect, ListsModels))
    return next((name for name, dialect in listing if dialect.asks_for_models(path, headers)), FALLBACK)


def told(name: str, found: Model | Sequence[Model], query: str) -> bytes:
    """One model, or all of them as far as *query* asks, in the form of dialect *name*. Raises ProtocolError."""
    dialect = get(name)
    assert isinstance(dialect, ListsModels)
    return dialect.one_model(found) if isinstance(found, Model) else dialect.all_models(found, query)


def resembled(path: str) -> str | None:
    """The dialect to whose API another endpoint at *path* belongs (``/v1/messages/count_tokens``), by its beginning."""
    return next((dialect.name for dialect in _ALL if any(end in path for end in dialect.paths)), None)


def shape_for(path: str, headers: Headers) -> str:
    """In whose shape a request that no dialect serves is answered: that of the API to which another endpoint at *path*
    belongs, or whose clients alone send *headers*."""
    return resembled(path.partition("?")[0]) or asks_in(path, headers)
