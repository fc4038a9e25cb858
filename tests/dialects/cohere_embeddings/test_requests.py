from __future__ import annotations

from extproc.dialects.cohere_embeddings.requests import parse
from extproc.llm.embeddings import Input
from extproc.llm.losses import LossReport


def test_texts_and_settings_are_read() -> None:
    losses = LossReport()
    body = b"""{"model": "embed-v4.0", "texts": ["a", "b"], "input_type": "clustering", "output_dimension": 256,
        "embedding_types": ["base64"], "truncate": "none", "max_tokens": 9}"""
    asked = parse(body, losses)
    assert asked.inputs == [Input("a", at="texts[0]"), Input("b", at="texts[1]")]
    assert (asked.model, asked.purpose, asked.dimensions) == ("embed-v4.0", "clustering", 256)
    assert (asked.base64, asked.truncate, asked.path_of("dimensions")) == (True, False, "output_dimension")
    assert [str(loss) for loss in losses] == ["max_tokens:dropped"]
