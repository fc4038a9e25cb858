from __future__ import annotations

from typing import Any

import pytest

from extproc.llm.failures import Unsupported
from extproc.llm.request import Audio, Document, Image, Message, SearchResult, Source, Text

from .helpers import Emitted, emit


def sent(block: Any, **quirks: Any) -> Emitted:
    return emit(messages=[Message("user", [block], "m")], quirks=quirks)


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


PDF = Source("base64", "JVBERi0=", "application/pdf")
PDF_PART = {"type": "file", "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}}
RESULT = SearchResult("https://e.x", 'T "1"', [Text("a"), Text("b")], "b", citations=True)


@pytest.mark.parametrize(
    ("block", "parts", "losses"),
    [
        (Image(Source("url", "https://e.x")), [{"type": "image_url", "image_url": {"url": "https://e.x"}}], []),
        (
            Image(Source("base64", "AA", "image/png"), "b", "low", extra={"x": 1}),
            [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}}],
            ["b.x:dropped"],
        ),
        (Audio("AA", "wav"), [{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}], []),
        (Document(PDF, at="b"), [PDF_PART], []),
        (Document(PDF, at="b", context="c", citations=True), [PDF_PART], ["b.citations:dropped", "b.context:dropped"]),
        (
            Document(Source("text", "hi"), at="b", title='"n"', context="c"),
            [text('<document title="&quot;n&quot;" context="c">\nhi\n</document>')],
            ["b:rewritten"],
        ),
        (
            Document(Source("base64", "aGk=", "text/plain"), at="b"),
            [text("<document>\nhi\n</document>")],
            ["b:rewritten"],
        ),
        (Document(blocks="hi", at="b"), [text("<document>\nhi\n</document>")], ["b:rewritten"]),
        (
            Document(blocks=[Text("x"), Image(Source("url", "https://u")), Text("y")], at="b"),
            [text("<document>\nx"), {"type": "image_url", "image_url": {"url": "https://u"}}, text("y\n</document>")],
            ["b:rewritten"],
        ),
        (
            Document(Source("file", "file-1", dialect="openai")),
            [{"type": "file", "file": {"file_id": "file-1"}}],
            [],
        ),
        (
            RESULT,
            [text('<search_result title="T &quot;1&quot;" source="https://e.x">\na\nb\n</search_result>')],
            ["b:rewritten", "b.citations:dropped"],
        ),
        (Text("a", "b", citations=[{}]), [text("a")], ["b.citations:dropped"]),
    ],
    ids=repr,
)
def test_parts(block: Any, parts: list[Any], losses: list[str]) -> None:
    got = sent(block)
    bare = len(parts) == 1 and parts[0]["type"] == "text"
    assert got.messages == [{"role": "user", "content": parts[0]["text"] if bare else parts}]
    assert got.losses == losses


@pytest.mark.parametrize(
    ("block", "quirks", "words"),
    [
        (Image(Source("url", "https://u"), "b"), {"image": False}, "image omitted: the model takes no images"),
        (Document(Source("url", "https://u"), at="b"), {}, "document omitted: the model cannot open https://u"),
        (Document(PDF, at="b"), {"file": False}, "document omitted: the model takes no files"),
    ],
    ids=repr,
)
def test_what_the_model_cannot_take_leaves_a_word_in_its_place(block: Any, quirks: Any, words: str) -> None:
    got = sent(block, **quirks)
    assert got.messages == [{"role": "user", "content": f"[{words}]"}]
    assert got.losses == ["b:dropped"]


@pytest.mark.parametrize(
    ("block", "quirks"),
    [
        (Document(Source("base64", "/w==", "text/plain"), at="b"), {}),
        (Image(Source("file", "id", dialect="x"), "b"), {}),
        (Document(Source("file", "id", dialect="x"), at="b"), {}),
        (Audio("AA", "wav", "b"), {"audio": False}),
    ],
    ids=repr,
)
def test_what_cannot_be_carried_is_refused(block: Any, quirks: Any) -> None:
    with pytest.raises(Unsupported) as error:
        sent(block, **quirks)
    assert error.value.path == "b"
