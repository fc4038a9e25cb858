"""Each vendor's own SDK on every upstream API, through a real Envoy: a test for each cell of the README's matrix, and
named by it. By a filter of the listener, and by the router's one stream, which finds the model in the path, too."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import openai
import pytest
from google import genai
from google.genai import types

from extproc import dialects
from extproc.demo.processes import Envoy
from extproc.demo.provider import Received, ScriptedAnswer
from extproc.dialects.base import Meta
from extproc.llm.events import ResponseFailed
from extproc.llm.failures import ErrorKind
from extproc.wire import ask
from tests.support import as_embeddings, matrix
from tests.support.gateway import CLIENT_KEY, KEYS, Backends, configured
from tests.support.matrix import IN_GOOGLE, PLACE, UPSTREAMS, World
from tests.support.placements import add_cluster, lead
from tests.support.sdks import SDKS
from tests.support.upstream import ScriptedUpstream

ROOT = Path(__file__).parents[2]


def each_on_each(clients: Iterable[str], upstreams: Iterable[str]) -> pytest.MarkDecorator:
    """The cells of a table, by what stands before its rows and above its columns."""
    pairs = itertools.product(clients, upstreams)
    found = [pytest.param(one, other, id=f"{one} on {other}".replace(" ", "-")) for one, other in pairs]
    return pytest.mark.parametrize(("client", "upstream"), found)


cells = each_on_each(SDKS, UPSTREAMS)
streamed_or_not = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


@pytest.fixture(scope="module", params=["listener", "one-stream"])
def _world(request: pytest.FixtureRequest, shared: Backends) -> Iterator[World]:
    with matrix.world(shared, request.param) as made:
        yield made


@pytest.fixture
def world(_world: World) -> World:
    _world.reset()
    return _world


def check_asked(seen: Received, path: str) -> None:
    """At *path*, with the gateway's key, and with nothing of the client's."""
    assert seen.path == path
    assert seen.header("authorization") == f"Bearer {KEYS['OPENAI_API_KEY']}"
    assert CLIENT_KEY not in f"{seen.path} {seen.headers} {seen.body!r}"


@cells
@streamed_or_not
def test_a_conversation_with_tools(world: World, client: str, upstream: str, streamed: bool) -> None:
    talk = world.conversation(client, upstream, streamed=streamed)
    first = talk.asks("The weather in Paris and in Rome?")
    assert first.calls == [{"city": "Paris"}, {"city": "Rome"}]
    assert min(first.tokens) > 0
    second = talk.gives(["rain", "sun"])
    assert "Your tools say: rain; sun." in second.text and second.calls == [] and min(second.tokens) > 0
    for seen in world.asked[upstream].received:
        check_asked(seen, UPSTREAMS[upstream].paths[streamed])
    assert len(world.asked[upstream].received) == 2


MARKS = {
    "Messages": b"cache_control", "Claude on Bedrock": b"cache_control", "Claude on Vertex AI": b"cache_control",
    "Converse": b"cachePoint",
}  # fmt: skip
"""What a provider's cache is told by, where it must be told."""
MARKING = {"Chat Completions", "Messages", "Converse", "Claude on Bedrock", "Claude on Vertex AI"}
TURNS = ("messages", "input", "contents")


@cells
@streamed_or_not
def test_several_turns_with_thinking_and_caching(world: World, client: str, upstream: str, streamed: bool) -> None:
    """The scripted providers refuse thinking and calls whose seals are not their own, or are missing; and what was sent
    before stays as it was, for the provider's cache."""
    talk = world.conversation(client, upstream, streamed=streamed, thinks=True)
    assert talk.asks("The weather in Paris and in Rome?").calls == [{"city": "Paris"}, {"city": "Rome"}]
    assert "Your tools say: rain; sun." in talk.gives(["rain", "sun"]).text
    assert talk.asks("And in Oslo?").calls == [{"city": "Oslo"}]
    assert "Your tools say: snow." in talk.gives(["snow"]).text
    received = world.asked[upstream].received
    assert len(received) == 4
    said = [next(body[name] for name in TURNS if name in body) for body in (seen.json() for seen in received)]
    for before, after in itertools.pairwise(said):
        assert after[: len(before)] == before
    if client in MARKING and upstream in MARKS:
        assert all(MARKS[upstream] in seen.body for seen in received)


@cells
@streamed_or_not
def test_the_providers_error(world: World, client: str, upstream: str, streamed: bool) -> None:
    failed = ResponseFailed(ErrorKind.RATE_LIMIT, "Slow down, please.", 429)
    head, body = dialects.get(UPSTREAMS[upstream].dialect).emit_error(failed, Meta())
    world.asked[upstream].will(ScriptedAnswer([body], head.status, tuple(head.headers)))
    talk = world.conversation(client, upstream, streamed=streamed)
    with pytest.raises(talk.slow_down, match=r"Slow down, please\."):
        talk.asks("hi")


