from __future__ import annotations

from extproc.dialects.gemini_embeddings.requests import parse
from extproc.llm.embeddings import Input
from extproc.llm.losses import LossReport


def test_a_batch_is_read_with_the_places_of_its_texts() -> None:
    losses = LossReport()
    body = b"""{"requests": [
        {"model": "models/m", "content": {"role": "user", "parts": {"text": "a"}}, "taskType": "FACT_VERIFICATION"},
        {"model": "models/m", "content": "b", "taskType": "FACT_VERIFICATION"}]}"""
    asked = parse(body, "m", losses, many=True)
    assert asked.inputs == [Input("a", at="requests[0].content.parts[0].text"), Input("b", at="requests[1].content")]
    assert (asked.purpose, asked.single, asked.path_of("purpose")) == ("fact", False, "requests[0].taskType")
    assert not list(losses)


def test_vertex_says_the_settings_apart() -> None:
    body = b"""{"content": {"parts": [{"text": "a"}]},
        "embedContentConfig": {"title": "T", "autoTruncate": true, "new": 1}, "title": "not this"}"""
    losses = LossReport()
    asked = parse(body, "m", losses, many=False)
    assert (asked.title, asked.truncate, asked.single) == ("T", True, True)
    assert [str(loss) for loss in losses] == ["embedContentConfig.new:dropped"]
