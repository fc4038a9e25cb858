"""The libraries of docs/clients.md on a running gateway, as the page shows them: each asks a model of another maker's
API, whole and streamed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from extproc.run.main import RunOptions, plan
from extproc.run.running import Running
from tests.test_blocks import ALL, Block

HERE = "http://127.0.0.1:10000"
REAL = Path(__file__).parents[2] / ".cache" / "real"
"""Where ``make test-real`` puts them."""
PROGRAMS = [block for block in ALL if block.page == "docs/clients.md" and block.language in ("python", "js")]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with plan(RunOptions(scripted=True)) as made, Running(made.layout, made.environ, 0) as gateway:
        yield gateway.url


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_a_library_is_answered(url: str, block: Block) -> None:
    text = block.text.replace(HERE, url)
    if block.language == "js":
        node = shutil.which("node")
        if node is None or not (REAL / "node_modules" / "ai").is_dir():
            pytest.skip("no Node.js, or no AI SDK: make test-real downloads it")
        script = REAL / "client.mjs"  # beside node_modules, where imports are looked for
        script.write_text(text)
        program, environ = [node, str(script)], dict(os.environ)
    else:
        if not (REAL / "libraries").is_dir():
            pytest.skip("no LangChain, no Pydantic AI: make test-real downloads them")
        program, environ = [sys.executable, "-c", text], {**os.environ, "PYTHONPATH": str(REAL / "libraries")}
    done = subprocess.run(program, capture_output=True, text=True, timeout=180, check=False, env=environ)
    assert done.returncode == 0, done.stderr[-3000:]
    asked = len(re.findall(r"\.invoke\(|\.stream\(|\.run_sync\(|generateText\(|streamText\(", text))
    assert asked and done.stdout.count("The sky is blue.") == asked
