from __future__ import annotations

import base64
from typing import Any

import pytest

from extproc.llm.failures import Unsupported
from extproc.llm.request import Audio, Block, CacheMarker, Document, Image, Message, Opaque, SearchResult, Source, Text

from .helpers import Emitted, emit

AT = "messages[0].content[0]"


def user(*blocks: Block, **options: Any) -> Emitted:
    return emit(messages=[Message("user", list(blocks), "messages[0]")], **options)


def text(value: str) -> dict[str, Any]:
    return {"type": "input_text", "text": value}


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (Text("a"), None),
        (
            Image(Source("base64", "AA==", "image/png"), detail="high"),
            {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "high"},
        ),
        (
            Image(Source("url", "https://e.x/a.png")),
            {"type": "input_image", "image_url": "https://e.x/a.png", "detail": "auto"},
        ),
        (
            Image(Source("file", "file-1", dialect="openai")),
            {"type": "input_image", "file_id": "file-1", "detail": "auto"},
        ),
        (
            Document(Source("base64", "JVBERi0=", "application/pdf"), title="a.pdf"),
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
        ),
        (
            Document(Source("base64", "JVBERi0=")),
            {"type": "input_file", "filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
        ),
        (Document(Source("url", "https://e.x/a.pdf")), {"type": "input_file", "file_url": "https://e.x/a.pdf"}),
        (Document(Source("file", "file-1", dialect="openai")), {"type": "input_file", "file_id": "file-1"}),
        (Opaque("openai_responses", {"type": "new"}, essential=True), {"type": "new"}),
    ],
    ids=repr,
)
def test_a_part(block: Any, part: Any) -> None:
    if isinstance(block, Opaque):
        # What this API alone knows is an item here, and a part within a result.
        assert user(block).input == [part]
        return
    out = user(block)
    # A text alone stands there as such.
    assert out.input == [{"type": "message", "role": "user", "content": "a" if part is None else [part]}]
    assert out.losses == []


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (Document(Source("text", "hi"), at=AT, title="t"), '<document title="t">\nhi\n</document>'),
        (Document(blocks="hi", at=AT, context="c"), '<document context="c">\nhi\n</document>'),
        (
            Document(Source("base64", base64.b64encode(b"a,b").decode(), "text/csv"), at=AT),
            "<document>\na,b\n</document>",
        ),
        (
            SearchResult("https://e.x", "T", [Text("a"), Text("b")], AT),
            '<search_result title="T" source="https://e.x">\na\nb\n</search_result>',
        ),
    ],
)
def test_what_becomes_text(block: Any, expected: str) -> None:
    out = user(block)
    assert out.input[0]["content"] == expected
    assert out.losses == [f"{AT}:rewritten"]


def test_a_document_with_an_image_in_it() -> None:
    image = Image(Source("url", "https://e.x/a.png"))
    parts = user(Document(blocks=[Text("a"), image, Text("b")])).input[0]["content"]
    assert [part["type"] for part in parts] == ["input_text", "input_image", "input_text"]
    assert (parts[0]["text"], parts[2]["text"]) == ("<document>\na", "b\n</document>")


@pytest.mark.parametrize(
    ("block", "losses"),
    [
        (
            Text("a", AT, CacheMarker(), [{"x": 1}], extra={"y": 2}),
            [f"{AT}.y:dropped", f"{AT}.citations:dropped", "cache:dropped"],
        ),
        (
            Document(Source("url", "https://e.x"), at=AT, title="t", context="c", citations=True),
            [f"{AT}.citations:dropped", f"{AT}.context:dropped", f"{AT}.title:dropped"],
        ),
        (Opaque("x", {"type": "y"}, AT), [f"{AT}:dropped"]),
        (SearchResult("s", "t", [], AT, citations=True), [f"{AT}:rewritten", f"{AT}.citations:dropped"]),
    ],
)
def test_what_is_lost_is_said(block: Any, losses: list[str]) -> None:
    assert user(block, Text("b")).losses == losses


@pytest.mark.parametrize(
    ("block", "quirks", "says"),
    [
        (Image(Source("url", "https://e.x"), AT), {"image": False}, "[image omitted: the model takes no images]"),
        (
            Document(Source("url", "https://e.x"), at=AT),
            {"file": False},
            "[document omitted: the model takes no files]",
        ),
    ],
)
def test_what_a_model_cannot_take_is_left_out_and_said(block: Any, quirks: dict[str, Any], says: str) -> None:
    made = user(block, Text("b"), quirks=quirks)
    assert made.body["input"][0]["content"][0] == {"type": "input_text", "text": says}
    assert made.losses == [f"{AT}:dropped"]


@pytest.mark.parametrize(
    ("block", "quirks", "says"),
    [
        (Image(Source("file", "f", dialect="anthropic_messages"), AT), {}, "file ids of another provider"),
        (Document(Source("file", "f", dialect="anthropic_messages"), at=AT), {}, "file ids of another provider"),
        (Audio("AA", "wav", AT), {}, "audio input is not supported"),
        (Opaque("x", {"type": "y"}, AT, essential=True), {}, "content of type 'y' is not supported"),
    ],
)
def test_what_cannot_be_carried_is_refused(block: Any, quirks: dict[str, Any], says: str) -> None:
    with pytest.raises(Unsupported, match=says) as refused:
        user(block, quirks=quirks)
    assert refused.value.path == AT
