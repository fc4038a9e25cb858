"""The vendors' own JavaScript SDKs on every upstream API, through a real Envoy."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import matrix
from tests.support.gateway import CLIENT_KEY, backends
from tests.support.matrix import UPSTREAMS, World

REAL = Path(__file__).parents[2] / ".cache" / "real"
"""Where ``make test-real`` puts them."""
SCRIPT = Path(__file__).with_name("sdks.mjs")
PACKAGES = {"chat": "openai", "responses": "openai", "messages": "@anthropic-ai/sdk", "gemini": "@google/genai"}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with backends() as shared, matrix.world(shared) as made:
        yield made


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("client", PACKAGES)
@pytest.mark.parametrize("streamed", ["false", "true"])
def test_a_conversation_with_tools(world: World, client: str, upstream: str, streamed: str) -> None:
    node = shutil.which("node")
    if node is None or not (REAL / "node_modules" / PACKAGES[client]).is_dir():
        pytest.skip(f"no Node.js, or no {PACKAGES[client]}: make test-real downloads it")
    script = REAL / SCRIPT.name  # beside node_modules, where imports are looked for
    script.write_text(SCRIPT.read_text("utf-8"), "utf-8")
    world.reset()
    command = [node, str(script), client, *world.place(upstream), streamed]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["calls"] == [{"city": "Paris"}, {"city": "Rome"}]
    assert "Your tools say: rain; sun." in told["text"]
    received = world.asked[upstream].received
    assert len(received) == 2 and {seen.path for seen in received} == {UPSTREAMS[upstream].paths[streamed == "true"]}
    assert not any(CLIENT_KEY in f"{seen.path} {seen.headers}" for seen in received)
