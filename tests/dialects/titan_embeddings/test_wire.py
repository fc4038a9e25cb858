from __future__ import annotations

import pytest

from extproc.dialects.base import ResponseHead
from extproc.dialects.titan_embeddings import wire
from extproc.llm.embeddings import EmbedRequest, Input
from extproc.llm.failures import ProtocolError, Unsupported
from extproc.llm.losses import LossReport


def asked(model: str = "amazon.titan-embed-text-v2:0", **members: object) -> EmbedRequest:
    inputs = [Input("a", at="input")]
    return EmbedRequest(dialect="openai_embeddings", model=model, inputs=inputs, **members)  # type: ignore[arg-type]


def test_a_request() -> None:
    losses = LossReport()
    assert wire.request(asked(dimensions=256, purpose="query", truncate=True), losses) == {
        "inputText": "a",
        "dimensions": 256,
    }
    assert [str(loss) for loss in losses] == ["purpose:dropped", "truncate:dropped"]


@pytest.mark.parametrize("model", ["amazon.titan-embed-text-v1", "amazon.titan-embed-g1-text-02"])
def test_the_first_generation_has_vectors_of_one_size(model: str) -> None:
    assert wire.request(asked(model), LossReport()) == {"inputText": "a"}
    with pytest.raises(Unsupported, match="dimensions: the size of this model's vectors is fixed"):
        wire.request(asked(model, dimensions=256), LossReport())


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (b'{"embedding": [0.50], "inputTextTokenCount": 2}', 2),
        (b'{"embeddingsByType": {"float": [0.50], "binary": [1]}}', 7),
        (b'{"embedding": [0.50], "embeddingsByType": {"binary": [1]}, "inputTextTokenCount": -1}', 7),
    ],
)
def test_an_answer(body: bytes, tokens: int) -> None:
    head = ResponseHead(200, [("x-amzn-bedrock-input-token-count", "7")])
    vectors = wire.read(head, body)
    assert ([bytes(each) for each in vectors.items], vectors.input_tokens) == ([b"[0.50]"], tokens)


@pytest.mark.parametrize(
    ("body", "path"),
    [(b"{}", "embedding"), (b'{"embeddingsByType": {"binary": [1]}}', "embeddingsByType.float"), (b"[]", "body")],
)
def test_what_is_no_answer(body: bytes, path: str) -> None:
    with pytest.raises(ProtocolError) as error:
        wire.read(ResponseHead(200), body)
    assert error.value.path == path
