"""What the pages show a reader to ask of a gateway, asked: each ``curl`` line of docs/*.md, and the Python of
docs/containers.md."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.shown import HERE
from tests.support.shown import url as url
from tests.test_blocks import ALL, Block

SHOWN = [
    block
    for block in ALL
    if block.page.startswith("docs/") and HERE in block.text
    if (block.language == "sh" and block.text.startswith("curl "))
    or (block.language == "python" and block.page == "docs/containers.md")
]


@pytest.mark.parametrize("block", SHOWN, ids=str)
def test_what_is_shown_is_answered(url: str, block: Block) -> None:
    text = block.text.replace(HERE, url)
    program = ["sh", "-c", text] if block.language == "sh" else [sys.executable, "-c", text]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False, env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert "sky" in done.stdout and '"error"' not in done.stdout


def test_there_is_something_to_ask() -> None:
    assert len(SHOWN) > 4
