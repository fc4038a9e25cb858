"""Nova's requests and answers beyond the cases of tests/cases/embeddings.json."""

from __future__ import annotations

import pytest

from extproc.dialects.base import ResponseHead
from extproc.dialects.nova_embeddings import wire
from extproc.llm.embeddings import EmbedRequest, Input, Purpose
from extproc.llm.failures import ProtocolError
from extproc.llm.losses import LossReport


@pytest.mark.parametrize(
    ("purpose", "said"),
    [("document", "GENERIC_INDEX"), ("code", "GENERIC_RETRIEVAL"), ("clustering", "CLUSTERING")],
)
def test_purposes(purpose: Purpose, said: str) -> None:
    asked = EmbedRequest(dialect="x", model="m", inputs=[Input("a", at="input")], purpose=purpose)
    losses = LossReport()
    assert wire.request(asked, losses)["singleEmbeddingParams"]["embeddingPurpose"] == said
    assert not len(losses)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"embeddings": [{}]}', b'{"embeddings": [[1]]}'])
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        wire.read(ResponseHead(200), body)


def test_a_count_of_its_own_goes_before_the_header() -> None:
    head = ResponseHead(200, [("x-amzn-bedrock-input-token-count", "4")])
    body = b'{"embeddings": [{"embedding": [1]}], "inputTextTokenCount": 3}'
    assert wire.read(head, body).input_tokens == 3
    assert wire.read(ResponseHead(200), b'{"embeddings": [{"embedding": [1]}]}').input_tokens is None
