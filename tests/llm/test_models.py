from __future__ import annotations

import pytest

from extproc.llm.models import Model


def test_a_model_is_a_value() -> None:
    one = Model("m", "M", "o")
    assert one == Model("m", "M", "o", 0) and hash(one) == hash(Model("m", "M", "o"))
    with pytest.raises(AttributeError):
        one.id = "other"  # type: ignore[misc]
