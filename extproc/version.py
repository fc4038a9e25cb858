"""The version of this program."""

from __future__ import annotations

import importlib.metadata

DISTRIBUTION = "extproc-llm"


def version() -> str:
    """This distribution's, which stands in pyproject.toml alone; "unknown" where it runs without being installed."""
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
