from __future__ import annotations

import json
from typing import Any

import pytest

from extproc import dialects
from extproc.llm.failures import ProtocolError
from extproc.llm.models import Model

from .helpers import DIALECT

MODELS = [Model(f"m{i}", f"M {i}", "us") for i in range(5)]


def page(query: str) -> Any:
    return json.loads(DIALECT.all_models(MODELS, query))


def test_a_model_and_all_of_them() -> None:
    one = json.loads(DIALECT.one_model(MODELS[0]))
    assert (one["name"], one["displayName"]) == ("models/m0", "M 0")
    assert "generateContent" in one["supportedGenerationMethods"]
    assert [each["name"] for each in page("")["models"]] == [f"models/m{i}" for i in range(5)]
    assert "nextPageToken" not in page("")


@pytest.mark.parametrize("name", ["pageSize", "page_size"])
def test_pages(name: str) -> None:
    first = page(f"{name}=3")
    assert [each["name"] for each in first["models"]] == ["models/m0", "models/m1", "models/m2"]
    second = page(f"{name}=3&pageToken={first['nextPageToken']}")
    assert [each["name"] for each in second["models"]] == ["models/m3", "models/m4"]
    assert "nextPageToken" not in second


@pytest.mark.parametrize("query", ["pageSize=x", "pageToken=-1", "pageSize=" + "9" * 5000])
def test_a_page_that_there_is_not(query: str) -> None:
    with pytest.raises(ProtocolError, match="expected a number"):
        page(query)


@pytest.mark.parametrize(
    ("path", "headers", "name"),
    [
        ("/v1beta/models", [], "gemini"),
        ("/v1beta/models/m?key=x", [], "gemini"),
        ("/v1/models", [("x-goog-api-key", "x")], "gemini"),
        ("/v1/models?key=x", [], "gemini"),
        ("/v1/models", [("authorization", "Bearer x")], "openai_chat"),
        ("/v1/models", [("x-api-key", "x")], "anthropic_messages"),
    ],
)
def test_whose_list_is_asked_for(path: str, headers: list[tuple[str, str]], name: str) -> None:
    assert dialects.asks_in(path, headers) == name
