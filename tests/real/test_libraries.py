"""The libraries of docs/clients.md on a running gateway, as the page shows them: each asks a model of another maker's
API, whole and streamed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.shown import HERE
from tests.support.shown import url as url
from tests.test_blocks import ALL, Block

REAL = Path(__file__).parents[2] / ".cache" / "real"
"""Where ``make test-real`` puts them."""
PROGRAMS = [block for block in ALL if block.page == "docs/clients.md" and block.language in ("python", "js")]


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
