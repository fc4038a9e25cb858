"""``extproc run`` as a user runs it, with scripted upstreams in the place of the providers."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import anthropic
import openai
import pytest

from extproc.demo import as_anthropic, as_openai
from extproc.demo.processes import envoy_binary
from tests.support.upstream import ScriptedUpstream, eventually

KEYS = {"OPENAI_API_KEY": "key-of-openai", "ANTHROPIC_API_KEY": "key-of-anthropic"}
SKY = [{"role": "user", "content": "What colour is the sky?"}]


@contextmanager
def running(folder: Path, environ: Mapping[str, str], *arguments: str) -> Iterator[tuple[str, str, int]]:
    """The base URL, what was printed until it was ready, and the process. Ended as by Ctrl-C, nothing left behind."""
    log = folder / "printed"
    clean = {name: value for name, value in os.environ.items() if not name.endswith(("_KEY", "_BASE_URL"))}
    command = [sys.executable, "-m", "extproc", "run", "--port", "0", "--no-probe", *arguments]
    with log.open("wb") as out:
        child = subprocess.Popen(command, cwd=folder, env={**clean, **environ}, stdout=out, stderr=out)
    try:
        assert eventually(lambda: "Ready: " in log.read_text() or child.poll() is not None, 60)
        text = log.read_text()
        found = re.search(r"Ready: (\S+)", text)
        assert found is not None, text
        assert eventually(lambda: "logs " in log.read_text())
        text = log.read_text()
        yield found[1], text, child.pid
    finally:
        child.send_signal(signal.SIGTERM)  # SIGINT is ignored by what a shell runs in the background
        status = child.wait(30)
    assert status == 0 and log.read_text().endswith("Ended.\n")
    (logs,) = re.findall(r"logs (\S+)", text)
    assert not Path(logs).exists()


@pytest.fixture
def upstreams() -> Iterator[tuple[ScriptedUpstream, ScriptedUpstream]]:
    first, second = ScriptedUpstream(as_openai.answer), ScriptedUpstream(as_anthropic.answer)
    with first, second:
        yield first, second


def there(first: ScriptedUpstream, second: ScriptedUpstream) -> dict[str, str]:
    """The environment of a user whose providers are *first* and *second*."""
    urls = {
        "OPENAI_BASE_URL": f"http://127.0.0.1:{first.port}/v1",
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{second.port}",
    }
    return {**KEYS, **urls}


def test_keys_in_the_environment_are_all_it_needs(
    tmp_path: Path, upstreams: tuple[ScriptedUpstream, ScriptedUpstream]
) -> None:
    first, second = upstreams
    with running(tmp_path, there(first, second)) as (url, text, _):
        assert "key-of" not in text and "any other name     goes to openai" in text
        (view,) = re.findall(r"^live view (http://127\.0\.0\.1:\d+/)$", text, re.MULTILINE)
        with urllib.request.urlopen(view, timeout=10) as page:
            assert b"<title>extproc: live</title>" in page.read()
        pasted = re.findall(r"^curl .*$", text, re.MULTILINE)
        assert len(pasted) == 2
        for line in pasted:
            done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, check=True)
            assert "sky" in done.stdout and "error" not in done.stdout, done.stdout

        client = openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)
        answer = client.chat.completions.create(model="claude-opus-4-8", messages=SKY)  # type: ignore[arg-type]
        assert "The sky is blue." in (answer.choices[0].message.content or "")
        assert second.last.json()["model"] == "claude-opus-4-8"
        assert second.last.header("x-api-key") == KEYS["ANTHROPIC_API_KEY"] and not second.last.header("authorization")
        assert {model.id for model in client.models.list()} == {"gpt-5.4-mini", "claude-haiku-4-5"}

        asked = anthropic.Anthropic(base_url=url, api_key="any", max_retries=0)
        with asked.messages.stream(model="openai/some-model", max_tokens=99, messages=SKY) as stream:  # type: ignore[arg-type]
            assert "The sky is blue." in "".join(stream.text_stream)
        assert first.last.json()["model"] == "some-model"
        assert first.last.header("authorization") == f"Bearer {KEYS['OPENAI_API_KEY']}"
        assert not [name for name, _ in first.last.headers if name.startswith("x-extproc")]
        asked.messages.create(model="whatever", max_tokens=99, messages=SKY)  # type: ignore[arg-type]
        assert first.last.json()["model"] == "whatever"


FILE = """
providers:
  openai: {{url: "http://127.0.0.1:{0}"}}
  anthropic: {{url: "http://127.0.0.1:{1}"}}
