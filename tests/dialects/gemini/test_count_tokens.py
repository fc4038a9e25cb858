from __future__ import annotations

from typing import Any

import pytest

from extproc import Call, Translation
from extproc.dialects.gemini.count_tokens import members, read

CONTENTS: Any = [{"role": "user", "parts": [{"text": "hi"}]}]
REQUEST: Any = {"contents": CONTENTS, "tools": [{}], "generationConfig": {"temperature": 1}, "safetySettings": []}


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "models/gemini-2.5-flash"])
def test_the_gemini_api_counts_a_request_that_names_its_model(model: str) -> None:
    assert members(REQUEST, model, "/v1beta/models/gemini-2.5-flash:countTokens") == {
        "generateContentRequest": {"model": "models/gemini-2.5-flash", "contents": CONTENTS, "tools": [{}]}
    }


def test_vertex_takes_the_members_as_they_are() -> None:
    path = "/v1/projects/p/locations/r/publishers/google/models/m:countTokens"
    assert members(REQUEST, "m", path) == {"contents": CONTENTS, "tools": [{}]}


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (b'{"totalTokens": 31}', 31),
        (b'{"totalTokens": 0, "totalBillableCharacters": 2}', 0),
        (b'{"totalTokens": -1}', None),
        (b'{"totalTokens": "31"}', None),
        (b"{}", None),
        (b"[]", None),
        (b"{", None),
        (b"", None),
    ],
)
def test_the_number_in_an_answer(body: bytes, tokens: int | None) -> None:
    assert read(body) == tokens


@pytest.mark.parametrize("name", ["generateContentRequest", "generate_content_request"])
def test_another_model_is_named_in_what_is_counted(name: str) -> None:
    route = {"provider": "gemini", "upstream": "gemini", "auth": "none", "options": {"model": "gemini-2.5-pro"}}
    body = '{"%s":{"model":"models/%s","contents":[{"parts":[{"text":  "hi"}]}]}}'
    call = Translation(route=route).request((body % (name, "mine")).encode(), path="/v1beta/models/mine:countTokens")
    assert isinstance(call, Call)
    assert call.path == "/v1beta/models/gemini-2.5-pro:countTokens"
    assert call.body.decode() == body % (name, "gemini-2.5-pro")
