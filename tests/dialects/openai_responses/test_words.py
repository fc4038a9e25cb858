from __future__ import annotations

from typing import Any

import pytest
from openai.types.responses import ResponseUsage

from extproc.dialects.openai_responses.words import (
    CARRIER,
    NAME,
    SIGNER,
    Carried,
    read_annotation,
    read_carrier,
    read_seal,
    read_usage,
    write_annotation,
    write_carrier,
    write_usage,
)
from extproc.llm import marker
from extproc.llm.events import Citation, Usage


@pytest.mark.parametrize("carried", [Carried("w\u00e9", "S"), Carried(encrypted="RED"), Carried("", "S")], ids=repr)
def test_what_is_carried_comes_back(carried: Carried) -> None:
    wire = write_carrier(carried)
    assert wire.startswith(CARRIER) and read_carrier(wire) == [carried]


@pytest.mark.parametrize(
    "wire", ["gAAAA", "", CARRIER, f"{CARRIER}!", f"{CARRIER}e30=", f"{CARRIER}W3sieCI6MX1d", f"{CARRIER}WzNd"]
)
def test_what_carries_nothing(wire: str) -> None:
    assert read_carrier(wire) is None


def test_whose_a_seal_is() -> None:
    assert read_seal("gAAAA") == marker.Seal(SIGNER, encrypted="gAAAA")
    own = marker.mark("t")
    assert read_seal(own) == marker.Seal(marker.SIGNER, own)
    others = marker.Seal("google-gemini-v1", "SIG", None)
    assert read_seal(marker.sealed(others)) == others


def test_counts_there_and_back() -> None:
    usage = Usage(9, 6, 4, 1, 5)
    wire = write_usage(usage)
    assert wire is not None
    assert ResponseUsage.model_validate(wire).total_tokens == 15
    assert read_usage(wire) == usage
    assert write_usage(Usage()) is None and read_usage(None) == read_usage({}) == Usage()


def test_annotations_there_and_back() -> None:
    page: dict[str, Any] = {"type": "url_citation", "url": "u", "title": "T", "start_index": 1, "end_index": 3}
    read = read_annotation(page)
    assert (read.kind, read.url, read.title, read.start, read.end) == ("url", "u", "T", 1, 3)
    assert write_annotation(read, "text") is page
    file = read_annotation({"type": "file_citation", "file_id": "f", "start_index": "1"})
    assert (file.kind, file.dialect, file.url, file.start) == ("file_citation", NAME, "", None)


def test_anothers_citations() -> None:
    page = Citation("url", "other", "u")
    assert write_annotation(page, "text") == {
        "type": "url_citation",
        "start_index": 0,
        "end_index": 4,
        "title": "",
        "url": "u",
    }
    assert write_annotation(Citation("page_location", "other"), "text") is None
