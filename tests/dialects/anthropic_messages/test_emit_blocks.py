from __future__ import annotations

import base64
from typing import Any

import pytest

from extproc.llm.failures import Unsupported
from extproc.llm.request import (
    Audio,
    Block,
    CacheMarker,
    Document,
    Image,
    Message,
    SearchResult,
    Source,
    Text,
    ToolCall,
)

from .helpers import Emitted, emit


def say(block: Block, **members: Any) -> Emitted:
    return emit(messages=[Message("user", [block, Text("x")], "messages[0]")], **members)


def written(block: Block) -> Any:
    return say(block).messages[0]["content"][0]


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (Text("a", cache=CacheMarker("1h")),
         {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}),
        (Image(Source("base64", "/9j/", "image/jpg")),
         {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "/9j/"}}),
        (Image(Source("base64", "a b\nc==", "IMAGE/PNG")),
         {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "abc="}}),
        (Image(Source("url", "https://e.x/a.png"), detail="auto"),
         {"type": "image", "source": {"type": "url", "url": "https://e.x/a.png"}}),
        (Document(Source("base64", "JVBERi0=", "application/pdf"), title="a.pdf", cache=CacheMarker()),
         {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
          "title": "a.pdf", "cache_control": {"type": "ephemeral"}}),
        (Document(Source("base64", "JV", None), title="A.PDF"),
         {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JV=="},
          "title": "A.PDF"}),
        (Document(Source("base64", b64("hé"), "text/markdown; charset=utf-8"), title="n.md"),
         {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hé"}, "title": "n.md"}),
        (Document(Source("text", "hi"), context="c", citations=True),
         {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}, "context": "c",
          "citations": {"enabled": True}}),
        (Document(Source("url", "https://e.x/a.pdf")),
         {"type": "document", "source": {"type": "url", "url": "https://e.x/a.pdf"}}),
        (Document(None, [Text("a"), Text("")]),
         {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "a"}]}}),
        (SearchResult("s", "t", [Text("a")], citations=True),
         {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "a"}],
          "citations": {"enabled": True}}),
    ],
    ids=lambda value: str(value)[:50],
)  # fmt: skip
@pytest.mark.rows("C5")
def test_content(block: Block, expected: Any) -> None:
    assert written(block) == expected


def test_own_files_need_a_beta() -> None:
    out = say(Image(Source("file", "file_1", dialect="anthropic_messages")))
    assert out.messages[0]["content"][0]["source"] == {"type": "file", "file_id": "file_1"}
    assert out.header("anthropic-beta") == "files-api-2025-04-14"


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (Audio("AAAA", "wav", "p"), "audio input is not supported for this model"),
        (
            Image(Source("file", "file-1", dialect="x"), "p"),
            "file ids of another provider are not supported for this model",
        ),
        (Image(Source("text", "x"), "p"), "a source of kind text is not supported for this model"),
        (Document(Source("base64", "/w==", "text/plain"), at="p"), "UTF-8"),
        (Document(Source("base64", "x", "text/plain"), at="p"), "base64"),
        (ToolCall("c", "f", at="p"), "cannot stand here"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_cannot_be_carried_is_refused(block: Block, message: str) -> None:
    with pytest.raises(Unsupported) as error:
        say(block)
    assert error.value.path == "p"
    assert message in error.value.message


def test_an_image_has_the_type_of_its_bytes() -> None:
    png = base64.urlsafe_b64encode(b"\x89PNG\r\n\x1a\n\xff\xfb").decode().rstrip("=")
    out = say(Image(Source("base64", png, "image/jpeg"), "p"))
    source = out.messages[0]["content"][0]["source"]
    assert source["media_type"] == "image/png"
    assert base64.b64decode(source["data"]).startswith(b"\x89PNG")
    assert out.losses == ["p:rewritten"]
    in_file = say(Document(Source("base64", png, "application/octet-stream"), at="p"))
    assert in_file.messages[0]["content"][0]["type"] == "image"


def test_an_image_that_the_model_takes_not_leaves_a_word() -> None:
    out = say(Image(Source("base64", "eHh4eA==", "image/tiff"), "p"))
    said = {"type": "text", "text": "[image omitted: the model takes none of type image/tiff]"}
    assert out.messages[0]["content"][0] == said
    assert out.losses == ["p:dropped"]


@pytest.mark.parametrize(("kind", "named"), [("application/zip", "application/zip"), (None, "unknown")])
def test_a_file_that_the_model_takes_not_leaves_a_word(kind: str | None, named: str) -> None:
    out = say(Document(Source("base64", "/w==", kind), at="p"))
    said = {"type": "text", "text": f"[document omitted: the model takes none of type {named}]"}
    assert out.messages[0]["content"][0] == said
    assert out.losses == ["p:dropped"]


def test_losses_of_content() -> None:
    image = Image(Source("url", "https://u"), "messages[0].content[0].image_url", "high")
    assert say(image).losses == ["messages[0].content[0].image_url.detail:dropped"]
    assert say(Text("a", "p", extra={"x": 1})).losses == ["p.x:dropped"]


def test_unicode_and_control_characters_survive() -> None:
    text = 'é\u2028\x00 \U0001f600 "\\'
    assert written(Text(text)) == {"type": "text", "text": text}


def test_a_film_is_no_text_whatever_its_bytes_are() -> None:
    told = {"type": "text", "text": "[document omitted: the model takes none of type video/mp4]"}
    assert written(Document(Source("base64", "AAAA", "video/mp4"), at="x")) == told
