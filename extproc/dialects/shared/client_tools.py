"""Tools that Anthropic defines and the client runs, as functions for models that were not taught them.

The descriptions are the project's own; the members are those of Anthropic's documentation ("Bash tool", "Text editor
tool", "Computer use tool", "Memory tool", August 2026). A call comes back with the name and the input that the client
knows, so that nothing needs to be undone.
"""

from __future__ import annotations

import re
from typing import Final

from ...llm.request import Tool
from .schemas import Schema

_VERSIONED: Final = re.compile(r"(bash|text_editor|computer|memory)_(\d{8})\Z")

_TEXT: Final[Schema] = {"type": "string"}
_NUMBER: Final[Schema] = {"type": "integer"}
_RANGE: Final[Schema] = {"type": "array", "items": _NUMBER, "description": "First and last line; -1 is the end."}
_POINT: Final[Schema] = {"type": "array", "items": _NUMBER, "description": "Pixels from the left and from the top."}
_PATH: Final[Schema] = {"type": "string", "description": "Absolute path of a file or directory."}

_EDITS: Final = ["view", "create", "str_replace", "insert"]
_ACTIONS: Final = {
    "20241022": ["key", "type", "mouse_move", "left_click", "left_click_drag", "right_click", "middle_click",
                 "double_click", "screenshot", "cursor_position"],
    "20250124": ["left_mouse_down", "left_mouse_up", "scroll", "hold_key", "wait", "triple_click"],
    "20251124": ["zoom"],
}  # fmt: skip
"""By the version that brought them; a later one has those of the earlier ones too."""


def as_function(tool: Tool) -> Tool | None:
    """*tool* as a function of the same name; ``None`` for one that the client does not run, or that is not known."""
    native = tool.native or {}
    found = _VERSIONED.match(str(native.get("type")))
    if found is None:
        return None
    kind, version = found.groups()
    description, schema = _DEFINED[kind](native, version)
    return Tool(tool.name, description=description, schema=schema, dialect=tool.dialect, at=tool.at, cache=tool.cache)


def _object(required: list[str], **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": required}


def _bash(native: Schema, version: str) -> tuple[str, Schema]:
    restart = {"type": "boolean", "description": "Start the shell anew, in place of a command."}
    return "Run a command in a shell that is kept between calls.", _object([], command=_TEXT, restart=restart)


def _text_editor(native: Schema, version: str) -> tuple[str, Schema]:
    commands = [*_EDITS, "undo_edit"] if version < "20250429" else _EDITS
    description = "View, create and edit text files. `str_replace` needs an `old_str` that occurs exactly once."
    if type(most := native.get("max_characters")) is int:
        description += f" `view` shows at most {most} characters."
    return description, _object(
        ["command", "path"],
        command={"type": "string", "enum": commands},
        path=_PATH,
        view_range=_RANGE,
        file_text={"type": "string", "description": "For `create`: what the file holds."},
        old_str={"type": "string", "description": "For `str_replace`: the text that is replaced."},
        new_str={"type": "string", "description": "For `str_replace` and before 2025-04 `insert`: the new text."},
        insert_line={"type": "integer", "description": "For `insert`: the line behind which the text goes."},
        insert_text={"type": "string", "description": "For `insert`: the text."},
    )


def _computer(native: Schema, version: str) -> tuple[str, Schema]:
    actions = [action for since, names in _ACTIONS.items() if since <= version for action in names]
    size = f"{native.get('display_width_px')} by {native.get('display_height_px')}"
    return f"Use a computer's mouse and keyboard, and see its screen, which has {size} pixels.", _object(
        ["action"],
        action={"type": "string", "enum": actions},
        coordinate=_POINT,
        start_coordinate=_POINT,
        text={"type": "string", "description": "What is typed, or the keys that are pressed."},
        duration={"type": "number", "description": "Seconds, for `hold_key` and `wait`."},
        scroll_direction={"type": "string", "enum": ["up", "down", "left", "right"]},
        scroll_amount=_NUMBER,
        region={"type": "array", "items": _NUMBER, "description": "For `zoom`: left, top, right, bottom."},
    )


def _memory(native: Schema, version: str) -> tuple[str, Schema]:
    description = "Keep notes between conversations, as files below /memories. Look there before you begin."
    return description, _object(
        ["command"],
        command={"type": "string", "enum": [*_EDITS, "delete", "rename"]},
        path={"type": "string", "description": "A path below /memories."},
        view_range=_RANGE,
        file_text=_TEXT,
        old_str=_TEXT,
        new_str=_TEXT,
        insert_line=_NUMBER,
        insert_text=_TEXT,
        old_path=_TEXT,
        new_path=_TEXT,
    )


_DEFINED: Final = {"bash": _bash, "text_editor": _text_editor, "computer": _computer, "memory": _memory}
