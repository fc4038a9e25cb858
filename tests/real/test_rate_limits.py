"""The example token-limits with Envoy's real rate limit service, which keeps its counts in a real Redis."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.demo import as_anthropic, as_openai
from extproc.demo.processes import Envoy, Sidecar, envoy_binary
from extproc.reference import config as envoy_config
from tests.support.gateway import Backends, Gateway
from tests.support.ports import free_port
from tests.support.rate_limits import at_port
from tests.support.upstream import ScriptedUpstream, eventually

EXAMPLE = Path("examples/token-limits")
DOWNLOADED = Path(".cache/real").resolve()
SERVICE = DOWNLOADED / "go" / "service_cmd"
REDIS = DOWNLOADED / "redis"
LIMITS = {
    "domain": "llm",
    "descriptors": [
        {"key": "client", "descriptors": [
            {"key": "model", "value": "claude-haiku-4-5", "rate_limit": {"unit": "day", "requests_per_unit": 1}},
            {"key": "model", "rate_limit": {"unit": "day", "requests_per_unit": 1000}},
        ]},
        {"key": "budget", "value": "team-b", "rate_limit": {"unit": "day", "requests_per_unit": 150}},
        {"key": "budget", "rate_limit": {"unit": "day", "requests_per_unit": 1000000}},
    ],
}  # fmt: skip
"""As the example's, with numbers that a test comes to; one answer for gpt-5.4-mini costs about 90 millionths."""


def redis_server() -> tuple[str, dict[str, str]]:
    """Redis, and with which environment it starts."""
    if (found := shutil.which("redis-server")) is not None:
        return found, dict(os.environ)
    found = shutil.which(str(REDIS / "usr/bin/redis-server"))
    if found is None:
        pytest.skip("redis-server is not installed: make test-real downloads it where Debian's packages are")
    libraries = ":".join(str(path) for path in (REDIS / "usr/lib").glob("*-linux-gnu*"))
    return found, {**os.environ, "LD_LIBRARY_PATH": libraries}


