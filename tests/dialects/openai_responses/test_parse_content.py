from __future__ import annotations

from typing import Any

import pytest

from extproc.llm.failures import ProtocolError
from extproc.llm.request import Audio, CacheMarker, Document, Image, Opaque, Source, Text

from .helpers import parse

AT = "input[0].content[0]"


def part(value: Any, role: str = "user") -> Any:
    request = parse({"input": [{"type": "message", "role": role, "content": [value]}]})[0]
    (message,) = request.messages or request.system
    (block,) = list(message.content)
    return block


def text(**more: Any) -> dict[str, Any]:
    return {"type": "input_text", "text": "a", **more}


@pytest.mark.parametrize(
    ("value", "block"),
    [
        (text(), Text("a", AT)),
        ("a", Text("a", AT)),
        ({"type": "text", "text": "a"}, Text("a", AT)),
        ({"type": "output_text", "text": "a", "annotations": [], "logprobs": []}, Text("a", AT)),
        (text(prompt_cache_breakpoint={"mode": "explicit"}), Text("a", AT, CacheMarker())),
        (text(prompt_cache_breakpoint={"mode": "explicit", "ttl": "12h"}), Text("a", AT, CacheMarker("1h"))),
        (text(x=1), Text("a", AT, extra={"x": 1})),
        (
            {"type": "input_image", "image_url": "data:image/JPG;base64,/9j/\n AA", "detail": "high"},
            Image(Source("base64", "/9j/AA", "image/jpeg"), AT, "high"),
        ),
        (
            {"type": "input_image", "image_url": "https://e.x/a.png", "detail": "auto"},
            Image(Source("url", "https://e.x/a.png"), AT),
        ),
        ({"type": "input_image", "file_id": "file-1"}, Image(Source("file", "file-1", dialect="openai"), AT)),
        (
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
            Document(Source("base64", "JVBERi0=", "application/pdf"), at=AT, title="a.pdf"),
        ),
        (
            {"type": "input_file", "file_url": "https://e.x/a.pdf", "detail": "auto"},
            Document(Source("url", "https://e.x/a.pdf"), at=AT),
        ),
        (
            {"type": "input_file", "file_url": "data:text/csv;base64,YSxi", "filename": "a.csv"},
            Document(Source("base64", "YSxi", "text/csv"), at=AT, title="a.csv"),
        ),
        (
            {"type": "input_file", "file_id": "file-1", "detail": "high"},
            Document(Source("file", "file-1", dialect="openai"), at=AT, extra={"detail": "high"}),
        ),
        ({"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}, Audio("AA", "wav", AT)),
        ({"type": "hologram", "x": 1}, Opaque("openai_responses", {"type": "hologram", "x": 1}, AT, essential=True)),
    ],
    ids=repr,
)
def test_what_users_send(value: Any, block: Any) -> None:
    assert part(value) == block


@pytest.mark.parametrize(
    ("value", "block"),
    [
        ({"type": "refusal", "refusal": "No."}, Text("No.", AT, refusal=True)),
        ({"type": "hologram"}, Opaque("openai_responses", {"type": "hologram"}, AT)),
    ],
)
def test_what_the_model_said(value: Any, block: Any) -> None:
    assert part(value, "assistant") == block


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (7, AT),
        ({"text": "a"}, f"{AT}.type"),
        ({"type": 1}, f"{AT}.type"),
        ({"type": "input_text"}, f"{AT}.text"),
        ({"type": "input_image"}, AT),
        ({"type": "input_image", "image_url": "ftp://e.x"}, f"{AT}.image_url"),
        ({"type": "input_file", "filename": "a.pdf"}, AT),
    ],
)
def test_what_is_no_part(value: Any, path: str) -> None:
    with pytest.raises(ProtocolError) as wrong:
        part(value)
    assert wrong.value.path == path


def test_content_is_a_text_or_parts() -> None:
    with pytest.raises(ProtocolError, match=r"input\[0\]\.content: expected a string or an array, got an integer"):
        parse({"input": [{"role": "user", "content": 3}]})
