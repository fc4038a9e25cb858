from __future__ import annotations

import pytest

from extproc import dialects
from extproc.dialects.anthropic_messages import vocabulary
from extproc.llm.events import StopReason
from extproc.llm.failures import ErrorKind


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


def test_every_end_and_every_error_has_a_word() -> None:
    assert set(vocabulary.STOP_NAMES) == set(StopReason)
    assert set(vocabulary.ERROR_TYPES) == set(ErrorKind)


def test_what_stands_in_an_id_that_the_api_refuses() -> None:
    assert vocabulary.ILLEGAL_IN_TOOL_ID.sub("", "call_1.2:ä-B") == "call_12-B"


def test_the_clouds_share_what_a_request_holds() -> None:
    names = {name for name, one in dialects.REGISTRY.items() if name.startswith("anthropic_") and one.converses}
    assert names == vocabulary.FAMILY
