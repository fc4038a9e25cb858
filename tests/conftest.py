from __future__ import annotations

import pytest

from extproc.exchange import machine

IS_COMPILED = machine.__file__.endswith(".so")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What replaces code at run time cannot where it was compiled; the same test runs where it was not."""
    for item in items:
        if IS_COMPILED and item.get_closest_marker("replaces_code"):
            item.add_marker(pytest.mark.skip(reason="compiled code cannot be replaced"))
