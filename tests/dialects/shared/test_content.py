from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from extproc.dialects.shared.content import as_object, between_tags, inner, opaque, search_result
from extproc.llm.failures import Unsupported
from extproc.llm.losses import LossReport
from extproc.llm.request import Block, Document, Image, Opaque, SearchResult, Source, Text


def base64_of(text: bytes) -> str:
    return base64.b64encode(text).decode()


@pytest.mark.parametrize(
    ("text", "value", "valid"),
    [
        (None, {}, True),
        ("", {}, True),
        (" \n", {}, True),
        (" [] ", {}, True),
        ("null", {}, True),
        ('{"a":1.0,"b":[]}', {"a": 1.0, "b": []}, True),
        ("[1]", {"INVALID_JSON": "[1]"}, False),
        ("7", {"INVALID_JSON": "7"}, False),
        ('{"a":', {"INVALID_JSON": '{"a":'}, False),
        ("[" * 5000, {"INVALID_JSON": "[" * 5000}, False),
    ],
)
def test_a_calls_input(text: str | None, value: Any, valid: bool) -> None:
    got, found = as_object(text)
    assert (msgspec.json.decode(msgspec.json.encode(got)), found) == (value, valid)


def test_an_input_keeps_its_bytes() -> None:
    text = '{"b": 1e3, "a": 10000000000000000000000000, "b": 2.0}'
    assert msgspec.json.encode(as_object(text)[0]) == text.encode()


def test_blocks_that_one_api_knows() -> None:
    losses, content = LossReport(), {"type": "x"}
    assert opaque(Opaque("mine", content, "c[0]"), "mine", losses) is content and not list(losses)
    assert opaque(Opaque("other", content, "c[0]", essential=False), "mine", losses) is None
    assert [str(loss) for loss in losses] == ["c[0]:dropped"]
    with pytest.raises(Unsupported, match="content of type 'video' is not supported"):
        opaque(Opaque("a", {"video": {"format": "mp4"}}, "p", essential=True), "b", LossReport())
    with pytest.raises(Unsupported, match="content of type 'x' is not supported"):
        opaque(Opaque("other", content, "c[0]", essential=True), "mine", losses)


def test_a_search_result_is_a_text() -> None:
    losses = LossReport()
    block = SearchResult(source='a "b"', title="t", content=[], at="c", citations=True)
    said = search_result(block, ["one", "two"], losses)
    assert said == '<search_result title="t" source="a &quot;b&quot;">\none\ntwo\n</search_result>'
    assert [str(loss) for loss in losses] == ["c:rewritten", "c.citations:dropped"]


@pytest.mark.parametrize(
    ("document", "found"),
    [
        (Document(None, blocks="b"), [Text("b")]),
        (Document(None, blocks=[Text("b")]), [Text("b")]),
        (Document(None), [Text("")]),
        (Document(Source("text", "é")), [Text("é")]),
        (Document(Source("base64", base64_of("é".encode()), "text/csv")), [Text("é")]),
        (Document(Source("base64", base64_of(b"%PDF"), "application/pdf")), None),
        (Document(Source("base64", base64_of(b"?"))), [Text("?")]),
        (Document(Source("base64", base64_of(b"\xff"))), None),
        (Document(Source("url", "https://example.com")), None),
        (Document(Source("file", "f")), None),
    ],
    ids=repr,
)
def test_what_stands_in_a_document(document: Document, found: list[Block] | None) -> None:
    assert inner(document) == found


def test_a_text_that_is_none() -> None:
    with pytest.raises(Unsupported, match="base64 of UTF-8"):
        inner(Document(Source("base64", base64_of(b"\xff"), "text/plain")))


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def test_a_document_between_tags() -> None:
    losses = LossReport()
    image: dict[str, Any] = {"type": "image"}
    parts = [text("a"), text("b"), image, text("c"), text("d", mark=1)]
    document = Document(None, title="t", context="x", at="c[2]")
    assert between_tags(document, parts, text, losses) == [
        text('<document title="t" context="x">\na\nb'),
        image,
        text("c"),
        text("d", mark=1),
        text("</document>"),
    ]
    assert [str(loss) for loss in losses] == ["c[2]:rewritten"]
    assert between_tags(document, [], text, losses) == [text('<document title="t" context="x">\n</document>')]


def test_texts_without_a_type_are_told_by_their_members() -> None:
    def part(words: str) -> dict[str, Any]:
        return {"text": words}

    parts = between_tags(Document(None), [part("a"), {"inlineData": {}}, part("b")], part, LossReport())
    assert parts == [part("<document>\na"), {"inlineData": {}}, part("b\n</document>")]


def test_an_image_is_no_text() -> None:
    assert inner(Document(None, blocks=[Image(Source("url", "u"))])) == [Image(Source("url", "u"))]
