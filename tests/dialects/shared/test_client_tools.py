from __future__ import annotations

from typing import Any

import pytest

from extproc.dialects.shared.client_tools import as_function
from extproc.llm.request import CacheMarker, Tool


def made(type_: str, **native: Any) -> Tool:
    name = type_.rpartition("_")[0]
    tool = Tool(name, "provider", native={"type": type_, **native}, dialect="a", at="tools[0]", cache=CacheMarker())
    function = as_function(tool)
    assert function is not None and function.kind == "function" and function.native is None
    assert (function.name, function.at, function.cache, function.dialect) == (name, "tools[0]", tool.cache, "a")
    assert function.schema is not None and function.schema["type"] == "object"
    assert set(function.schema["required"]) <= set(function.schema["properties"])
    return function


def words(tool: Tool, name: str) -> list[str]:
    assert tool.schema is not None
    enum: list[str] = tool.schema["properties"][name]["enum"]
    return enum


@pytest.mark.parametrize(
    ("type_", "members"),
    [
        ("bash_20250124", {"command", "restart"}),
        ("text_editor_20250728", {"command", "path", "old_str", "new_str", "insert_line", "insert_text", "view_range"}),
        ("computer_20250124", {"action", "coordinate", "text", "scroll_direction", "scroll_amount", "duration"}),
        ("memory_20250818", {"command", "path", "old_path", "new_path", "file_text", "insert_text"}),
    ],
)
def test_each_has_the_members_of_its_documentation(type_: str, members: set[str]) -> None:
    tool = made(type_)
    assert tool.schema is not None and members <= set(tool.schema["properties"]) and tool.description


@pytest.mark.parametrize(
    ("type_", "name", "has", "lacks"),
    [
        ("text_editor_20250124", "command", "undo_edit", "delete"),
        ("text_editor_20250728", "command", "insert", "undo_edit"),
        ("computer_20241022", "action", "screenshot", "scroll"),
        ("computer_20250124", "action", "scroll", "zoom"),
        ("computer_20251124", "action", "zoom", "undo_edit"),
        ("memory_20250818", "command", "rename", "undo_edit"),
    ],
)
def test_a_version_has_what_came_with_it_and_before(type_: str, name: str, has: str, lacks: str) -> None:
    found = words(made(type_), name)
    assert has in found and lacks not in found


def test_what_the_client_says_of_them_is_told() -> None:
    assert "1024 by 768 pixels" in str(
        made("computer_20250124", display_width_px=1024, display_height_px=768).description
    )
    assert "at most 9000 characters" in str(made("text_editor_20250728", max_characters=9000).description)


@pytest.mark.parametrize(
    "type_", ["web_search_20250305", "code_execution_20250522", "bash", "bash_2025", "Bash_20250124", 7]
)
def test_what_the_client_does_not_run_is_no_function(type_: Any) -> None:
    assert as_function(Tool("x", "provider", native={"type": type_})) is None
    assert as_function(Tool("x", "provider")) is None
