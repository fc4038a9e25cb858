"""What a test talks to: a running Envoy with the sidecar beside it and scripted upstreams behind it."""

from __future__ import annotations

import http.client
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import msgspec
import openai

from extproc.demo import as_anthropic, as_openai
from extproc.demo.processes import Envoy, Sidecar
from extproc.reference import config as envoy_config

from . import placements
from .upstream import ScriptedUpstream, eventually, whole_lines

PLACEMENTS = ("upstream", "listener", "one-stream")
CLIENT_KEY = "key-of-the-client"
KEYS = {"OPENAI_API_KEY": "key-of-openai", "ANTHROPIC_API_KEY": "key-of-anthropic"}
ARGUMENTS = ("--admin", "127.0.0.1:0")
DEAD_PORT = 1
"""Nothing listens there."""


@dataclass(frozen=True)
class Backends:
    """The sidecar and the upstreams, which several Envoys share."""

    folder: Path
    sidecar: Sidecar
    openai: ScriptedUpstream
    anthropic: ScriptedUpstream

    def new_folder(self, name: str) -> Path:
        """A folder of its own, however often a fixture is set up."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))

    def metrics(self) -> str:
        """What the sidecar's admin port says to Prometheus."""
        assert self.sidecar.admin, "it has no admin port"
        with closing(http.client.HTTPConnection(self.sidecar.admin, timeout=10)) as connection:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()

    def reset(self) -> None:
        for upstream in (self.openai, self.anthropic):
            upstream.idle()
            upstream.reset()


