"""Open WebUI itself, as its example says it is started, on Claude: ``make test-open-webui``. Not one of the tests of
``make test-real``: it is 800 MB on disk, and takes half a minute to begin."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from extproc.demo import as_anthropic
from extproc.demo.processes import Envoy, Process, Sidecar
from extproc.reference import config as envoy_config
from extproc.wire import NoAnswer, SeenAnswer, ask
from tests.examples.readme import ROOT, blocks
from tests.support.ports import free_port
from tests.support.upstream import ScriptedUpstream

EXAMPLE = "open-webui-foundry"
PROGRAM = ROOT.parent / ".cache" / "real" / "open-webui" / "bin" / "open-webui"
ALONE = {
    "WEBUI_AUTH": "False", "WEBUI_SECRET_KEY": "of-no-use-elsewhere", "USE_SLIM_DOCKER": "true", "OFFLINE_MODE": "true",
    "HF_HUB_OFFLINE": "1", "ANONYMIZED_TELEMETRY": "false", "DO_NOT_TRACK": "true", "SCARF_NO_ANALYTICS": "true",
}  # fmt: skip
"""Without users, without models of its own, and without the Internet."""


def settings() -> dict[str, str]:
    """The variables that the example's README starts it with."""
    (line,) = [line for block in blocks(EXAMPLE) for line in block.splitlines() if line.endswith("open-webui serve")]
    return dict(word.split("=", 1) for word in shlex.split(line) if "=" in word)


class OpenWebUI(Process):
    patience = 240.0

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        super().__init__("open-webui", folder)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environ = environ

    def command(self) -> Sequence[str]:
        return [str(PROGRAM), "serve", "--host", "127.0.0.1", "--port", str(self.port)]

    def environment(self) -> Mapping[str, str]:
        own = {"PATH": f"{PROGRAM.parent}:/usr/bin:/bin", "HOME": str(self.folder), "DATA_DIR": str(self.folder)}
        return {**own, **ALONE, **self._environ}

    def ready(self) -> bool:
        with suppress(NoAnswer):
            return ask(self.url, "/health", seconds=5).status == 200
        return False


@dataclass(frozen=True)
class Signed:
    """Somebody who uses it."""

    url: str
    token: str
    claude: ScriptedUpstream

    def asks(self, path: str, body: Any = None) -> SeenAnswer:
        return ask(self.url, path, body, headers={"authorization": f"Bearer {self.token}"})


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signed]:
    folder = tmp_path_factory.mktemp("open-webui")
    with ExitStack() as stack:
        claude = ScriptedUpstream(as_anthropic.answer)
        stack.enter_context(claude)
        sidecar = stack.enter_context(Sidecar(folder, environ={"AZURE_ANTHROPIC_API_KEY": "key-of-foundry"}))
        assert sidecar.socket is not None
        made = envoy_config.rewrite(
            envoy_config.load(ROOT / EXAMPLE / "envoy.yaml"), sidecar=sidecar.socket,
            upstreams={"my-resource.services.ai.azure.com": ("127.0.0.1", claude.port)},
        )  # fmt: skip
        envoy = stack.enter_context(Envoy(folder, made))
        environ = {name: value.replace(":10000", f":{envoy.port}") for name, value in settings().items()}
        there = stack.enter_context(OpenWebUI(folder, environ))
        token = ask(there.url, "/api/v1/auths/signin", {"email": "", "password": ""}).json["token"]
        yield Signed(there.url, token, claude)


QUESTION: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What colour is the sky?"},
]


@pytest.mark.rows("C12")
def test_its_menu_has_the_models_by_their_names(user: Signed) -> None:
    models = user.asks("/api/models").json["data"]
    assert {model["id"]: model["name"] for model in models} == {
        "claude-opus-4-8": "Claude Opus 4.8", "claude-haiku-4-5": "Claude Haiku 4.5",
    }  # fmt: skip


@pytest.mark.rows("C12")
@pytest.mark.parametrize("stream", [True, False])
def test_a_conversation(user: Signed, stream: bool) -> None:
    user.claude.reset()
    seen = user.asks("/api/chat/completions", {"model": "claude-opus-4-8", "stream": stream, "messages": QUESTION})
    assert seen.status == 200 and not seen.broken, seen.body
    if stream:
        chunks = [data for _, data in seen.events if isinstance(data, dict)]
        said = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
        assert seen.events[-1][1] == "[DONE]"
    else:
        said = seen.json["choices"][0]["message"]["content"]
    assert said.endswith("The sky is blue.")
    got = user.claude.last
    assert got.path == "/anthropic/v1/messages" and got.header("x-api-key") == "key-of-foundry"
    assert got.header("authorization") is None and got.json()["model"] == "claude-opus-4-8"


@pytest.mark.rows("C12")
def test_titles_are_the_small_models_work(user: Signed) -> None:
    user.claude.reset()
    done = user.asks("/api/v1/tasks/title/completions", {"model": "claude-opus-4-8", "messages": QUESTION[1:]})
    assert done.status == 200 and "choices" in done.json
    assert user.claude.last.json()["model"] == "claude-haiku-4-5"
