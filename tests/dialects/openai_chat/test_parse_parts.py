from __future__ import annotations

from typing import Any

import pytest

from extproc.dialects.shared.openai import VENDOR
from extproc.llm.failures import ProtocolError
from extproc.llm.request import Audio, CacheMarker, Document, Image, Opaque, Source, Text, Thinking

from .helpers import parse

AT = "messages[0].content[0]"


def part(value: Any, role: str = "user") -> Any:
    return parse({"messages": [{"role": role, "content": [value]}]})[0].messages[0].content[0]


def image(url: Any, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def file(**members: Any) -> dict[str, Any]:
    return {"type": "file", "file": members}


@pytest.mark.parametrize(
    ("value", "block"),
    [
        ({"type": "text", "text": "a"}, Text("a", AT)),
        ("a", Text("a", AT)),
        ({"type": "input_text", "text": "a"}, Text("a", AT)),
        ({"type": "output_text", "text": "a", "annotations": []}, Text("a", AT)),
        (
            {"type": "input_image", "image_url": "https://x/a.png", "detail": "low"},
            Image(Source("url", "https://x/a.png"), f"{AT}.image_url", "low"),
        ),
        ({"type": "input_image", "file_id": "f1"}, Image(Source("file", "f1", dialect=VENDOR), AT)),
        (
            {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,aGk="},
            Document(Source("base64", "aGk=", "text/plain"), at=AT, title="a.txt"),
        ),
        ({"type": "input_file", "file_url": "https://x/a.pdf"}, Document(Source("url", "https://x/a.pdf"), at=AT)),
        ({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, Text("a", AT, CacheMarker())),
        (
            {"type": "text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}},
            Text("a", AT, CacheMarker("1h")),
        ),
        ({"type": "text", "text": "a", "x": 1}, Text("a", AT, extra={"x": 1})),
        (
            image("data:image/JPG;base64,/9j/\n AA", detail="high"),
            Image(Source("base64", "/9j/AA", "image/jpeg"), f"{AT}.image_url", "high"),
        ),
        (image("https://e.x/a.png", detail="auto"), Image(Source("url", "https://e.x/a.png"), f"{AT}.image_url")),
        ({"type": "image_url", "image_url": "http://e.x"}, Image(Source("url", "http://e.x"), f"{AT}.image_url")),
        (image("http://e.x", x=1), Image(Source("url", "http://e.x"), f"{AT}.image_url", extra={"x": 1})),
        (
            file(filename="a.pdf", file_data="data:application/pdf;base64,JVBERi0="),
            Document(Source("base64", "JVBERi0=", "application/pdf"), at=AT, title="a.pdf"),
        ),
        (file(filename="a.pdf", file_data="JVBE\nRi0="), Document(Source("base64", "JVBERi0="), at=AT, title="a.pdf")),
        (
            file(file_data="data:text/plain;charset=utf-8,hi%20you"),
            Document(Source("text", "hi you", "text/plain"), at=AT),
        ),
        (file(file_id="file-1"), Document(Source("file", "file-1", dialect="openai"), at=AT)),
        ({"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}, Audio("AA", "wav", AT)),
        ({"type": "video_url", "x": 1}, Opaque("openai_chat", {"type": "video_url", "x": 1}, AT, essential=True)),
    ],
    ids=repr,
)
def test_what_users_send(value: Any, block: Any) -> None:
    assert part(value) == block


@pytest.mark.parametrize(
    ("value", "block"),
    [
        ({"type": "refusal", "refusal": "No."}, Text("No.", AT, refusal=True)),
        ({"type": "thinking", "thinking": [{"type": "text", "text": "a"}, {"text": "b"}]}, Thinking("ab", at=AT)),
        ({"type": "thinking", "thinking": "a"}, Thinking("a", at=AT)),
        ({"type": "reference"}, Opaque("openai_chat", {"type": "reference"}, AT)),
    ],
    ids=repr,
)
def test_what_assistants_said(value: Any, block: Any) -> None:
    assert part(value, "assistant") == block


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (3, ""),
        ({"text": "a"}, ".type"),
        ({"type": 3}, ".type"),
        ({"type": "text"}, ".text"),
        ({"type": "image_url"}, ".image_url"),
        (image(None), ".image_url.url"),
        (image("ftp://e.x"), ".image_url.url"),
        (image("data:image/png"), ".image_url.url"),
        (image("data:image/svg+xml,<svg/>"), ".image_url.url"),
        (file(), ".file"),
        (file(file_data="data:application/pdf,x"), ".file.file_data"),
        ({"type": "input_audio", "input_audio": {}}, ".input_audio.data"),
    ],
    ids=repr,
)
def test_what_the_api_refuses(value: Any, path: str) -> None:
    with pytest.raises(ProtocolError) as error:
        part(value)
    assert error.value.path == AT + path
