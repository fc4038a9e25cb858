"""Fields of forms: found where they stand, whatever else there is."""

from __future__ import annotations

import os
import random

import pytest

from extproc.dialects.openai_endpoints.forms import MAX_PARTS, boundary, field, find
from extproc.llm.failures import ProtocolError

BINARY = bytes(range(256)) * 40 + b"\r\n--other\r\n--B\r\n-- B"


def form(*parts: tuple[bytes, bytes], mark: bytes = b"BOUND") -> bytes:
    made = b"".join(b"--%b\r\n%b\r\n\r\n%b\r\n" % (mark, head, value) for head, value in parts)
    return made + b"--%b--\r\n" % mark


def named(name: bytes, more: bytes = b"") -> bytes:
    return b'Content-Disposition: form-data; name="%b"%b' % (name, more)


FILE = (named(b"file", b'; filename="a.wav"') + b"\r\nContent-Type: audio/wav", BINARY)


@pytest.mark.parametrize(
    ("content_type", "mark"),
    [
        ("multipart/form-data; boundary=abc", b"abc"), ('multipart/form-data; boundary="a b;c"', b"a b;c"),
        ("Multipart/Form-Data; charset=utf-8; Boundary=abc", b"abc"), ("multipart/form-data", None),
        ("multipart/mixed; boundary=abc", None), ("application/json", None), ("", None),
    ],
)  # fmt: skip
def test_boundaries(content_type: str, mark: bytes | None) -> None:
    assert boundary(content_type) == mark


@pytest.mark.parametrize(
    ("parts", "value"),
    [
        ([FILE, (named(b"model"), b"whisper-1")], b"whisper-1"),
        ([(named(b"model"), b"whisper-1"), FILE], b"whisper-1"),
        ([(b"content-disposition: form-data; name=model", b"m"), FILE], b"m"),
        ([(b"X-A: b\r\nCONTENT-DISPOSITION: form-data;name=\"model\"\r\nContent-Type: text/plain", b"m")], b"m"),
        ([(named(b"model"), b"")], b""),
        ([(named(b"model"), b"first"), (named(b"model"), b"second")], b"first"),
        ([(named(b"models"), b"x"), (named(b"file", b'; filename="model"'), b"y")], None),
        ([FILE], None),
        ([], None),
    ],
)  # fmt: skip
def test_where_a_field_stands(parts: list[tuple[bytes, bytes]], value: bytes | None) -> None:
    body = form(*parts)
    found = find(body, b"BOUND", b"model")
    assert (body[slice(*found)] if found is not None else None) == value
    with_preamble = b"for old readers\r\n" + body
    found = find(with_preamble, b"BOUND", b"model")
    assert (with_preamble[slice(*found)] if found is not None else None) == value


def test_a_part_without_a_value() -> None:
    body = b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\n--B--\r\n'
    assert find(body, b"B", b"model") is not None


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"--B", b"--B\r\n", b"--B\r\na: b\r\n\r\nvalue", b"--B\r\n" + b"a" * 20_000 + b"\r\n\r\n\r\n--B--"],
)
def test_a_form_that_is_cut_is_an_error(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        find(body, b"B", b"model")


def test_parts_are_bounded() -> None:
    with pytest.raises(ProtocolError, match="more than"):
        find(form(*[(named(b"x"), b"")] * (MAX_PARTS + 1)), b"BOUND", b"model")


def test_a_field_that_is_put_before_a_form() -> None:
    body = field(b"BOUND", b"model", b"m") + form(FILE)
    found = find(body, b"BOUND", b"model")
    assert found is not None and body[slice(*found)] == b"m" and body.endswith(form(FILE))


def test_broken_forms_never_raise_anything_else() -> None:
    draw = random.Random(7)
    whole = form((named(b"a"), b"x"), FILE, (named(b"model"), b"whisper-1"))
    for _ in range(500):
        at, size = draw.randrange(len(whole)), draw.randrange(40)
        broken = whole[:at] + os.urandom(draw.randrange(8)) + whole[at + size :]
        try:
            found = find(broken, b"BOUND", b"model")
        except ProtocolError:
            continue
        assert found is None or 0 <= found[0] <= found[1] <= len(broken)
