from __future__ import annotations

import gc
import os
import signal

import pytest
from hypothesis import HealthCheck, settings

from extproc.exchange import machine
from tests.support import binaries

# How long an example takes says what else the machine does; tests/properties/test_linear.py measures time.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

IS_COMPILED = machine.__file__.endswith(".so")


def pytest_configure() -> None:
    """EXTPROC_ENVOY may say a version as well as a file: 1.38. And Ctrl-C ends what tests start, though a shell has
    what runs in the background ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if version := binaries.named(os.environ.get("EXTPROC_ENVOY", "-")):
        try:
            os.environ["EXTPROC_ENVOY"] = str(binaries.binary(version))
        except binaries.Unavailable as reason:
            pytest.exit(str(reason), returncode=1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What replaces code at run time cannot where it was compiled; the same test runs where it was not."""
    for item in items:
        if IS_COMPILED and item.get_closest_marker("replaces_code"):
            item.add_marker(pytest.mark.skip(reason="compiled code cannot be replaced"))


def pytest_collection_finish() -> None:
    """Tests that collect garbage need not go through what stays: that is most of a process that holds all tests."""
    gc.collect()
    gc.freeze()
