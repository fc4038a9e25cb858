"""Other gateways on the same provider, with the same load, on the same cores.

    make bench-peers
    python bench/peers.py [--quick] [--rounds 3] [--only LiteLLM,TensorZero]

With AIGW_EXTPROC=path, the external processor of Envoy AI Gateway is measured too, whole and streamed: see aigw.py.
Each of the others is installed once into an environment of its own under .cache/peers, at a pinned version, and
configured as its own documents show, with logging off. What cannot be downloaded or started is skipped with a line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aigw
import envoys
import machine
import payloads
import report
import run
from extproc.demo.processes import NotStarted
from load import Generator, Spec
from machine import Wrong
from payloads import CHAT, MESSAGES, TO_ANTHROPIC, TO_OPENAI
from rig import Rig

CACHE = Path(__file__).parent.parent / ".cache" / "peers"
START_SECONDS = 90.0
DONE = {CHAT: '"stop"', MESSAGES: '"end_turn"'}
"""What a whole answer contains, however its JSON is spaced."""
BOTH = (TO_OPENAI, TO_ANTHROPIC)
PACED = (64, 250)
"""Streams at 50 events a second."""


class Skipped(Exception):
    """A peer cannot be had here; the message says why."""


@dataclass(frozen=True)
class Peer:
    """A gateway: how it is had, how it is started, which directions it can."""

    name: str
    package: str
    directions: tuple[payloads.Direction, ...]
    start: Callable[[Path, int, int], tuple[Sequence[str], Mapping[str, str]]]
    """(folder, own port, provider's port) -> (command, environment)."""
    note: str = ""
    node: bool = False
    paths: Mapping[str, str] = field(default_factory=dict)
    models: str = "{}"
    """How it is told a model's name."""

    @property
    def home(self) -> Path:
        return CACHE / self.name.lower()

    def binary(self, name: str) -> str:
        return str(self.home / ("node_modules/.bin" if self.node else "bin") / name)


def litellm(folder: Path, port: int, provider: int) -> tuple[Sequence[str], Mapping[str, str]]:
    def model(name: str, served: str, base: str) -> dict[str, Any]:
        return {"model_name": name, "litellm_params": {"model": served, "api_base": base, "api_key": "key"}}

    models = [
        model("gpt-whole", "openai/gpt-whole", f"http://127.0.0.1:{provider}/v1"),
        model("claude-whole", "anthropic/claude-whole", f"http://127.0.0.1:{provider}"),
    ]
    settings = {"telemetry": False, "use_chat_completions_url_for_anthropic_messages": True}
    config = folder / "litellm.yaml"
    # Without a key of its own: checking it would only cost it time.
    general = {"dangerously_permit_weak_or_unset_master_key": True}
    made = {"model_list": models, "litellm_settings": settings, "general_settings": general}
    config.write_text(json.dumps(made))
    own = [PEERS["LiteLLM"].binary("litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    return [*own, "--num_workers", "1"], {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}


def rosetta(folder: Path, port: int, provider: int) -> tuple[Sequence[str], Mapping[str, str]]:
    config = {
        "providers": {
            "openai_chat": {"api_key": "key", "base_url": f"http://127.0.0.1:{provider}/v1"},
            "anthropic": {"api_key": "key", "base_url": f"http://127.0.0.1:{provider}"},
        },
        "models": {"gpt-whole": "openai_chat", "claude-whole": "anthropic"},
        # Without keys, like ours here: checking them would only cost it time.
        "server": {"host": "127.0.0.1", "port": port, "open_on_no_keys": True},
    }
    path = folder / "config.jsonc"
    path.write_text(json.dumps(config))
    own = [PEERS["llm-rosetta"].binary("llm-rosetta-gateway"), "--config", str(path), "--data-dir", str(folder)]
    return [*own, "--log-level", "error", "--no-banner"], {}


TENSORZERO = """
import sys, threading
from tensorzero import _start_http_gateway
gateway = _start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False
)
open(sys.argv[2], "w").write(gateway.base_url)
threading.Event().wait()
"""


def tensorzero(folder: Path, port: int, provider: int) -> tuple[Sequence[str], Mapping[str, str]]:
    config = folder / "tensorzero.toml"
    config.write_text(
        "[gateway]\nobservability.enabled = false\n\n"
        '[models."claude-whole"]\nrouting = ["anthropic"]\n\n'
        '[models."claude-whole".providers.anthropic]\ntype = "anthropic"\nmodel_name = "claude-whole"\n'
        f'api_base = "http://127.0.0.1:{provider}/v1/messages"\n'
    )
    own = [PEERS["TensorZero"].binary("python"), "-c", TENSORZERO, str(config), str(folder / "address")]
    return own, {"ANTHROPIC_API_KEY": "key", "RUST_LOG": "error"}


def router(folder: Path, port: int, provider: int) -> tuple[Sequence[str], Mapping[str, str]]:
    served = {
        "name": "mock",
        "api_base_url": f"http://127.0.0.1:{provider}/v1/chat/completions",
        "api_key": "key",
        "models": ["gpt-whole"],
    }
    config = {"LOG": False, "HOST": "127.0.0.1", "PORT": port, "NON_INTERACTIVE_MODE": True}
    home = folder / ".claude-code-router"
    home.mkdir()
    (home / "config.json").write_text(
        json.dumps({**config, "Providers": [served], "Router": {"default": "mock,gpt-whole"}})
    )
    return [PEERS["claude-code-router"].binary("ccr"), "start"], {"HOME": str(folder)}


PEERS = {
    peer.name: peer
    for peer in (
        Peer("LiteLLM", "litellm[proxy]>=1.106,<1.107", BOTH, litellm, "Python, one worker"),
        Peer("llm-rosetta", "llm-rosetta[gateway]==0.13.0", BOTH, rosetta, "Python, closes each connection"),
        Peer(
            "TensorZero",
            "tensorzero==2026.6.0",
            (TO_ANTHROPIC,),
            tensorzero,
            "Rust, the gateway inside its Python package; no inbound Messages",
            paths={CHAT: "/openai/v1/chat/completions"},
            models="tensorzero::model_name::{}",
        ),
        Peer(
            "claude-code-router",
            "@musistudio/claude-code-router@2.0.0",
            (TO_OPENAI,),
            router,
            "Node; takes Messages only",
            node=True,
        ),
    )
}


# ---- having and starting them


def install(peer: Peer) -> str:
    """The version that is installed. Raises Skipped."""
    stamp = peer.home / "installed"
    if not stamp.exists() or stamp.read_text() != peer.package:
        shutil.rmtree(peer.home, ignore_errors=True)
        peer.home.mkdir(parents=True)
        run.say(f"installing {peer.package}")
        if peer.node:
            _command("npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(peer.home), peer.package)
        else:
            uv = _uv()
            _command(sys.executable, "-m", "venv", "--without-pip", str(peer.home))
            _command(uv, "pip", "install", "--quiet", "--python", peer.binary("python"), peer.package)
        stamp.write_text(peer.package)
    return _version(peer)


def _uv() -> str:
    """pip backtracks for minutes on some of these."""
    folder = CACHE / "uv"
    uv = folder / "bin" / "uv"
    if not uv.exists():
        _command(sys.executable, "-m", "venv", str(folder))
        _command(str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "uv")
    return str(uv)


def _command(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=900)
    except FileNotFoundError:
        raise Skipped(f"there is no {command[0]}") from None
    except subprocess.TimeoutExpired:
        raise Skipped(f"{Path(command[0]).name} took too long") from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip()
        raise Skipped(said.rpartition("\n")[2][:200] or f"{command[0]} failed") from None


def _version(peer: Peer) -> str:
    name = peer.package.rpartition("@")[0] if peer.node else peer.package.partition("[")[0].partition("=")[0]
    if peer.node:
        found: str = json.loads((peer.home / "node_modules" / name / "package.json").read_text())["version"]
        return found
    command = [peer.binary("python"), "-c", f"from importlib.metadata import version; print(version({name!r}))"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class Running:
    """A peer's processes. Raises Skipped when it does not answer."""

    def __init__(self, peer: Peer, folder: Path, provider: int) -> None:
        self.peer = peer
        self.port = _free_port()
        self._folder = folder
        command, environ = peer.start(folder, self.port, provider)
        self._log = (folder / "log").open("wb")
        self._child = subprocess.Popen(
            command,
            env={**os.environ, "NO_PROXY": "127.0.0.1", **environ},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _wait(self) -> None:
        until = time.monotonic() + START_SECONDS
        why = "did not listen"
        while time.monotonic() < until and self._child.poll() is None:
            address = self._folder / "address"
            if address.exists() and address.read_text():
                self.port = int(address.read_text().split("//")[1].partition("/")[0].rpartition(":")[2])
            try:
                for direction in self.peer.directions:
                    self._ask(direction)
                return
            except (OSError, Wrong) as error:
                why = str(error)
            time.sleep(0.5)
        said = (self._folder / "log").read_text("utf-8", "replace").strip().splitlines()
        raise Skipped(f"{why}; {said[-1][:200] if said else ''}")

    def spec(self, direction: payloads.Direction, body: Path, **more: Any) -> Spec:
        path = self.peer.paths.get(direction.client, direction.client)
        headers = {"authorization": "Bearer key", "x-api-key": "key", "anthropic-version": "2023-06-01"}
        return Spec(self.port, path, str(body), DONE[direction.client], headers, **more)

    def body(self, direction: payloads.Direction) -> bytes:
        return payloads.chat(direction.client, self.peer.models.format(f"{direction.prefix}-whole"))

    def _ask(self, direction: payloads.Direction) -> None:
        spec = self.spec(direction, Path())
        headers = {**spec.headers, "content-type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{spec.path}", self.body(direction), headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                said = reply.read().decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            raise Wrong(f"status {error.code}: {error.read()[:300]!r}") from None
        if spec.complete not in said:
            raise Wrong(f"an answer is not whole: {said[:300]}")

    def rss_kb(self) -> int:
        """Memory of all its processes."""
        total = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError, Wrong):
                if int(stat.read_text().rpartition(")")[2].split()[2]) == self._child.pid:
                    total += machine.rss_kb(int(stat.parent.name))
        return total

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(3)
        self._log.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# ---- measuring


def compare(rig: Rig, peers: Sequence[Peer], rounds: int, seconds: float) -> dict[str, Any]:
    """Each peer that can be had, and ours, in each direction."""
    versions: dict[str, str] = {}
    running: list[Running] = []
    try:
        for peer in peers:
            try:
                versions[peer.name] = install(peer)
                running.append(Running(peer, rig.folder(), rig.provider().port))
                run.say(f"{peer.name} {versions[peer.name]} runs")
            except Skipped as reason:
                versions.pop(peer.name, None)
                run.say(f"skipped: {peer.name}: {reason}")
        rows = _measured(rig, running, rounds, seconds)
    finally:
        for each in running:
            each.stop()
    return {"versions": versions, "rows": rows}


def _measured(rig: Rig, running: Sequence[Running], rounds: int, seconds: float) -> list[dict[str, Any]]:
    ours = [(way, way.name.partition(" ")[2]) for way in envoys.ways(rig) if way.translates and way.router]
    seen: dict[tuple[str, str], list[dict[str, Any]]] = {}
    memory: dict[str, int] = {}
    for number in range(rounds):
        for direction in (TO_OPENAI, TO_ANTHROPIC):
            loads: list[tuple[str, Spec]] = []
            body = payloads.chat(direction.client, f"{direction.prefix}-whole")
            for way, transport in ours:
                headers = {"authorization": "Bearer key"}
                file = envoys.body_file(rig, body)
                loads.append((transport, Spec(way.port, direction.client, str(file), DONE[direction.client], headers)))
            for each in running:
                if direction in each.peer.directions:
                    file = envoys.body_file(rig, each.body(direction))
                    loads.append((each.peer.name, each.spec(direction, file)))
            for name, spec in loads:
                told = Spec(**{**spec.__dict__, "connections": envoys.SATURATED, "seconds": seconds, "warm": 0.5})
                try:
                    figures = Generator(told).result()
                except Wrong as error:
                    run.say(f"no figure: {name}, {direction.name}: {error}")
                    if name not in PEERS:
                        raise
                    continue
                seen.setdefault((name, direction.name), []).append(figures)
                run.say(f"round {number + 1} of {rounds}, {direction.name}: {name} {figures['per_second']:.0f}/s")
    for each in running:
        memory[each.peer.name] = each.rss_kb()
    return [row_of(name, direction, seen, memory) for name, direction in seen]


def beside_aigw(rig: Rig, program: Path, *, rounds: int, seconds: float, quick: bool) -> dict[str, Any]:
    """Ours and Envoy AI Gateway's external processor, each behind an Envoy, in one run."""
    needed = ("Envoy alone", envoys.ONE_NOOP)
    through = [way for way in envoys.ways(rig, ["h2"]) if way.name in needed or way.translates]
    theirs, told = envoys.way_of_aigw(rig, program)
    through.append(theirs)
    asked = [each for each in envoys.scenarios() if not quick or len(each.body) < 10_000]
    made: dict[str, Any] = {"version": told}
    made["requests"] = envoys.requests(rig, through, asked, rounds=rounds, seconds=seconds, say=run.say)
    paced = [way for way in through if way.translates]
    steps = (8,) if quick else PACED
    made["paced"] = envoys.paced(rig, paced, rounds=rounds, seconds=seconds * 2, say=run.say, steps=steps)
    made["rss_kb"] = {way.name: machine.rss_kb(way.sidecar.pid) for way in paced if way.sidecar is not None}
    return made


def row_of(
    name: str, direction: str, seen: Mapping[tuple[str, str], list[dict[str, Any]]], memory: Mapping[str, int]
) -> dict[str, Any]:
    figures = seen[name, direction]
    row: dict[str, Any] = {"gateway": name, "direction": direction}
    for key in ("per_second", "p50_ms"):
        values = [each[key] for each in figures]
        row |= {key: statistics.median(values), f"{key}_least": min(values), f"{key}_most": max(values)}
    if name not in PEERS:
        return {**row, "note": "extproc, through Envoy"}
    mine = statistics.median(each["per_second"] for each in seen["h2", direction])
    return {**row, "ratio": mine / row["per_second"], "rss_kb": memory[name], "note": PEERS[name].note}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(PEERS), help=f"some of {', '.join(PEERS)}; empty: none")
    parser.add_argument("--out", type=Path, default=run.RESULTS)
    args = parser.parse_args()
    peers = [PEERS[name] for name in args.only.split(",") if name]
    rounds = 1 if args.quick else args.rounds
    described = machine.describe()
    print(machine.line(described), flush=True)
    made: dict[str, Any] = {}
    try:
        if program := aigw.binary():
            with Rig() as rig:
                found = beside_aigw(rig, program, rounds=rounds, seconds=0.3 if args.quick else 1.5, quick=args.quick)
            made["aigw"] = {**found, "machine": {**described, "load_after": round(os.getloadavg()[0], 2)}}
        if peers:
            with Rig() as rig:
                found = compare(rig, peers, rounds, 1.0 if args.quick else 4.0)
            made["peers"] = {**found, "machine": described}
    except (Wrong, NotStarted, OSError) as error:
        sys.exit(f"bench-peers: {error}")
    results = run.keep(args.out, made)
    for table in (report.of_aigw, report.of_aigw_paced, report.of_peers):
        print("\n" + report.markdown(table(results)))
    run.say(f"wrote {args.out}; python bench/report.py writes docs/benchmarks.md from it")


if __name__ == "__main__":
    main()
