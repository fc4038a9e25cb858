"""How each client is told where to ask, and for which model: its own variables and flags, a row each. The pages and the
tests are made of the same rows."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

ANY_KEY = "any"
"""The gateway takes every key, and sends none of a client's on."""


@dataclass(frozen=True)
class Pointed:
    """What a client is started with."""

    environ: Mapping[str, str]
    arguments: tuple[str, ...] = ()
    """Before those of the user."""
    without: tuple[str, ...] = ()
    """Variables that would lead it elsewhere, or carry a key that is nobody's business here."""
    settings: tuple[str, str, str] | None = None
    """A variable that names a file of settings, what the file is called, and what stands in it."""

    def applied(self, environ: Mapping[str, str]) -> dict[str, str]:
        """*environ* for the client. Writes its file of settings, if it has one."""
        made = {name: value for name, value in environ.items() if name not in self.without} | dict(self.environ)
        if self.settings is not None:
            variable, name, text = self.settings
            home = environ.get("XDG_CACHE_HOME") or f"{environ.get('HOME') or Path.home()}/.cache"
            folder = Path(home, "extproc")
            folder.mkdir(0o700, parents=True, exist_ok=True)
            (folder / name).write_text(text, "utf-8")
            made[variable] = str(folder / name)
        return made

    def lines(self, program: str) -> list[str]:
        """The same as lines of a shell."""
        found = [f"export {name}={shlex.quote(value)}" for name, value in self.environ.items()]
        found += [f"unset {' '.join(self.without)}"] if self.without else []
        if self.settings is not None:
            variable, name, text = self.settings
            found.append(f'export {variable}="${{XDG_CACHE_HOME:-$HOME/.cache}}/extproc/{name}"')
            found.append(f'mkdir -p -m 700 "${{{variable}%/*}}" && printf %s {shlex.quote(text)} > "${variable}"')
        if self.arguments:
            found.append(f'{program}() {{ command {program} {shlex.join(self.arguments)} "$@"; }}')
        return found


@dataclass(frozen=True)
class ClientProgram:
    """One client."""

    title: str
    program: str
    """What is started; empty: a library, which has an environment only."""
    install: str
    """The line that installs it."""
    prefers: tuple[str, ...]
    """How the names of models begin that it would rather have."""
    point: Callable[[str, str, str], Pointed]
    """By the gateway's URL, the model, and the model for what is small."""
    notes: str = ""


def _claude(url: str, model: str, small: str) -> Pointed:
    models = {f"ANTHROPIC_DEFAULT_{kind}_MODEL": model for kind in ("OPUS", "SONNET", "FABLE")}
    environ = {
        "ANTHROPIC_BASE_URL": url,
        # Not as ANTHROPIC_API_KEY, for which it asks whether it may be used.
        "ANTHROPIC_AUTH_TOKEN": ANY_KEY,
        "ANTHROPIC_MODEL": model,
        **models,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": small,
        "CLAUDE_CODE_SUBAGENT_MODEL": model,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    elsewhere = ("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY")
    return Pointed(environ, (), ("ANTHROPIC_API_KEY", "ANTHROPIC_SMALL_FAST_MODEL", *elsewhere))


def _codex(url: str, model: str, small: str) -> Pointed:
    settings = {
        "model": model,
        "model_provider": "extproc",
        "model_providers.extproc.name": "extproc",
        "model_providers.extproc.base_url": f"{url}/v1",
        "model_providers.extproc.env_key": "GATEWAY_KEY",
        "model_providers.extproc.wire_api": "responses",
    }
    flags = [part for name, value in settings.items() for part in ("-c", f"{name}={json.dumps(value)}")]
    return Pointed({"GATEWAY_KEY": ANY_KEY}, tuple(flags), ("OPENAI_API_KEY", "OPENAI_BASE_URL"))


def _gemini(url: str, model: str, small: str) -> Pointed:
    environ = {"GOOGLE_GEMINI_BASE_URL": url, "GEMINI_API_KEY": ANY_KEY, "GEMINI_MODEL": model}
    without = ("GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_GCA")
    # It takes another base URL only by an API key that its settings choose.
    settings = json.dumps({"security": {"auth": {"selectedType": "gemini-api-key"}}})
    return Pointed(environ, (), without, ("GEMINI_CLI_SYSTEM_SETTINGS_PATH", "gemini-cli.json", settings))


def _opencode(url: str, model: str, small: str) -> Pointed:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "extproc",
        "options": {"baseURL": f"{url}/v1", "apiKey": ANY_KEY},
        "models": {name: {"name": name} for name in dict.fromkeys((model, small))},
    }
    config = {"provider": {"extproc": provider}, "model": f"extproc/{model}", "small_model": f"extproc/{small}"}
    return Pointed({"OPENCODE_CONFIG_CONTENT": json.dumps(config)})