@contextmanager
def running(command: list[str], environ: dict[str, str], log: Path, port: int) -> Iterator[None]:
    """A process that listens on *port* of this machine."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environ, stdout=output, stderr=output)
    try:
        assert eventually(lambda: listens(port) or process.poll() is not None, 30), log.read_text("utf-8", "replace")
        assert process.poll() is None, log.read_text("utf-8", "replace")
        yield
    finally:
        process.terminate()
        process.wait(20)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    redis, redis_environ = redis_server()
    if not SERVICE.exists():
        pytest.skip("there is no rate limit service: make test-real builds it where Go and its modules are")
    envoy_binary()
    folder = tmp_path_factory.mktemp("limits")
    (folder / "limits" / "config").mkdir(parents=True)
    (folder / "limits" / "config" / "ratelimit.yaml").write_text(yaml.safe_dump(LIMITS), "utf-8")
    stored, asked, page, debug = (free_port() for _ in range(4))
    environ = {
        **os.environ, "REDIS_SOCKET_TYPE": "tcp", "REDIS_URL": f"127.0.0.1:{stored}", "USE_STATSD": "false",
        "RUNTIME_ROOT": str(folder), "RUNTIME_SUBDIRECTORY": "limits", "RUNTIME_WATCH_ROOT": "false",
        "GRPC_HOST": "127.0.0.1", "GRPC_PORT": str(asked), "HOST": "127.0.0.1", "PORT": str(page),
        "DEBUG_HOST": "127.0.0.1", "DEBUG_PORT": str(debug),
    }  # fmt: skip
    keys = {"OPENAI_API_KEY": "key-of-openai", "ANTHROPIC_API_KEY": "key-of-anthropic"}
    with ExitStack() as stack:
        command = [redis, "--port", str(stored), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        stack.enter_context(running(command, redis_environ, folder / "redis.log", stored))
        stack.enter_context(running([str(SERVICE)], environ, folder / "service.log", asked))
        first, second = ScriptedUpstream(as_openai.answer), ScriptedUpstream(as_anthropic.answer)
        stack.enter_context(first)
        stack.enter_context(second)
        sidecar = stack.enter_context(Sidecar(folder, environ=keys))
        config = envoy_config.load(EXAMPLE / "envoy.yaml")
        upstreams = {"api.openai.com": ("127.0.0.1", first.port), "api.anthropic.com": ("127.0.0.1", second.port)}
        host, _, port = sidecar.address.rpartition(":")
        place = sidecar.socket or (host, int(port))
        made = envoy_config.rewrite(config, sidecar=place, upstreams=upstreams, real=["127.0.0.1"])
        envoy = stack.enter_context(Envoy(folder, at_port(config, made, asked)))
        _STORED.append(stored)
        yield Gateway("example", envoy, Backends(folder, sidecar, first, second), folder / "access.log")


_STORED: list[int] = []
"""Where Redis listens."""


def told(*words: str) -> list[bytes]:
    """What Redis answers, a line each."""
    with socket.create_connection(("127.0.0.1", _STORED[0]), 5) as connection:
        connection.sendall(" ".join(words).encode() + b"\r\nPING\r\n")
        answer = b""
        while not answer.endswith(b"+PONG\r\n"):
            answer += connection.recv(4096)
    return answer.split(b"\r\n")


def spent(team: str) -> int:
    """The millionths of a dollar that are counted of *team*."""
    keys = [line.decode() for line in told("KEYS", f"*budget*{team}*") if team.encode() in line]
    return sum(int(told("GET", key)[1]) for key in keys)


def grows(team: str, before: int) -> bool:
    return eventually(lambda: spent(team) > before, 10)


def ask(gateway: Gateway, team: str, model: str, **members: Any) -> int:
    body = {"model": model, "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}], **members}
    return gateway.send("/v1/messages", body, {"x-api-key": f"key-of-{team}"}).status


@pytest.mark.rows("A12")
def test_the_service_takes_the_examples_own_file(limited: Gateway, tmp_path: Path) -> None:
    (tmp_path / "limits" / "config").mkdir(parents=True)
    shutil.copy(EXAMPLE / "ratelimit.yaml", tmp_path / "limits" / "config")
    checker = {"RUNTIME_ROOT": str(tmp_path), "RUNTIME_SUBDIRECTORY": "limits", "RUNTIME_WATCH_ROOT": "false"}
    lines = (limited.backends.folder / "redis.log").read_text("utf-8").splitlines()
    url = "127.0.0.1:" + next(line for line in lines if "port=" in line).partition("port=")[2].partition(".")[0]
    asked = free_port()
    environ = {
        **os.environ, **checker, "REDIS_SOCKET_TYPE": "tcp", "REDIS_URL": url, "USE_STATSD": "false",
        "LOG_LEVEL": "debug", "GRPC_HOST": "127.0.0.1", "GRPC_PORT": str(asked), "HOST": "127.0.0.1",
        "PORT": str(free_port()), "DEBUG_HOST": "127.0.0.1", "DEBUG_PORT": str(free_port()),
    }  # fmt: skip
    log = tmp_path / "log"
    with running([str(SERVICE)], environ, log, asked):
        assert eventually(lambda: "llm.budget_team-a" in log.read_text("utf-8"))
    assert "error loading" not in log.read_text("utf-8").lower()


@pytest.mark.rows("A12")
@pytest.mark.parametrize("stream", [False, True])
def test_a_budget_of_money_is_used_up_by_what_answers_cost(limited: Gateway, stream: bool) -> None:
    team, served, before = "team-b", 0, spent("team-b")
    while (status := ask(limited, team, "gpt-5.4-mini", stream=stream)) == 200:
        served += 1
        assert grows(team, before), "it is told when the stream is done"
        before = spent(team)
    assert status == 429 and spent(team) == before > 150
    assert served == (0 if stream else 2), "the second run finds it used up: about 90 of 150, and once more"
    assert ask(limited, "team-a", "gpt-5.4-mini") == 200, "another client has its own"


@pytest.mark.rows("A12")
def test_tokens_are_counted_by_client_and_model(limited: Gateway) -> None:
    assert ask(limited, "team-a", "claude-haiku-4-5", stream=True) == 200
    assert eventually(lambda: ask(limited, "team-a", "claude-haiku-4-5") == 429, 10)
    assert ask(limited, "team-a", "gpt-5.4-mini") == 200, "another model has its own"