models:
  gpt-*: openai
  best: [openai/gpt-5.4, anthropic/claude-opus-4-8]
  terse: {{use: anthropic/claude-haiku-4-5, options: {{temperature: 0}}}}
policies: [{{redact: {{}}}}]
"""


def test_a_file_with_fallbacks_names_and_policies(
    tmp_path: Path, upstreams: tuple[ScriptedUpstream, ScriptedUpstream]
) -> None:
    first, second = upstreams
    (tmp_path / "extproc.yaml").write_text(FILE.format(first.port, second.port))
    with running(tmp_path, KEYS) as (url, text, _):
        assert re.search(r"best +openai/gpt-5\.4 -> anthropic/claude-opus-4-8", text)
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)

        def ask(model: str, content: str = "hi") -> None:
            client.chat.completions.create(model=model, messages=[{"role": "user", "content": content}])

        first.will(as_openai.failure(503, "not now", "server_error"))
        ask("best", "I am ada@example.org")
        assert first.last.json()["model"] == "gpt-5.4" and second.last.json()["model"] == "claude-opus-4-8"
        assert b"ada@example.org" not in first.last.body + second.last.body, "the policy holds for each attempt"
        assert not second.last.header("authorization")
        ask("terse")
        assert second.last.json()["temperature"] == 0 and second.last.json()["model"] == "claude-haiku-4-5"
        with pytest.raises(openai.NotFoundError, match=r"gpt-\*|best, terse"):
            ask("unheard-of")


def envoys(parent: int) -> list[Path]:
    """The folders in /proc of *parent*'s Envoys."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            above = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if above == parent and b"--admin-address-path" in (process / "cmdline").read_bytes():
                found.append(process)
    return found


def test_the_keys_are_with_the_sidecar_alone(
    tmp_path: Path, upstreams: tuple[ScriptedUpstream, ScriptedUpstream]
) -> None:
    with running(tmp_path, there(*upstreams)) as (_, _, pid):
        (envoy,) = envoys(pid)
        assert b"key-of-" not in (envoy / "environ").read_bytes()


def test_envoy_takes_what_it_would_run(tmp_path: Path) -> None:
    environ = {**os.environ, **KEYS}
    command = [sys.executable, "-m", "extproc", "run", "--no-probe", "--print-envoy"]
    made = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=True)
    (tmp_path / "envoy.yaml").write_text(made.stdout)
    validate = [str(envoy_binary()), "--mode", "validate", "-c", str(tmp_path / "envoy.yaml"), "-l", "error"]
    done = subprocess.run([*validate, "--use-dynamic-base-id"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_without_any_key_it_runs_on_a_script(tmp_path: Path) -> None:
    with running(tmp_path, {}, "--scripted") as (url, _, _):
        asked = anthropic.Anthropic(base_url=url, api_key="any", max_retries=0)
        answer = asked.messages.create(model="gpt-5.4-mini", max_tokens=99, messages=SKY)  # type: ignore[arg-type]
        assert "The sky is blue." in answer.content[0].text  # type: ignore[union-attr]


def test_an_envoy_that_dies_is_said(tmp_path: Path) -> None:
    log = tmp_path / "printed"
    command = [sys.executable, "-m", "extproc", "run", "--port", "0", "--scripted"]
    with log.open("wb") as out:
        child = subprocess.Popen(command, cwd=tmp_path, stdout=out, stderr=out)
    try:
        assert eventually(lambda: "Ready: " in log.read_text(), 60), log.read_text()
        (envoy,) = envoys(child.pid)
        os.kill(int(envoy.name), signal.SIGKILL)
        assert child.wait(30) == 1
    finally:
        child.kill()
    assert "envoy ended by SIGKILL" in log.read_text()
