"""docker-compose.yaml as it is, brought up under a name and on a port of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
LOCAL_BASE = "extproc-base:local"
# Its own: another run on the same engine may be testing another checkout.
TAG = f"test-{os.getpid()}"
IMAGE = f"extproc:{TAG}"


class Failed(Exception):
    """A command of the engine failed; the message is what it said."""


def docker(*arguments: str, seconds: float = 120, check: bool = True) -> str:
    """Run ``docker`` and return its output. Raises Failed."""
    return run(["docker", *arguments], seconds=seconds, check=check)


def run(command: Sequence[str], *, seconds: float, check: bool = True, environ: Mapping[str, str] | None = None) -> str:
    """The standard output of *command*. Raises Failed, with both outputs' last lines."""
    env = {**os.environ, **(environ or {})}
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, cwd=ROOT, env=env, check=False)
    if check and done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise Failed(f"{' '.join(command)}: status {done.returncode}\n{said}")
    return done.stdout


@cache
def why_not() -> str | None:
    """Why there is nothing to test with here, or None."""
    if shutil.which("docker") is None:
        return "no docker command"
    done = subprocess.run(["docker", "info"], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        return f"no container engine answers: {(done.stderr.strip().splitlines() or ['?'])[-1]}"
    return None if _compose() else "neither `docker compose` nor docker-compose"


@cache
def _compose() -> tuple[str, ...]:
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0:
        return ("docker", "compose")
    return ("docker-compose",) if shutil.which("docker-compose") else ()


@cache
def base() -> Mapping[str, str]:
    """What the builds need in the environment: the base that engine.sh made where no registry is reachable."""
    made: dict[str, str] = {}
    if docker("image", "inspect", LOCAL_BASE, check=False).strip() not in ("", "[]"):
        made["EXTPROC_BASE"] = LOCAL_BASE
        # Without a registry there is no BuildKit front end either.
        made["DOCKER_BUILDKIT"] = made["COMPOSE_DOCKER_CLI_BUILD"] = "0"
    return made


class Stack:
    """One project of the compose file."""

    def __init__(self, name: str, environ: Mapping[str, str], files: Sequence[Path] = ()) -> None:
        self.name = f"extproc-{name}-{os.getpid()}"
        self.port = free_port()
        # No key of this machine may reach a test: the providers are the scripted ones.
        keyless = {"OPENAI_API_KEY": "", "ANTHROPIC_API_KEY": ""}
        own = {"EXTPROC_TAG": TAG, "EXTPROC_PORT": str(self.port)}
        self._environ = {**base(), **keyless, **own, **environ}
        self._files = [part for file in (ROOT / "docker-compose.yaml", *files) for part in ("-f", str(file))]

    def compose(self, *arguments: str, seconds: float = 300) -> str:
        """Run a compose command for this project. Raises Failed."""
        return run([*_compose(), "-p", self.name, *self._files, *arguments], seconds=seconds, environ=self._environ)

    def up(self, *arguments: str) -> None:
        """Bring it up and wait until every service is healthy. Raises Failed."""
        self.compose("up", "-d", "--no-build", *arguments)
        for service in ("provider", "sidecar", "envoy"):
            for container in self.containers(service):
                wait_healthy(container)

    def containers(self, service: str) -> list[str]:
        """The ids of a service's containers."""
        return self.compose("ps", "-q", service).split()

    def one(self, service: str) -> str:
        (container,) = self.containers(service)
        return container

    def served(self) -> dict[str, int]:
        """How many streams Envoy has given to each sidecar, by address."""
        lines = self.admin("/clusters").splitlines()
        fields = (line.split("::") for line in lines if line.startswith("extproc::"))
        return {f[1]: int(f[3]) for f in fields if len(f) == 4 and f[2] == "rq_total"}

    def health(self) -> dict[str, str]:
        """What Envoy's health checks say of each sidecar, by address."""
        lines = self.admin("/clusters").splitlines()
        fields = (line.split("::") for line in lines if line.startswith("extproc::"))
        return {f[1]: f[3].strip() for f in fields if len(f) == 4 and f[2] == "health_flags"}

    def admin(self, path: str) -> str:
        """Ask Envoy's admin interface, which only its own container reaches."""
        ask = f"GET {path} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n"
        script = f"exec 3<>/dev/tcp/127.0.0.1/9901 && printf '{ask}' >&3 && cat <&3"
        return docker("exec", self.one("envoy"), "bash", "-c", script)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def stack(name: str, files: Sequence[Path] = (), options: Sequence[str] = (), **environ: str) -> Iterator[Stack]:
    """A stack that is up for the block; *options* are those of ``up``."""
    made = Stack(name, environ, files)
    try:
        made.up(*options)
        yield made
    except BaseException:
        print(made.compose("logs", "--tail", "30"))
        raise
    finally:
        made.compose("down", "-v", "-t", "3")


def inspect(container: str) -> Any:
    """What the engine knows of a container or an image."""
    return json.loads(docker("inspect", container))[0]


def wait_healthy(container: str, seconds: float = 60) -> float:
    """Wait until the engine calls *container* healthy; the seconds that it took. Raises Failed."""
    began = time.monotonic()
    while (state := inspect(container)["State"]).get("Health", {}).get("Status") != "healthy":
        if not state["Running"] and not state["Restarting"]:
            raise Failed(f"{container} ended with status {state['ExitCode']}\n{docker('logs', container)}")
        if time.monotonic() - began > seconds:
            raise Failed(f"{container} is not healthy after {seconds:.0f} s: {state}")
        time.sleep(0.25)
    return time.monotonic() - began


def kill_process(container: str) -> None:
    """End a container's process as a crash does. The engine's own ``kill`` would count as an order to stop, after which
    nothing is restarted; and in its own PID namespace the first process cannot be killed."""
    pid = inspect(container)["State"]["Pid"]
    script = f"import os; os.kill({pid}, 9)"
    options = ["--rm", "--pid", "host", "--user", "0", "--cap-drop", "ALL", "--cap-add", "KILL", "--network", "none"]
    docker("run", *options, "--entrypoint", "python3", IMAGE, "-c", script)
