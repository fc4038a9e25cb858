from __future__ import annotations

from typing import Any

import pytest

from .helpers import DIALECT


@pytest.mark.parametrize(
    ("members", "claimed"),
    [
        ({"messages": [], "max_tokens": 1, "system": "x"}, True),
        ({"messages": [], "max_tokens": 1, "anthropic_version": "x"}, True),
        ({"messages": [], "max_tokens": 1}, False),
        ({"messages": [], "system": "x"}, False),
        ({"max_tokens": 1, "system": "x"}, False),
        ({}, False),
    ],
)
def test_claims(members: dict[str, Any], claimed: bool) -> None:
    assert DIALECT.claims(members) is claimed


def test_names() -> None:
    assert DIALECT.name == "anthropic_messages"
    assert "/anthropic/v1/messages".endswith(DIALECT.paths)
    assert DIALECT.headers == ("anthropic-version", "anthropic-beta")
