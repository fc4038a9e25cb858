"""The commands, by the modules that have them, in the order in which they are shown. A module is loaded when its
command is meant: ``extproc health`` is called every few seconds, and must not load what the others need."""

from __future__ import annotations

from importlib import import_module

from .base import Command

_WHERE = {
    "run": "run.COMMAND",
    "launch": "launch.LAUNCH",
    "env": "launch.ENV",
    "doctor": "doctor.COMMAND",
    "demo": "demo.COMMAND",
    "serve": "serve.SERVE",
    "health": "serve.HEALTH",
    "translate": "translate.COMMAND",
    "check": "configuration.CHECK",
    "import": "configuration.IMPORT",
    "dialects": "knowledge.DIALECTS",
    "models": "knowledge.MODELS",
    "settings": "knowledge.SETTINGS",
    "conformance": "conformance.COMMAND",
    "tail": "tail.COMMAND",
    "capture": "captured.CAPTURE",
    "explain": "captured.EXPLAIN",
    "replay": "captured.REPLAY",
    "diff": "captured.DIFF",
    "version": "version.COMMAND",
    "completion": "completion.COMMAND",
}
NAMES = tuple(_WHERE)


def get(name: str) -> Command:
    """The command *name*, one of ``NAMES``."""
    module, _, attribute = _WHERE[name].partition(".")
    found = getattr(import_module(f".{module}", __name__), attribute)
    assert isinstance(found, Command) and found.name == name
    return found


def every() -> tuple[Command, ...]:
    """All commands."""
    return tuple(map(get, NAMES))