@dataclass(frozen=True)
class Reply:
    """What came back over plain HTTP; ``broken`` when the transfer ended before its announced end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    broken: bool = False

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass(frozen=True)
class Gateway:
    """One Envoy in one placement."""

    placement: str
    envoy: Envoy
    backends: Backends
    access_log: Path

    @property
    def openai_upstream(self) -> ScriptedUpstream:
        return self.backends.openai

    @property
    def anthropic_upstream(self) -> ScriptedUpstream:
        return self.backends.anthropic

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.envoy.port}"

    def streams(self, stat: str) -> Counter[str]:
        """How many streams of exchanges each process has, by its socket: had in all, ``rq_total``, or has now,
        ``rq_active``."""
        status, body = self.envoy.admin("GET", "/clusters?format=json")
        assert status == 200
        (found,) = [item for item in msgspec.json.decode(body)["cluster_statuses"] if item["name"] == "extproc"]
        counts: Counter[str] = Counter()
        for host in found["host_statuses"]:
            stats = {item["name"]: int(item.get("value", 0)) for item in host["stats"]}
            counts[host["address"]["pipe"]["path"]] = stats[stat]
        return counts

    def logged(self, model: str) -> dict[str, Any]:
        """The access log's one line about *model*. Envoy writes it late, and others that are older with it."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            # Else it would write every ten seconds.
            self.envoy.admin("POST", "/reopen_logs")
            entries = map(msgspec.json.decode, whole_lines(self.access_log))
            found[:] = [entry for entry in entries if entry["model"] == model]
            return bool(found)

        assert eventually(look, 15)
        (entry,) = found
        return entry

    def openai(self, **options: Any) -> openai.OpenAI:
        """OpenAI's SDK as a client, without its own retries."""
        settings = {"api_key": CLIENT_KEY, "max_retries": 0, "timeout": 30.0, **options}
        return openai.OpenAI(base_url=f"{self.url}/v1", **settings)

    def anthropic(self, **options: Any) -> anthropic.Anthropic:
        """Anthropic's SDK as a client, without its own retries."""
        settings = {"api_key": CLIENT_KEY, "max_retries": 0, "timeout": 30.0, **options}
        return anthropic.Anthropic(base_url=self.url, **settings)

    def send(
        self, path: str, body: Any = None, headers: Mapping[str, str] | None = None, method: str = "POST"
    ) -> Reply:
        """One request over plain HTTP. *body*: bytes, or a value to be sent as JSON."""
        data = body if isinstance(body, bytes | None) else msgspec.json.encode(body)
        connection = http.client.HTTPConnection("127.0.0.1", self.envoy.port, timeout=60)
        with closing(connection):
            connection.request(method, path, data, {"content-type": "application/json", **(headers or {})})
            response = connection.getresponse()
            try:
                content, broken = response.read(), False
            except http.client.IncompleteRead as error:
                content, broken = error.partial, True
            except ConnectionError:
                content, broken = b"", True
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, content, broken)

    def chat(self, model: str, **members: Any) -> Reply:
        """A Chat Completions request over plain HTTP."""
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **members}
        return self.send("/v1/chat/completions", body, {"authorization": f"Bearer {CLIENT_KEY}"})

    def begun(self) -> http.client.HTTPResponse:
        """A Chat Completions stream of Anthropic's answer, of which the first bytes have come."""
        connection = http.client.HTTPConnection("127.0.0.1", self.envoy.port, timeout=60)
        body = b'{"model": "claude-haiku-4-5", "stream": true, "messages": [{"role": "user", "content": "hi"}]}'
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        response = connection.getresponse()
        assert response.status == 200 and b"data: " in response.read1()
        return response

    def messages(self, model: str, **members: Any) -> Reply:
        """A Messages request over plain HTTP."""
        body = {"model": model, "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}], **members}
        return self.send("/v1/messages", body, {"x-api-key": CLIENT_KEY, "anthropic-version": "2023-06-01"})


@contextmanager
def backends() -> Iterator[Backends]:
    """The sidecar's process and the two upstreams."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="extproc-test-")))
        first, second = ScriptedUpstream(as_openai.answer), ScriptedUpstream(as_anthropic.answer)
        stack.enter_context(first)
        stack.enter_context(second)
        sidecar = stack.enter_context(Sidecar(folder, environ=KEYS, arguments=ARGUMENTS))
        yield Backends(folder, sidecar, first, second)


def configured(shared: Backends, placement: str, access_log: Path) -> dict[str, Any]:
    """The reference configuration with the addresses of *shared*, in *placement*, and with the tests' routes."""
    upstreams = {
        "api.openai.com": ("127.0.0.1", shared.openai.port),
        "api.anthropic.com": ("127.0.0.1", shared.anthropic.port),
    }
    host, _, port = shared.sidecar.address.rpartition(":")
    sidecar = shared.sidecar.socket or (host, int(port))
    config = envoy_config.rewrite(
        envoy_config.reference(), sidecar=sidecar, upstreams=upstreams, access_log=str(access_log)
    )
    if placement == "upstream":
        config = placements.two_streams(config)
    if placement == "listener":
        config = placements.on_listener(config)
    if placement == "bounded":
        config = placements.bounded(config)
    _add_odd_routes(config, placement, shared)
    return config


def _add_odd_routes(config: dict[str, Any], placement: str, shared: Backends) -> None:
    """Routes that are wrong, or lead nowhere, by their models."""
    placements.add_route(config, "bad-yaml", "openai", "provider: [")
    placements.add_route(config, "bad-provider", "openai", "provider: nobody")
    placements.add_alike(config, "bad-key", "colour: blue\n")
    # A filter in the cluster reads what the endpoint says beside it.
    beneath = "" if placement == "upstream" else placements.OPENAI.replace("losses: report\n", "")
    placements.add_route(config, "reject", "openai", f"{beneath}losses: reject\n")
    secret = "provider: openai\nauth: {header: {authorization: 'Bearer ${NOT_SET_ANYWHERE}'}}\n"
    pair = "provider: openai\nauth: none\nupstream: bedrock_converse\n"
    for model, text in (("bad-secret", secret), ("bad-pair", pair)):
        placements.add_model(config, model, shared.openai.port, text)
    for model, api in (("gpt-5-by-chat", "openai_chat"), ("gpt-5-by-responses", "openai_responses")):
        # The one API or the other, whatever the client speaks.
        placements.add_model(config, model, shared.openai.port, f"{placements.OPENAI}upstream: {api}\n")
    placements.add_cluster(config, "dead", "openai", DEAD_PORT)
    placements.add_route(config, "dead", "openai", cluster="dead")


@contextmanager
def gateway(shared: Backends, placement: str, *, binary: Path | None = None, name: str = "") -> Iterator[Gateway]:
    """An Envoy in *placement* ("upstream", "listener", "one-stream", or this "bounded") before *shared*."""
    folder = shared.new_folder(name or placement)
    log = folder / "access.log"
    with Envoy(folder, configured(shared, placement, log), binary=binary) as envoy:
        yield Gateway(placement, envoy, shared, log)
