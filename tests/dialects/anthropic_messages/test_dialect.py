from __future__ import annotations

from typing import Any

import pytest

from extproc.dialects.anthropic_messages import vocabulary

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


def test_tables_run_both_ways() -> None:
    assert all(vocabulary.STOP_NAMES[stop] == name for name, stop in vocabulary.STOP_REASONS.items())
    assert all(vocabulary.ERROR_KINDS[name] is kind for kind, name in vocabulary.ERROR_TYPES.items())
    assert set(vocabulary.TOOL_BETAS.values()) <= vocabulary.KNOWN_BETAS


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        ("web_search_20250305", True), ("bash_20250124", True), ("tool_search_tool_regex_20251119", True),
        ("mcp_toolset", True), ("function", False), ("web_search", False), ("file_search", False),
        ("code_interpreter", False), ("computer_use_preview", False),
    ],
)  # fmt: skip
def test_tools_that_anthropic_defines(kind: str, own: bool) -> None:
    assert bool(vocabulary.OWN_TOOL.match(kind)) is own
