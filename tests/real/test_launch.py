"""``extproc launch`` with the real clients, each completing a task on an upstream that speaks another API."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from extproc.demo import as_anthropic, as_openai
from extproc.demo.provider import Received, ScriptedAnswer, sse_answer
from tests.support.gateway import Gateway
from tests.support.upstream import chat_stream, events, message_events, text_block

from . import test_claude_code, test_codex


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """An empty one. Gemini CLI reads no settings below a folder that everybody may write to, such as /tmp."""
    with tempfile.TemporaryDirectory(prefix=".extproc-test-", dir=Path.home()) as folder:
        yield Path(folder)


def launched(gateway: Gateway, home: Path, work: Path, program: str, *words: str) -> str:
    """What the client prints."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not on the PATH: make test-real downloads it")
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", ""), "HOME": str(home),
               "OPENCODE_DISABLE_MODELS_FETCH": "1", "ANTHROPIC_API_KEY": "sk-of-the-user"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "extproc", "launch", program, "--url", gateway.url, *words], cwd=work, env=environ,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.rows("F19")
def test_claude_code_completes_a_task_on_an_openai_upstream(scripted: Gateway, home: Path, tmp_path: Path) -> None:
    words = test_claude_code.WORDS
    for word in words:
        (tmp_path / f"{word}.txt").write_text(f"The word is {word}.\n")
    upstream = scripted.openai_upstream
    upstream.reset()
    undo = upstream.always(test_claude_code.agent(tmp_path))
    try:
        prompt = ["-p", "Which words stand in the two files here?", "--allowedTools", "Read"]
        said = launched(scripted, home, tmp_path, "claude", "--model", "gpt-5", *prompt)
    finally:
        undo()
    assert said.strip() == "The words are juniper and marigold"
    assert {request.path for request in upstream.received} == {"/v1/chat/completions"}
    assert all(request.json()["model"] == "gpt-5" for request in upstream.received), "its small model too"
    assert "sk-of-the-user" not in str([request.headers for request in upstream.received])


@pytest.mark.rows("F19")
def test_codex_completes_a_task_on_an_anthropic_upstream(scripted: Gateway, home: Path, tmp_path: Path) -> None:
    (tmp_path / "word.txt").write_text(f"The word is {test_codex.WORD}.\n")
    upstream = scripted.anthropic_upstream
    upstream.reset()
    undo = upstream.always(test_codex.agent)
    words = ["exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox",
             "Copy the word in word.txt into copy.txt."]  # fmt: skip
    try:
        said = launched(scripted, home, tmp_path, "codex", "--model", "claude-sonnet-4-5", *words)
    finally:
        undo()
    items = [json.loads(line).get("item", {}) for line in said.splitlines() if line.startswith("{")]
    texts = [item["text"] for item in items if item.get("type") == "agent_message"]
    assert texts[-1] == f"The word is {test_codex.WORD}." and (tmp_path / "copy.txt").read_text() == test_codex.WORD


@pytest.mark.parametrize(
    ("program", "words"),
    [("gemini", ["--skip-trust", "-p", "What colour is the sky?"]), ("opencode", ["run", "What colour is the sky?"])],
)
@pytest.mark.parametrize("model", ["gpt-5", "claude-haiku-4-5"])
def test_the_others_get_an_answer(
    scripted: Gateway, home: Path, tmp_path: Path, program: str, words: list[str], model: str
) -> None:
    upstreams = {scripted.openai_upstream: as_openai.answer, scripted.anthropic_upstream: as_anthropic.answer}
    undo = [upstream.always(answer) for upstream, answer in upstreams.items()]
    try:
        assert "The sky is blue." in launched(scripted, home, tmp_path, program, "--model", model, *words)
    finally:
        for each in undo:
            each()


EDIT = ("word.txt\n```\n", "marigold\n```\n")
"""A whole file, as aider asks for it."""


def chat_editor(request: Received) -> ScriptedAnswer:
    assert "juniper" in request.body.decode()
    return chat_stream(*({"content": part} for part in EDIT))


def messages_editor(request: Received) -> ScriptedAnswer:
    assert "juniper" in request.body.decode()
    return sse_answer(events(*message_events(text_block(*EDIT))))


@pytest.mark.rows("F19")
@pytest.mark.parametrize("model", ["gpt-5", "claude-haiku-4-5"])
def test_aider_edits_a_file_on_either_upstream(scripted: Gateway, home: Path, tmp_path: Path, model: str) -> None:
    (tmp_path / "word.txt").write_text("juniper\n")
    editors = {scripted.openai_upstream: chat_editor, scripted.anthropic_upstream: messages_editor}
    undo = [upstream.always(answer) for upstream, answer in editors.items()]
    # Nothing is asked of the Internet, and nothing of the user.
    words = ["--message", "Write marigold in place of juniper.", "--edit-format", "whole", "--yes-always", "--no-git",
             "--no-check-update", "--analytics-disable", "--no-show-release-notes", "word.txt"]  # fmt: skip
    try:
        launched(scripted, home, tmp_path, "aider", "--model", model, *words)
    finally:
        for each in undo:
            each()
    assert (tmp_path / "word.txt").read_text() == "marigold\n"


@pytest.mark.rows("F19")
@pytest.mark.parametrize("model", ["gpt-5", "claude-haiku-4-5"])
def test_cline_gets_an_answer_by_the_lines_of_the_page(scripted: Gateway, tmp_path: Path, model: str) -> None:
    if shutil.which("cline") is None:
        pytest.skip("cline is not on the PATH: make test-real downloads it")
    page = (Path(__file__).parents[2] / "docs" / "clients.md").read_text("utf-8")
    (login,) = re.findall(r"^cline auth .*$", page, re.MULTILINE)
    login = login.replace("http://127.0.0.1:10000", scripted.url).replace("gpt-5.4-mini", model)
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    upstreams = {scripted.openai_upstream: as_openai.answer, scripted.anthropic_upstream: as_anthropic.answer}
    undo = [upstream.always(answer) for upstream, answer in upstreams.items()]
    try:
        for command in (shlex.split(login), ["cline", "--json", "-t", "120", "What colour is the sky?"]):
            done = subprocess.run(command, cwd=tmp_path, env=environ, stdin=subprocess.DEVNULL, capture_output=True,
                                  text=True, timeout=180, check=False)  # fmt: skip
            assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-2000:]}"
    finally:
        for each in undo:
            each()
    assert "The sky is blue." in json.loads(done.stdout.splitlines()[-1])["text"]
