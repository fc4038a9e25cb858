"""Embeddings through Envoy: OpenAI's own pass with the upstream's credential, and are counted (E4); OpenAI's official
SDK gets vectors from every other upstream of embeddings, in each placement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import openai
import pytest
from google import genai
from google.genai import types

from extproc.demo.processes import Envoy
from extproc.demo.provider import json_answer
from tests.support import as_embeddings
from tests.support.as_embeddings import vector
from tests.support.gateway import CLIENT_KEY, KEYS, PLACEMENTS, Backends, Gateway, configured
from tests.support.placements import add_cluster, add_route
from tests.support.sigv4 import verified
from tests.support.upstream import ScriptedUpstream

ANSWER = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.0023, -0.0093]}],
    "model": "text-embedding-3-small",
    "usage": {"prompt_tokens": 8, "total_tokens": 8},
}


def test_e4_embeddings_pass_and_are_counted(envoy: Gateway) -> None:
    envoy.openai_upstream.will(json_answer(ANSWER))
    body = b'{"input": "The food was delicious",  "model": "gpt-embedding"}'
    reply = envoy.send("/v1/embeddings", body, {"authorization": f"Bearer {CLIENT_KEY}"})
    assert (reply.status, reply.json) == (200, ANSWER)
    seen = envoy.openai_upstream.last
    assert (seen.path, seen.body) == ("/v1/embeddings", body)
    assert seen.header("authorization") == f"Bearer {KEYS['OPENAI_API_KEY']}"


def test_an_upstream_without_embeddings_is_refused_in_openais_shape(envoy: Gateway) -> None:
    reply = envoy.send("/v1/embeddings", {"input": "x", "model": "claude-haiku-4-5"})
    assert reply.status == 400
    assert reply.json["error"]["message"].startswith("openai_embeddings requests cannot be translated to")
    assert not envoy.anthropic_upstream.received


# ---- every other upstream of embeddings

KEY = KEYS["OPENAI_API_KEY"]
BEARER = "auth: {header: {Authorization: 'Bearer ${OPENAI_API_KEY}'}}\nlosses: report\n"
SECRET = "secret-of-aws"
VERTEX = "provider: vertex-ai\nprovider_conf: {project_id: my-project, region: us-central1}\n" + BEARER
GEMINI = "provider: gemini\nupstream: gemini_embeddings\nlosses: report\n"
GEMINI += "auth: {header: {x-goog-api-key: '${OPENAI_API_KEY}'}}\n"
BEDROCK = "provider: bedrock\nprovider_conf: {region: us-east-1}\nlosses: report\n"
BEDROCK += f"auth: {{aws: {{access_key_id: id, secret_access_key: {SECRET}, region: us-east-1}}}}\n"
AWS_HOST = "bedrock-runtime.us-east-1.amazonaws.com"
IN_VERTEX = "/v1/projects/my-project/locations/us-central1/publishers/google/models"
UPSTREAMS = {
    "text-embedding-005": (VERTEX, f"{IN_VERTEX}/text-embedding-005:predict", 250),
    "gemini-embedding-2": (VERTEX, f"{IN_VERTEX}/gemini-embedding-2:embedContent", 1),
    "gemini-embedding-001": (GEMINI, "/v1beta/models/gemini-embedding-001:batchEmbedContents", 100),
    "amazon.titan-embed-text-v2": (BEDROCK, "/model/amazon.titan-embed-text-v2/invoke", 1),
    "amazon.nova-2-multimodal-embeddings-v1": (
        BEDROCK, "/model/amazon.nova-2-multimodal-embeddings-v1/invoke", 1,
    ),
    "us.cohere.embed-v4": (BEDROCK, "/model/us.cohere.embed-v4/invoke", 96),
    "embed-v4.0": ("provider: cohere\n" + BEARER, "/v2/embed", 96),
}  # fmt: skip
"""Model -> its route, the path that its upstream must see, and how many inputs that takes in one request."""


@dataclass(frozen=True)
class World:
    gateway: Gateway
    upstream: ScriptedUpstream


@pytest.fixture(scope="module", params=PLACEMENTS)
def _world(request: pytest.FixtureRequest, shared: Backends) -> Iterator[World]:
    placement: str = request.param
    folder = shared.new_folder(f"embeddings-{placement}")
    with ExitStack() as stack:
        upstream = ScriptedUpstream(as_embeddings.answer)
        stack.enter_context(upstream)
        config = configured(shared, placement, folder / "access.log")
        for model, (text, _, _) in UPSTREAMS.items():
            # On the endpoint, where the filter is the cluster's; else on the route.
            on_endpoint = placement == "upstream"
            cluster = add_cluster(config, model, "openai", upstream.port, text if on_endpoint else None)
            # The host that Envoy sends, which is signed.
            cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["hostname"] = AWS_HOST
            add_route(config, model, "openai", None if on_endpoint else text, cluster=model)
        envoy = stack.enter_context(Envoy(folder, config))
        yield World(Gateway(placement, envoy, shared, folder / "access.log"), upstream)


@pytest.fixture
def world(_world: World) -> Iterator[World]:
    _world.gateway.backends.reset()
    _world.upstream.reset()
    yield _world
    assert _world.gateway.envoy.alive() and _world.gateway.backends.sidecar.alive()


@pytest.mark.rows("B5", "B17", "B18", "B19", "B40")
@pytest.mark.parametrize("model", UPSTREAMS)
def test_openais_sdk_gets_vectors(world: World, model: str) -> None:
    """The SDK asks for base64 unless it is told otherwise, and unpacks it."""
    _, path, most = UPSTREAMS[model]
    texts = ["hello", "Grüße, 世界"][:most]
    client = world.gateway.openai()
    forms: list[Any] = [{}, {"encoding_format": "float"}]
    for form in forms:
        made: Any = client.embeddings.create(model=model, input=texts, dimensions=8, **form)
        assert [item.embedding for item in made.data] == [vector(text, 8) for text in texts]
        assert [item.index for item in made.data] == list(range(len(texts)))
        counted = 0 if model == "gemini-embedding-001" else 2 * len(texts)
        assert (made.model, made.usage.prompt_tokens, made.usage.total_tokens) == (model, counted, counted)
        seen = world.upstream.last
        assert (seen.method, seen.path) == ("POST", path)
        assert CLIENT_KEY not in f"{seen.headers}" and not [n for n, _ in seen.headers if n.startswith("x-stainless")]
        if "bedrock" in UPSTREAMS[model][0]:
            assert verified(seen.method, seen.path, dict(seen.headers), seen.body, SECRET)
        else:
            assert KEY in (seen.header("authorization") or seen.header("x-goog-api-key") or "")


@pytest.mark.parametrize("model", [model for model, (_, _, most) in UPSTREAMS.items() if most < 250])
def test_more_than_the_upstream_takes_is_refused_before_it_is_asked(world: World, model: str) -> None:
    most = UPSTREAMS[model][2]
    with pytest.raises(openai.BadRequestError) as refused:
        world.gateway.openai().embeddings.create(model=model, input=["a"] * (most + 1))
    assert refused.value.param == f"input[{most}]" and not world.upstream.received


@pytest.mark.parametrize("model", UPSTREAMS)
def test_tokens_in_place_of_texts_are_refused(world: World, model: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        world.gateway.openai().embeddings.create(model=model, input=[[1, 2, 3]])
    assert refused.value.param == "input[0]" and not world.upstream.received


@pytest.mark.parametrize("model", UPSTREAMS)
def test_an_upstreams_error_is_the_sdks(world: World, model: str) -> None:
    """Each in its own words, under the status that they all have in common."""
    words: dict[str, Any] = {"message": "not this key", "error": {"code": 403, "message": "not this key"}}
    world.upstream.will(json_answer(words, 403, (("x-amzn-errortype", "AccessDeniedException"),)))
    with pytest.raises(openai.PermissionDeniedError) as refused:
        world.gateway.openai().embeddings.create(model=model, input="a")
    assert "not this key" in refused.value.message and refused.value.type == "permission_error"


@pytest.mark.parametrize("model", UPSTREAMS)
def test_an_answer_that_is_none_is_an_error(world: World, model: str) -> None:
    none = json_answer({"predictions": [], "embeddings": []})
    # Where the filter is the cluster's, Envoy asks once more.
    world.upstream.will(none, none)
    with pytest.raises(openai.InternalServerError) as refused:
        world.gateway.openai().embeddings.create(model=model, input="a")
    assert refused.value.status_code == 502


@pytest.mark.parametrize("model", ["text-embedding-005", "amazon.titan-embed-text-v2"])
def test_coheres_client_gets_vectors_of_others(world: World, model: str) -> None:
    body = {"model": model, "texts": ["a"], "input_type": "search_query", "embedding_types": ["float"]}
    reply = world.gateway.send("/v2/embed", body, {"authorization": f"Bearer {CLIENT_KEY}"})
    assert reply.status == 200 and reply.json["embeddings"] == {"float": [vector("a")]}, reply.body
    assert CLIENT_KEY not in str(world.upstream.last.headers)


def test_googles_sdk_gets_vectors_of_openai(reference: Gateway) -> None:
    reference.openai_upstream.will(json_answer(ANSWER))
    where = types.HttpOptions(base_url=reference.url, timeout=30_000)
    client = genai.Client(api_key=CLIENT_KEY, http_options=where)
    settings = types.EmbedContentConfig(task_type="RETRIEVAL_QUERY", output_dimensionality=2)
    made = client.models.embed_content(model="gpt-embedding", contents="a", config=settings)
    assert made.embeddings is not None and made.embeddings[0].values == [0.0023, -0.0093]
    seen = reference.openai_upstream.last
    assert seen.path == "/v1/embeddings" and seen.json()["input"] == ["a"] and seen.json()["dimensions"] == 2
    assert seen.header("authorization") == f"Bearer {KEYS['OPENAI_API_KEY']}" and CLIENT_KEY not in str(seen.headers)


def test_what_the_request_loses_is_told(world: World) -> None:
    told = world.gateway.openai().embeddings.with_raw_response.create(model="embed-v4.0", input="a", user="u")
    assert told.headers["x-llm-translation"] == "user:dropped,input_type:rewritten"
    asked = world.gateway.openai().embeddings.with_raw_response.create(
        model="embed-v4.0", input="a", extra_body={"input_type": "search_query"}
    )
    assert "x-llm-translation" not in asked.headers
    assert world.upstream.last.json()["input_type"] == "search_query"
