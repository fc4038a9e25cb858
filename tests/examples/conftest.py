"""The examples, run: one sidecar for all, one Envoy for each, scripted providers in the place of the real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from extproc.demo import as_anthropic, as_openai
from extproc.demo.processes import Envoy, Sidecar
from extproc.demo.provider import Received, ScriptedAnswer, json_answer
from extproc.gateway import lay_out, read
from extproc.reference import config as envoy_config
from tests.support import as_bedrock, as_embeddings, as_gemini, as_vertex, envoygateway
from tests.support.gateway import Backends, Gateway
from tests.support.rate_limits import RateLimits, at_port
from tests.support.side_service import Asked, SideService
from tests.support.token_endpoint import TokenEndpoint
from tests.support.upstream import ScriptedUpstream

from .readme import NAMES, ROOT

HERE = Path(__file__).parent
KEYS = (
    "OPENAI_API_KEY", "DEEPSEEK_API_KEY", "AZURE_OPENAI_API_KEY", "ANTHROPIC_API_KEY", "AZURE_ANTHROPIC_API_KEY",
    "GEMINI_API_KEY", "OPENAI_API_KEY_2", "COHERE_API_KEY",
)  # fmt: skip
AWS_KEYS = {"AWS_ACCESS_KEY_ID": "id-of-aws", "AWS_SECRET_ACCESS_KEY": "key-of-aws"}
ANTHROPIC_HOSTS = ("api.anthropic.com", "my-resource.services.ai.azure.com")
OTHER_HOSTS = (
    "api.openai.com", "api.deepseek.com", "my-resource.openai.azure.com", "generativelanguage.googleapis.com",
    "europe-west1-aiplatform.googleapis.com", "127.0.0.1", "vllm.models.svc.cluster.local",
    "bedrock-runtime.us-east-1.amazonaws.com", "api.cohere.com",
)  # fmt: skip
SECRET_FILE = "/run/secrets/openai-authorization"


def key(name: str) -> str:
    """The secret under *name*."""
    return f"key-of-{name.removesuffix('_API_KEY').lower()}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.envoy)


def embedding(request: Received) -> ScriptedAnswer:
    """As OpenAI's ``/v1/embeddings``."""
    data = [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}]
    usage = {"prompt_tokens": 2, "total_tokens": 2}
    return json_answer({"object": "list", "data": data, "model": request.json()["model"], "usage": usage})


def as_others(request: Received) -> ScriptedAnswer:
    if request.path.endswith((":predict", ":batchEmbedContents", "/v2/embed")) or "/amazon.titan-" in request.path:
        return as_embeddings.answer(request)
    if "/publishers/anthropic/" in request.path:
        return as_vertex.answer(request)
    if "/models/" in request.path:
        return as_gemini.answer(request)
    if request.path.startswith("/model/"):
        return as_bedrock.answer(request)
    return embedding(request) if request.path.endswith("/embeddings") else as_openai.answer(request)


SERVICES = ("https://api.openai.com/v1/moderations", "http://127.0.0.1:8000/", "http://127.0.0.1:6333")
"""What policies of the examples ask beside the providers, by how it begins."""


def served(asked: Asked) -> bytes:
    """What such a service answers: one that judges, a model that puts [NAME] for a name, an embedder, a store."""
    body = msgspec.json.decode(asked.body)
    if asked.path.endswith("/moderations"):
        result = {"flagged": "bomb" in body["input"], "categories": {}, "category_scores": {}}
        return msgspec.json.encode({"id": "m", "model": body["model"], "results": [result]})
    if asked.path.endswith("/embeddings"):
        return msgspec.json.encode({"data": [{"index": 0, "embedding": [0.5, -1]}], "model": body["model"]})
    if asked.path == "/collections/handbook/points/query":
        point = {"id": 1, "score": 0.9, "payload": {"text": "It is closed on Sundays.", "source": "hours.md"}}
        return msgspec.json.encode({"result": {"points": [point]}, "status": "ok", "time": 0.1})
    message = {"role": "assistant", "content": body["messages"][-1]["content"].replace("Joe Doe", "[NAME]")}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "small", "choices": [choice]}
    return msgspec.json.encode({**answer, "usage": usage})


