"""Each line of a page that calls ``extproc`` and ends by itself, run as its reader would: beside the gateway that the
pages speak of, in a folder that has the files they name."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from extproc.cli import main
from extproc.demo import as_openai
from extproc.demo.provider import Received, ScriptedAnswer, ScriptedProvider
from extproc.demo.serve import ANTHROPIC_KEY, OPENAI_KEY, anthropic, openai
from extproc.gateway import lay_out
from extproc.gateway.file import gateway
from extproc.run.running import Running
from extproc.wire import ask
from tests.importers.files import CASES
from tests.support.command_line import Run, runner
from tests.test_blocks import ALL, words

ROOT = Path(__file__).parents[2]
SERVE = ("run", "serve", "demo", "launch")
"""What goes on until it is ended. Tests of its own run each: envoy/test_run.py, server/, demo/, real/test_launch.py."""
ENDS_ALL_THE_SAME = ("--print-config", "--print-envoy", "--schema")
ELSEWHERE = re.compile(r"conformance(?: http\S+.*)?\Z")
"""Whole tables, which take minutes: docs/generate.py makes the one, tests/envoy/test_conformance.py the other."""
FOLLOW = re.compile(r"tail(?! .*--once)|capture .*--next")
"""What waits for exchanges, and ends by Ctrl-C or with the last one asked for."""
REFUSED = "gpt-refused"
KEYS = {"OPENAI_API_KEY": OPENAI_KEY, "ANTHROPIC_API_KEY": ANTHROPIC_KEY}
FILES = {
    "request.json": {"model": "gpt-5.4-mini", "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}]},
    "answer.json": {"id": "c", "model": "m", "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello"}}]},
    "route.json": {"uri": "/x", "plugins": {"ai-proxy": {"provider": "openai", "auth": {"header": {"a": "k"}}}}},
    "config.yaml": {"model_list": [{"model_name": "fast", "litellm_params": {"model": "openai/gpt-5.4-mini"}}]},
    "settings.yaml": {"drain_seconds": "60"},
}  # fmt: skip
SAME = {"routes.json": "route.json", "extproc-settings.yaml": "settings.yaml"}


@dataclass(frozen=True)
class Surroundings:
    """Where the lines are run."""

    folder: Path
    running: Running

    def meant(self, word: str) -> str:
        """*word* of a page with the addresses of what runs here."""
        assert self.running.sidecar.socket is not None
        for shown, real in (
            ("http://127.0.0.1:10000", self.running.url),
            ("http://127.0.0.1:9901", self.running.admin_url),
            ("127.0.0.1:9902", self.running.sidecar.admin),
            ("127.0.0.1:50051", f"unix:{self.running.sidecar.socket}"),
        ):
            word = word.replace(shown, real)
        return word

    def exchange(self, model: str) -> None:
        """A request to OpenAI's or to Anthropic's *model*."""
        messages = [{"role": "user", "content": "What colour is the sky?"}]
        body = {"model": model, "max_tokens": 99, "top_k": 5, "messages": messages}
        seen = ask(self.running.url, "/v1/messages", body)
        assert seen.status == (400 if model == REFUSED else 200), seen.body


def refusing(request: Received) -> ScriptedAnswer:
    """The scripted OpenAI, but for one model."""
    return as_openai.failure(400, "no") if REFUSED.encode() in request.body else openai(request)


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surroundings]:
    folder = tmp_path_factory.mktemp("lines")
    with ExitStack() as stack:
        ports = [stack.enter_context(ScriptedProvider(respond)).port for respond in (refusing, anthropic)]
        urls = {
            name: {"url": f"http://127.0.0.1:{port}"} for name, port in zip(("openai", "anthropic"), ports, strict=True)
        }
        given = {"providers": urls, "logging": {"payloads": True, "summaries": True}}
        laid = lay_out(gateway(given, "lines"), "lines")
        running = stack.enter_context(Running(laid, {**os.environ, **KEYS}, 0))
        there = Surroundings(folder, running)
        for name, value in FILES.items():
            (folder / name).write_text(json.dumps(value))
        for name, other in SAME.items():
            (folder / name).write_bytes((folder / other).read_bytes())
        (folder / "extproc.yaml").write_text(json.dumps({"providers": {"openai": None}}))
        (folder / "envoy.yaml").write_bytes((ROOT / "deploy" / "envoy.yaml").read_bytes())
        (folder / "manifests.yaml").write_bytes((CASES / "aigw-backend-tls.yaml").read_bytes())
        (folder / "dump.json").write_bytes(ask(running.admin_url, "/config_dump?include_eds").body)
        there.exchange("gpt-5.4-mini")
        there.exchange(REFUSED)
        for name in ("bug.json", "before.json", "after.json"):
            written = ["--model", "gpt-5.4-mini", "--output", str(folder / name)]
            assert main(["capture", running.sidecar.admin, *written]) == 0
        yield there


def lines() -> Iterator[tuple[str, ...]]:
    """The arguments of each call, once."""
    for block in ALL:
        for command in words(block.text) if block.language == "sh" else ():
            if command[0] == "eval":
                yield tuple(shlex.split(re.findall(r"\$\(extproc (.*?)\)", command[1])[0]))
            elif command[0] == "extproc" and (command[1] not in SERVE or set(command) & set(ENDS_ALL_THE_SAME)):
                yield tuple(command[1:])


LINES = [line for line in dict.fromkeys(lines()) if not ELSEWHERE.match(" ".join(line))]
END = [line for line in LINES if not FOLLOW.match(" ".join(line))]


@pytest.fixture
def run(surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    monkeypatch.chdir(surroundings.folder)
    for name, value in environ(surroundings).items():
        monkeypatch.setenv(name, value)
    return runner(monkeypatch, capfdbinary)


def environ(surroundings: Surroundings) -> dict[str, str]:
    return {**KEYS, "EXTPROC_URL": surroundings.running.url, "EXTPROC_ADMIN": surroundings.running.sidecar.admin}


@pytest.mark.parametrize("line", END, ids=" ".join)
def test_a_line_does_what_it_is_shown_for(surroundings: Surroundings, run: Run, line: tuple[str, ...]) -> None:
    read = {"translate": "request.json", "explain": "bug.json"}.get(line[0])
    stdin = (surroundings.folder / read).read_bytes() if read else b""
    done = run(*map(surroundings.meant, line), stdin=stdin)
    assert done.status == 0, f"{done.out.decode()}{done.err}"
    assert done.out or "--output" in line or line[0] == "diff"


@pytest.mark.parametrize("line", [line for line in LINES if line not in END], ids=" ".join)
def test_a_line_that_follows_shows_what_comes(surroundings: Surroundings, line: tuple[str, ...]) -> None:
    model = "claude-haiku-4-5" if "claude-*" in line else REFUSED if "--error" in line else "gpt-5.4-mini"
    command = [sys.executable, "-u", "-m", "extproc", *map(surroundings.meant, line)]
    child = subprocess.Popen(
        command, cwd=surroundings.folder, env={**os.environ, **environ(surroundings)}, stdout=subprocess.PIPE, text=True
    )
    enough = threading.Event()

    def keep_asking() -> None:
        while not enough.wait(0.3):
            surroundings.exchange(model)

    asking = threading.Thread(target=keep_asking, daemon=True)
    asking.start()
    with child:
        assert child.stdout is not None
        shown = child.stdout.readline()
        if shown.startswith("time "):
            shown = child.stdout.readline()
        enough.set()
        if line[0] == "tail":
            child.send_signal(signal.SIGINT)
        shown += child.stdout.read()
        assert child.wait(20) == (0 if line[0] == "capture" else 130)
    asking.join()
    assert re.search(model if "--model" in line or "--error" in line else "gpt-|claude-", shown)


def test_there_are_lines_of_most_commands() -> None:
    assert len(END) > 25 and len(LINES) - len(END) > 3
    assert len({line[0] for line in LINES}) > 14