@cells
def test_a_stream_that_is_cut(world: World, client: str, upstream: str) -> None:
    """In the midst of calls, between two events: the SDK says so, and takes nothing for whole."""
    cut = []

    def half(request: Received) -> ScriptedAnswer:
        answer = UPSTREAMS[upstream].answer(request)
        assert answer.stream and len(answer.chunks) > 3
        cut.append(len(answer.chunks) // 2)
        return replace(answer, chunks=answer.chunks[: cut[-1]])

    undo = world.asked[upstream].always(half)
    talk = world.conversation(client, upstream, streamed=True)
    try:
        with pytest.raises(talk.broken, match=r"(?i)ended prematurely|modelStreamErrorException"):
            talk.asks("The weather in Paris, in Rome, in Tokyo and in Oslo?")
    finally:
        undo()
    assert len(cut) == 1


# ---- embeddings

VECTORS = {
    "OpenAI": ("provider: openai\n", "text-embedding-3-small", "/v1/embeddings"),
    "Gemini": (
        "provider: gemini\nupstream: gemini_embeddings\n", "gemini-embedding-001",
        "/v1beta/models/gemini-embedding-001:batchEmbedContents",
    ),
    "Vertex AI": (f"provider: vertex-ai\n{PLACE}", "text-embedding-005", f"{IN_GOOGLE}/text-embedding-005:predict"),
    "Titan": ("provider: bedrock\n", "amazon.titan-embed-text-v2", "/model/amazon.titan-embed-text-v2/invoke"),
    "Nova": (
        "provider: bedrock\n", "amazon.nova-2-multimodal-embeddings-v1",
        "/model/amazon.nova-2-multimodal-embeddings-v1/invoke",
    ),
    "Cohere": ("provider: cohere\n", "embed-v4.0", "/v2/embed"),
    "Cohere on Bedrock": ("provider: bedrock\n", "us.cohere.embed-v4", "/model/us.cohere.embed-v4/invoke"),
}  # fmt: skip
"""Name in the README -> the route, the model, the path that is asked."""


def _openais(url: str, model: str) -> list[float]:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=CLIENT_KEY, max_retries=0)
    made = client.embeddings.create(model=model, input=["hello"], dimensions=8)
    return made.data[0].embedding


def _googles(url: str, model: str) -> list[float]:
    client = genai.Client(api_key=CLIENT_KEY, http_options=types.HttpOptions(base_url=url, timeout=30_000))
    settings = types.EmbedContentConfig(output_dimensionality=8)
    made = client.models.embed_content(model=model, contents="hello", config=settings)
    return (made.embeddings or [types.ContentEmbedding()])[0].values or []


def _coheres(url: str, model: str) -> list[float]:
    body = {
        "model": model, "texts": ["hello"], "input_type": "search_query", "embedding_types": ["float"],
        "output_dimension": 8,
    }  # fmt: skip
    seen = ask(url, "/v2/embed", body, headers={"authorization": f"Bearer {CLIENT_KEY}"})
    assert seen.status == 200, seen.body
    return list(seen.json["embeddings"]["float"][0])


EMBEDDERS = {"OpenAI": _openais, "Google": _googles, "Cohere": _coheres}


Place = tuple[str, str]
"""A URL, and what a client calls the model there."""


@pytest.fixture(scope="module", params=["listener", "one-stream"])
def vectors(request: pytest.FixtureRequest, shared: Backends) -> Iterator[tuple[list[Place], ScriptedUpstream]]:
    """Where a client finds each upstream of embeddings, and the upstream behind all of them."""
    folder = shared.new_folder("matrix-vectors")
    upstream = ScriptedUpstream(as_embeddings.answer)
    by_model = request.param == "one-stream"
    with upstream:
        config = configured(shared, request.param, folder / "access.log")
        names = [f"vectors-{number}" for number in range(len(VECTORS))]
        for name in names:
            add_cluster(config, name, "openai", upstream.port)
        texts = [text + matrix.KEY for text, _, _ in VECTORS.values()]
        models = [model for _, model, _ in VECTORS.values()]
        if by_model:
            matrix.name_models(config, zip(models, names, texts, strict=True))
        else:
            lead(config, zip((f"/{name}/" for name in names), names, texts, strict=True), attempts=False)
        with Envoy(folder, config) as envoy:
            url = f"http://127.0.0.1:{envoy.port}"
            places = [
                (url, name) if by_model else (f"{url}/{name}", model) for name, model in zip(names, models, strict=True)
            ]
            yield places, upstream


@each_on_each(EMBEDDERS, VECTORS)
def test_vectors(vectors: tuple[list[Place], ScriptedUpstream], client: str, upstream: str) -> None:
    places, asked = vectors
    got = EMBEDDERS[client](*places[list(VECTORS).index(upstream)])
    assert got == as_embeddings.vector("hello", 8)
    check_asked(asked.last, VECTORS[upstream][2])


# ---- the tables


@pytest.mark.parametrize("page", ["README.md", "docs/zh/README.md"])
@pytest.mark.parametrize(("clients", "upstreams"), [(SDKS, UPSTREAMS), (EMBEDDERS, VECTORS)], ids=["talk", "vectors"])
def test_the_matrix_of_the_readme_is_this_one(
    page: str, clients: dict[str, object], upstreams: dict[str, object]
) -> None:
    rows = [row.split(" | ") for row in re.findall(r"^\| (.+) \|$", (ROOT / page).read_text("utf-8"), re.MULTILINE)]
    head, *table = [row for row in rows if len(row) == len(upstreams) + 1]
    assert head[1:] == list(upstreams)
    assert [row[0].split(":")[0] for row in table] == list(clients)
    assert {cell for row in table for cell in row[1:]} == {"✓"}
