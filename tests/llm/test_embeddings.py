from __future__ import annotations

import base64
import struct

import msgspec
import pytest

from extproc.llm.embeddings import EmbedRequest, Input, numbers, packed, remembered, texts
from extproc.llm.failures import ProtocolError, Unsupported


def request(*inputs: Input) -> EmbedRequest:
    return EmbedRequest(dialect="openai_embeddings", model="m", inputs=list(inputs), at={"purpose": "task_type"})


def test_what_is_remembered_holds_no_text() -> None:
    kept = remembered(request(Input("secret", at="input[0]"), Input(tokens=[1, 2], at="input[1]")))
    assert kept.inputs == [Input(at="input[0]"), Input(at="input[1]")] and "secret" not in repr(kept)


def test_paths_are_the_clients() -> None:
    asked = request()
    assert (asked.path_of("purpose"), asked.path_of("title")) == ("task_type", "title")


def test_texts_up_to_a_number() -> None:
    asked = request(Input("a", at="input[0]"), Input("b", at="input[1]"))
    assert texts(asked, 2) == ["a", "b"]
    with pytest.raises(Unsupported) as refused:
        texts(asked, 1)
    assert (refused.value.path, refused.value.code) == ("input[1]", "invalid_value")


def test_tokens_are_no_text() -> None:
    with pytest.raises(Unsupported, match="no numbers of tokens") as refused:
        texts(request(Input("a", at="input[0]"), Input(tokens=[1], at="input[1]")), 9)
    assert refused.value.path == "input[1]"


@pytest.mark.parametrize("text", [b"[]", b"[1, -2.5, 3e-5]", b"[ 0.1 ]"])
def test_a_vector_as_it_was_and_packed(text: bytes) -> None:
    raw = msgspec.Raw(text)
    assert bytes(numbers(raw, "x")) == text
    values = msgspec.json.decode(text)
    assert base64.b64decode(packed(raw)) == struct.pack(f"<{len(values)}f", *values)


@pytest.mark.parametrize("text", [b'"a"', b"[null]", b'["1"]', b"{}", b"[[1]]", b"[true]", b"[1"])
def test_what_is_no_vector(text: bytes) -> None:
    for reads in (lambda raw: numbers(raw, "x"), packed):
        with pytest.raises(ProtocolError, match="expected an array of numbers"):
            reads(msgspec.Raw(text))


def test_a_number_beyond_float32_is_infinite_and_no_crash() -> None:
    assert base64.b64decode(packed(msgspec.Raw(b"[1e300]"))) == struct.pack("<f", float("inf"))
