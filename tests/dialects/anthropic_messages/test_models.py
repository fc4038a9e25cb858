from __future__ import annotations

import pytest
from anthropic.types import ModelInfo

from extproc.dialects.anthropic_messages.models import DEFAULT_LIMIT, model_object, models_page
from extproc.llm.failures import ProtocolError
from extproc.llm.models import Model

MODELS = [Model(f"m{i}", f"Model {i}", "x", 86400 * i) for i in range(25)]


def test_a_model_is_what_the_sdk_knows() -> None:
    info = ModelInfo.model_validate(model_object(MODELS[1]), strict=False)
    assert (info.id, info.display_name, info.lifecycle) == ("m1", "Model 1", "active")
    assert info.created_at.isoformat() == "1970-01-02T00:00:00+00:00"


@pytest.mark.parametrize(
    ("query", "first", "last", "more"),
    [
        ("", 0, DEFAULT_LIMIT - 1, True),
        ("limit=3", 0, 2, True),
        ("limit=1000", 0, 24, False),
        ("limit=25", 0, 24, False),
        ("limit=3&after_id=m2", 3, 5, True),
        ("limit=3&after_id=m21", 22, 24, False),
        ("limit=3&before_id=m5", 2, 4, True),
        ("limit=9&before_id=m5", 0, 4, False),
    ],
)
def test_pages(query: str, first: int, last: int, more: bool) -> None:
    page = models_page(MODELS, query)
    assert (page["first_id"], page["last_id"], page["has_more"]) == (f"m{first}", f"m{last}", more)
    assert [item["id"] for item in page["data"]] == [f"m{i}" for i in range(first, last + 1)]


def test_an_empty_page() -> None:
    assert models_page(MODELS, "after_id=m24") == {"data": [], "has_more": False, "first_id": None, "last_id": None}


@pytest.mark.parametrize(
    "query",
    ["limit=0", f"limit={'9' * 5000}", "limit=1001", "limit=x", "limit=-1", "after_id=zz", "before_id=zz"],
)
def test_what_no_page_can_be(query: str) -> None:
    with pytest.raises(ProtocolError):
        models_page(MODELS, query)
