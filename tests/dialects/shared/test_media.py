from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects.shared import media
from extproc.dialects.shared.media import (
    data_uri,
    decoded,
    foreign,
    is_text,
    standard_base64,
    tag,
    without_spaces,
)
from extproc.llm.failures import Unsupported
from extproc.llm.request import Document, Image, Source, Text


def test_a_data_uri() -> None:
    assert data_uri("image/png", "AA==") == "data:image/png;base64,AA=="


def test_a_tag_quotes_what_it_says() -> None:
    assert tag("document", title='a "b" & c\nd', context=None) == '<document title="a &quot;b&quot; &amp; c d">'


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (Document(Source("text", "t")), True),
        (Document(Source("base64", "dA==", "text/csv")), True),
        (Document(Source("base64", "eyJhIjoxfQ==", "application/json")), True),
        (Document(Source("base64", "eyJhIjoxfQ", "application/vnd.api+json; charset=utf-8")), True),
        (Document(Source("base64", "bGV0IGE9MQ==", "application/x-javascript")), True),
        (Document(Source("base64", "bGV0IGE9MQ==")), True),
        (Document(Source("base64", "JVBERi0xLjc=")), False),
        (Document(Source("base64", "/w==")), False),
        (Document(Source("base64", "/w==", "application/json")), False),
        (Document(Source("base64", "bGV0IGE9MQ==", "application/zip")), False),
        (Document(Source("base64", "dA==", "application/pdf")), False),
        (Document(Source("url", "https://x/a.pdf")), False),
        (Document(blocks="t"), True),
        (Document(blocks=[Text("t")]), True),
        (Document(blocks=[Text("t"), Image(Source("url", "https://x/a.png"))]), False),
    ],
)
def test_what_is_text(document: Document, expected: bool) -> None:
    assert is_text(document) is expected


def test_a_files_text() -> None:
    assert decoded(base64.b64encode("é".encode()).decode(), "at") == "é"
    for wrong in ("a", base64.b64encode(b"\xff").decode()):
        with pytest.raises(Unsupported, match="base64 of UTF-8"):
            decoded(wrong, "at")


@pytest.mark.parametrize(("kind", "says"), [("file", "file ids of another provider are"), ("url", "kind url is")])
def test_what_only_another_can_read(kind: str, says: str) -> None:
    assert says in foreign(Source(kind, "x"), "at").message  # type: ignore[arg-type]


def test_every_space_is_left_out() -> None:
    """Up to the last character that ``str.split`` splits at."""
    spaces = [chr(code) for code in range(0x3100) if chr(code).isspace()]
    assert len(spaces) > 20
    assert all(without_spaces(f"{space}AB{space}CD{space}") == "ABCD" for space in spaces)
    assert sorted(media._SPACES) == [space for space in spaces if space.isascii()]


@given(st.text(alphabet="AZaz09+/-_=\n \u00e9!", max_size=24), st.integers(0, 3))
def test_base64_becomes_the_standard_one(text: str, before: int) -> None:
    """What is that already stays as it is, however long before it is none any more."""
    data = "ABCD" * (before * media._STRETCH // 8) + text
    whole = len(data) % 4 == 0 and re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", data)
    bare = "".join(data.split()).replace("-", "+").replace("_", "/").rstrip("=")
    assert standard_base64(data) == (data if whole else bare + "=" * (-len(bare) % 4))
