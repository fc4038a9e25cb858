"""What each client is started with. That they understand it is seen in tests/real."""

from __future__ import annotations

import json
import subprocess
import tomllib
from pathlib import Path

import pytest

from extproc.launch.clients import ANY_KEY, CLIENTS, LAUNCHED, pointed, preferred

URL = "http://127.0.0.1:10000"
KEYS = {"ANTHROPIC_API_KEY": "sk-1", "OPENAI_API_KEY": "sk-2", "GEMINI_API_KEY": "sk-3", "GOOGLE_API_KEY": "sk-4"}


@pytest.mark.parametrize("name", CLIENTS)
def test_it_asks_the_gateway_and_bears_no_key(name: str, tmp_path: Path) -> None:
    made = pointed(name, URL + "/", "a-model", "a-small-one")
    said = json.dumps([dict(made.environ), made.arguments])
    assert URL in said and f"{URL}//" not in said
    environ = made.applied({**KEYS, "PATH": "/bin", "HOME": str(tmp_path)})
    assert environ["PATH"] == "/bin"
    own = {"claude": "ANTHROPIC", "codex": "OPENAI", "gemini": "G", "opencode": "OPENCODE", "aider": "OPENAI",
           "openai": "OPENAI", "anthropic": "ANTHROPIC", "google": "G"}[name]  # fmt: skip
    assert not [key for key, value in environ.items() if key.startswith(own) and value.startswith("sk-")]


@pytest.mark.parametrize("name", LAUNCHED)
def test_the_model_is_the_users(name: str) -> None:
    made = pointed(name, URL, "a-model", "a-small-one")
    said = json.dumps([dict(made.environ), made.arguments])
    assert "a-model" in said
    assert ("a-small-one" in said) is (name in ("claude", "opencode", "aider"))
    assert "a-small-one" not in json.dumps(dict(pointed(name, URL, "a-model").environ))


def test_codexs_flags_are_toml() -> None:
    flags = pointed("codex", URL, 'a"b').arguments
    assert set(flags[::2]) == {"-c"}
    found = tomllib.loads("\n".join(flags[1::2]))
    assert found["model"] == 'a"b' and found["model_providers"]["extproc"]["base_url"] == f"{URL}/v1"


def test_opencodes_configuration_is_json() -> None:
    config = json.loads(pointed("opencode", URL, "a/b").environ["OPENCODE_CONFIG_CONTENT"])
    assert config["model"] == "extproc/a/b" and list(config["provider"]["extproc"]["models"]) == ["a/b"]


@pytest.mark.parametrize("name", CLIENTS)
def test_a_shell_understands_the_lines(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    made = pointed(name, URL, "it's a model")
    program = CLIENTS[name].program
    script = "\n".join([*(f"export {key}={value}" for key, value in KEYS.items()), *made.lines(program)])
    show = "env -0" if not made.arguments else f"PATH=/nowhere; type {program} >/dev/null && /usr/bin/env -0"
    done = subprocess.run(["bash", "-c", f"{script}\n{show}"], capture_output=True, text=True, check=True, timeout=30)
    environ = dict(line.split("=", 1) for line in done.stdout.split("\0") if "=" in line)
    assert {key: environ.get(key) for key in made.environ} == dict(made.environ)
    assert not set(made.without) & set(environ) and ANY_KEY == "any"
    if made.settings is not None:
        variable, _, text = made.settings
        assert Path(environ[variable]).read_text() == text
        assert made.applied({"HOME": str(tmp_path)})[variable] == environ[variable], "and so does `launch`"
        assert Path(environ[variable]).parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("name", "models", "chosen"),
    [
        ("claude", ["gpt-5.4-mini", "claude-haiku-4-5"], "claude-haiku-4-5"),
        ("claude", ["gpt-5.4-mini", "qwen3"], "gpt-5.4-mini"),
        ("codex", ["claude-haiku-4-5", "gpt-5.4-mini"], "gpt-5.4-mini"),
        ("opencode", ["qwen3", "gpt-5.4-mini"], "qwen3"),
        ("gemini", [], None),
    ],
)
def test_a_client_has_its_own_vendors_models_where_it_can(name: str, models: list[str], chosen: str | None) -> None:
    assert preferred(name, models) == chosen