def _aider(url: str, model: str, small: str) -> Pointed:
    environ = {
        "OPENAI_API_BASE": f"{url}/v1",
        "OPENAI_API_KEY": ANY_KEY,
        "AIDER_MODEL": f"openai/{model}",
        "AIDER_WEAK_MODEL": f"openai/{small}",
    }
    return Pointed(environ, (), ("OPENAI_BASE_URL",))


def _openai(url: str, model: str, small: str) -> Pointed:
    return Pointed({"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": ANY_KEY})


def _anthropic(url: str, model: str, small: str) -> Pointed:
    return Pointed({"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": ANY_KEY}, (), ("ANTHROPIC_AUTH_TOKEN",))


def _google(url: str, model: str, small: str) -> Pointed:
    return Pointed({"GOOGLE_GEMINI_BASE_URL": url, "GEMINI_API_KEY": ANY_KEY}, (), ("GOOGLE_API_KEY",))


_IN_CODE = "Name the model in the code."
CLIENTS = {
    "claude": ClientProgram(
        "Claude Code", "claude", "npm install -g @anthropic-ai/claude-code", ("claude",), _claude,
        "Every tier (opus, sonnet, haiku, subagents) is the model that you name; `--small-model` names another one for "
        "what is small. WebSearch is a tool of Anthropic's own servers: [what to do](#websearch-under-claude-code).",
    ),
    "codex": ClientProgram(
        "Codex", "codex", "npm install -g @openai/codex", ("gpt", "o3", "o4"), _codex,
        "It speaks the Responses API alone. Its settings are flags, so that ~/.codex/config.toml stays as it is.",
    ),
    "gemini": ClientProgram(
        "Gemini CLI", "gemini", "npm install -g @google/gemini-cli", ("gemini",), _gemini,
        "It takes another base URL only where its settings choose the API key, so a file of settings goes over yours. "
        "In a folder that it does not trust, -p wants --skip-trust beside it.",
    ),
    "opencode": ClientProgram(
        "opencode", "opencode", "npm install -g opencode-ai", (), _opencode,
        "The model is listed as extproc/MODEL beside those of your own configuration.",
    ),
    "aider": ClientProgram(
        "aider", "aider", "python -m pip install aider-chat", (), _aider,
        "It does not know the prices and limits of models by other names, and says so; --no-show-model-warnings.",
    ),
    "openai": ClientProgram("OpenAI's SDKs", "", "pip install openai", ("gpt",), _openai, _IN_CODE),
    "anthropic": ClientProgram(
        "Anthropic's SDKs", "", "pip install anthropic", ("claude",), _anthropic, _IN_CODE
    ),
    "google": ClientProgram(
        "Google's SDKs", "", "pip install google-genai", ("gemini",), _google,
        "Name the model in the code. The Python SDK also takes http_options=HttpOptions(base_url=...).",
    ),
}  # fmt: skip
"""By the name on the command line."""
LAUNCHED = [name for name, client in CLIENTS.items() if client.program]


def pointed(name: str, url: str, model: str, small: str = "") -> Pointed:
    """What points the client *name* at the gateway at *url* with *model*, and *small* for what is small."""
    return CLIENTS[name].point(url.rstrip("/"), model, small or model)


def preferred(name: str, models: list[str]) -> str | None:
    """Of *models*, the one that the client would be started with if the user names none."""
    wanted = CLIENTS[name].prefers
    own = (model for model in models if wanted and model.startswith(wanted))
    return next(own, models[0] if models else None)