def _beside(config: Any, url: str) -> Any:
    """*config* with *url* in the place of SERVICES, where a route says so to the sidecar."""
    if isinstance(config, dict):
        return {name: _beside(value, url) for name, value in config.items()}
    if isinstance(config, list):
        return [_beside(value, url) for value in config]
    if isinstance(config, str):
        for service in SERVICES:
            config = config.replace(service, url + urlsplit(service).path)
    return config


@dataclass(frozen=True)
class World:
    """What the examples share."""

    backends: Backends
    side: SideService
    limits: RateLimits
    run: Callable[..., Gateway]
    """Starts Envoy with a configuration."""

    def example(self, name: str) -> Gateway:
        config = envoy_config.load(ROOT / name / "envoy.yaml")
        for secret in config["static_resources"].get("secrets", []):
            path = self.backends.folder / "authorization"
            path.write_text("Bearer " + key("OPENAI_API_KEY"), "utf-8")
            assert secret["generic_secret"]["secret"]["filename"] == SECRET_FILE
            secret["generic_secret"]["secret"]["filename"] = str(path)
        sidecar = self.backends.sidecar.socket
        assert sidecar is not None
        upstreams = {host: ("127.0.0.1", port) for host, port in self.ports.items()}
        if name.startswith("policy-"):
            config = _beside(config, self.side.url)
        made = envoy_config.rewrite(config, sidecar=sidecar, upstreams=upstreams)
        return self.run(name, at_port(config, made, self.limits.port))

    def few_words(self, name: str) -> Gateway:
        """The example's ``extproc.yaml``, in place of its own Envoy configuration."""
        laid = lay_out(read((ROOT / name / "extproc.yaml").read_text("utf-8")))
        sidecar = self.backends.sidecar.socket
        assert sidecar is not None
        upstreams = {host: ("127.0.0.1", port) for host, port in self.ports.items()}
        made = envoy_config.rewrite(laid.config, sidecar=sidecar, upstreams=upstreams)
        return self.run(f"{name}-few-words", _beside(made, self.side.url) if name.startswith("policy-") else made)

    def on_envoy_gateway(self, name: str, objects: list[dict[str, Any]]) -> Gateway:
        """*objects* in the form in which Envoy Gateway's Envoy gets them."""
        sidecar = self.backends.sidecar.socket
        assert sidecar is not None
        secrets = {"/run/keys": str(self.backends.folder)}
        return self.run(f"{name}-gateway", envoygateway.bootstrap(sidecar, self.ports, secrets, objects))

    @property
    def ports(self) -> dict[str, int]:
        first = dict.fromkeys(OTHER_HOSTS, self.backends.openai.port)
        return first | dict.fromkeys(ANTHROPIC_HOSTS, self.backends.anthropic.port)


@pytest.fixture(scope="session")
def _world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("examples")
    with ExitStack() as stack:
        tokens = TokenEndpoint()
        stack.callback(tokens.close)
        others, anthropic = ScriptedUpstream(as_others), ScriptedUpstream(as_anthropic.answer)
        stack.enter_context(others)
        stack.enter_context(anthropic)
        environ = {name: key(name) for name in KEYS} | AWS_KEYS | {"GCP_SERVICE_ACCOUNT": tokens.key()}
        for name, value in environ.items():
            (folder / name).write_text(value, "utf-8")
        named = ",".join([*environ, f"{folder}/*"])  # the files that deploy/ has under /run/keys
        flags = ("--secrets", named, "--records", str(folder / "records"))
        sidecar = stack.enter_context(Sidecar(folder, environ=environ, arguments=flags))
        shared = Backends(folder, sidecar, others, anthropic)
        running: dict[str, Gateway] = {}

        def run(name: str, config: dict[str, Any]) -> Gateway:
            if name not in running:
                (folder / name).mkdir()
                envoy = stack.enter_context(Envoy(folder / name, config))
                running[name] = Gateway("example", envoy, shared, folder / name / "access.log")
            return running[name]

        side = SideService()
        stack.callback(side.close)
        side.answer = served
        limits = RateLimits()
        stack.callback(limits.close)
        yield World(shared, side, limits, run)


@pytest.fixture
def world(_world: World) -> World:
    _world.backends.reset()
    _world.side.asked.clear()
    _world.limits.reset()
    return _world


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """Each example in turn."""
    found: str = request.param
    return found
