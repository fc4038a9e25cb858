"""``rag`` with real parts: llama.cpp embeds, Chroma finds, and a scripted provider shows what goes on."""

from __future__ import annotations

import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from extproc.demo.processes import Envoy
from tests.support import gateway as support
from tests.support import placements
from tests.support.gateway import Gateway

PASSAGES = {
    "The cafeteria serves lunch between noon and two o'clock.": "food.md",
    "To reset your password, open the account page and choose Forgotten password.": "accounts.md",
    "Parking is behind the building; the gate opens with your badge.": "parking.md",
}
COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"
RAG = """\
policies:
- rag:
    embeddings: {{endpoint: '{embedder}/v1/embeddings', model: smollm2}}
    search: {{kind: chroma, endpoint: '{chroma}', collection: handbook}}
    top_k: 1
"""


def post(url: str, body: Any) -> Any:
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(url, msgspec.json.encode(body), headers, method="POST")
    with urllib.request.urlopen(request, timeout=120) as answer:
        return msgspec.json.decode(answer.read() or b"null")


@pytest.fixture(scope="module")
def stocked(embedder: int, chroma: str) -> str:
    """Chroma's address, with a collection of PASSAGES."""
    texts = list(PASSAGES)
    embedded = post(f"http://127.0.0.1:{embedder}/v1/embeddings", {"model": "smollm2", "input": texts})
    vectors = [each["embedding"] for each in embedded["data"]]
    made = post(chroma + COLLECTIONS, {"name": "handbook"})
    records = {
        "ids": [str(at) for at, _ in enumerate(texts)],
        "embeddings": vectors,
        "documents": texts,
        "metadatas": [{"source": PASSAGES[text]} for text in texts],
    }
    post(f"{chroma}{COLLECTIONS}/{made['id']}/add", records)
    return chroma


@pytest.fixture(scope="module")
def gateway(stocked: str, embedder: int, backends: support.Backends) -> Iterator[Gateway]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="extproc-rag-")))
        config = support.configured(backends, "listener", folder / "access.log")
        text = placements.OPENAI + RAG.format(embedder=f"http://127.0.0.1:{embedder}", chroma=stocked)
        placements.add_route(config, "helped", "openai", text)
        envoy = stack.enter_context(Envoy(folder, config))
        yield Gateway("listener", envoy, backends, folder / "access.log")


@pytest.mark.rows("B29")
@pytest.mark.parametrize("passage", PASSAGES)
def test_the_passage_that_is_asked_about_goes_on(gateway: Gateway, passage: str) -> None:
    """A very small model makes the vectors: what is asked for is nearly what is there."""
    gateway.backends.reset()
    asked = passage.removesuffix(".") + "?"
    said = [{"role": "user", "content": asked}]
    completion = gateway.openai(timeout=120.0).chat.completions.create(model="helped", messages=said)  # type: ignore[arg-type]
    assert completion.choices[0].message.content
    question, found = gateway.openai_upstream.last.json()["messages"]
    assert question["content"] == asked
    assert found["role"] == "user" and found["content"].endswith(f"[1] {PASSAGES[passage]}\n{passage}")


@pytest.mark.rows("B29")
def test_a_client_of_another_api_is_helped_alike(gateway: Gateway) -> None:
    gateway.backends.reset()
    said: Any = [{"role": "user", "content": "Parking is behind the building; the gate opens with your badge?"}]
    with gateway.anthropic(timeout=120.0).messages.stream(model="helped", max_tokens=9, messages=said) as stream:
        assert stream.get_final_message().stop_reason == "end_turn"
    assert "parking.md" in str(gateway.openai_upstream.last.json()["messages"])
