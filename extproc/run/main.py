"""What ``extproc run`` does: finds, lays out, starts, says what to paste, waits, ends."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..demo.processes import NotStarted, ends_in_order
from ..demo.provider import ScriptedProvider
from ..demo.screen import Screen
from ..demo.serve import ANTHROPIC_KEY, OPENAI_KEY, anthropic, openai
from ..gateway import FileError, Layout, lay_out
from ..gateway.file import DEFAULT_LISTEN, gateway, values_of
from ..route import RouteError, compile_route
from .found import Findings, find
from .running import CannotRun, Running

FILE = "extproc.yaml"
"""Read where it is in the working folder and none is named."""
KEYS = "OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY, OPENROUTER_API_KEY or DEEPSEEK_API_KEY"


@dataclass(frozen=True)
class RunOptions:
    """What the command line says."""

    file: str | None = None
    port: int | None = None
    scripted: bool = False
    probe: bool = True


@dataclass
class RunPlan:
    """What is to run."""

    layout: Layout
    environ: dict[str, str]
    """The sidecar's."""
    source: str
    """What it is made of, in words."""
    found: Findings = field(default_factory=Findings)
    given: dict[str, Any] = field(default_factory=dict)
    """The same as ``extproc.yaml`` would have it."""

    def file(self) -> str:
        """An ``extproc.yaml`` that makes the same gateway."""
        return yaml.safe_dump(self.given, sort_keys=False, width=110)


@contextmanager
def plan(options: RunOptions, environ: Mapping[str, str] = os.environ) -> Iterator[RunPlan]:
    """What *options* and *environ* come to; the scripted providers, if they are asked for, run until the block ends.
    Raises CannotRun, FileError."""
    with ExitStack() as stack:
        if options.scripted:
            yield _scripted(stack, environ)
            return
        name = options.file or (FILE if Path(FILE).is_file() else None)
        where = name or "what was found"
        given = _read(name) if name is not None else {}
        file = gateway(given, where)
        if file.providers:
            laid = lay_out(file, where)
            _compiled(laid, environ, where)
            yield RunPlan(laid, dict(environ), where)
            return
        found = find(environ, file.listen, probe=options.probe)
        _usable(found, environ)
        if not found.providers:
            raise NothingFound(found)
        given = {**given, "providers": found.providers}
        laid = lay_out(gateway(given, where), where)
        yield RunPlan(laid, dict(environ), "what is here", found, given)


class NothingFound(CannotRun):
    """No key and no server."""

    def __init__(self, found: Findings) -> None:
        notes = "".join(f"\n  {note}" for note in found.notes)
        super().__init__(
            f"no key and no local model server was found.{notes}\n"
            f"  Set one of {KEYS}:\n    export OPENAI_API_KEY=sk-...\n"
            "  or start a model server (ollama serve), or name providers in extproc.yaml (docs/quickstart.md).\n"
            "  To try it without any: extproc run --scripted"
        )


def _read(name: str) -> dict[str, Any]:
    try:
        return values_of(Path(name).read_text("utf-8"), name)
    except OSError as error:
        raise CannotRun(
            f"{name}: {error.strerror}; `extproc run --print-config > {shlex.quote(name)}` writes one of what is here"
        ) from None
    except UnicodeDecodeError:
        raise CannotRun(f"{name}: not UTF-8 text") from None


def _scripted(stack: ExitStack, environ: Mapping[str, str]) -> RunPlan:
    """The demo's two providers in the place of OpenAI and Anthropic."""
    ports = [stack.enter_context(ScriptedProvider(respond)).port for respond in (openai, anthropic)]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    keys = {"OPENAI_API_KEY": OPENAI_KEY, "ANTHROPIC_API_KEY": ANTHROPIC_KEY}
    given = {"providers": {name: {"url": url} for name, url in zip(("openai", "anthropic"), urls, strict=True)}}
    laid = lay_out(gateway(given, "--scripted"), "--scripted")
    by = dict.fromkeys(given["providers"], "a script, which calls a tool `get_weather`")
    return RunPlan(laid, {**environ, **keys}, "the scripted providers", Findings(by=by), given)


def _compiled(laid: Layout, environ: Mapping[str, str], where: str) -> None:
    """Raise CannotRun about the first route that the sidecar would refuse: a key that is missing, for example."""
    for name, level in laid.routes.items():
        try:
            compile_route([level], environ=environ)
        except RouteError as error:
            raise CannotRun(f"{where}: {name}: {_next_step(str(error))}") from None


def _next_step(problem: str) -> str:
    text = problem.removeprefix("route: ")
    name = text.rpartition("environment variable ")[2].removesuffix(" is not set")
    return f"{text}: export {name}=..." if text.endswith(" is not set") else text


def _usable(found: Findings, environ: Mapping[str, str]) -> None:
    """Leave out, with a word why, what was found and cannot be used here, such as for want of a package."""
    for name in list(found.providers):
        try:
            laid = lay_out(gateway({"providers": {name: found.providers[name]}}, name), name)
            _compiled(laid, environ, "not used")
        except (CannotRun, FileError) as error:
            found.notes.append(str(error))
            del found.providers[name], found.by[name]


# ---- what is said


def main(options: RunOptions) -> int:
    """Run until Ctrl-C. Raises CannotRun, FileError; 1 if a process would not start, or ended by itself."""
    screen = Screen(sys.stdout)
    with ends_in_order(), ExitStack() as stack:
        try:
            asked = stack.enter_context(plan(options))
            for note in asked.found.notes:
                screen.line(f"note: {note}", "yellow")
            screen.line(f"Starting Envoy and the sidecar for {asked.source} ...", "dim")
            running = stack.enter_context(Running(asked.layout, asked.environ, options.port))
            said(screen, asked, running)
            running.wait()
        except NotStarted as error:
            screen.fail(str(error))
            return 1
        except KeyboardInterrupt:
            screen.line("\nEnded.")
            return 0
    return 0


def said(screen: Screen, asked: RunPlan, running: Running) -> None:
    """What runs, for whom, and lines to paste."""
    screen.title("Providers")
    for name, (patterns, by) in _by_provider(asked).items():
        screen.labelled(name, f"{', '.join(patterns)}{f'   (by {by})' if by else ''}")
    screen.title("Models")
    screen.labelled("any other name", _rule(asked.layout))
    fallbacks = {name: targets for name, targets in asked.layout.models.items() if len(targets) > 1}
    for name, targets in fallbacks.items():
        screen.labelled(name, " -> ".join(map(str, targets)))
    if missing := [f"{variable} ({name})" for name, variable in asked.found.missing.items()]:
        screen.labelled("not found", ", ".join(missing))
    url = running.url
    screen.title("Base URLs")
    screen.labelled("OpenAI clients", f"{url}/v1")
    screen.labelled("Anthropic clients", url)
    screen.labelled("Gemini clients", url)
    screen.title("Paste into another terminal")
    for line in lines(asked.layout, url, running.admin_url, running.sidecar.admin):
        screen.line(line)
    screen.title(f"Ready: {url}   (Ctrl-C ends it)")
    screen.line(f"live view {running.view_url}", "bold")
    screen.line(f"Envoy's admin {running.admin_url}   logs {running.folder}", "dim")
    if running.host not in ("127.0.0.1", "::1", "localhost"):
        screen.line(f"{running.host}: whoever reaches this port spends your keys", "yellow")


def lines(layout: Layout, url: str, admin: str, sidecar: str) -> list[str]:
    """Lines of a shell that ask the gateway at *url*, and start clients on it. *admin*: Envoy's; *sidecar*: the
    sidecar's own admin port."""
    names = list(dict.fromkeys(layout.samples.values())) or ["MODEL"]
    first, last = names[0], names[-1]
    named = shlex.quote(first)
    away = "" if url == f"http://{DEFAULT_LISTEN}" else f" --url {url}"
    question = '"messages": [{"role": "user", "content": "What colour is the sky?"}]'
    return [
        f"curl -sN {url}/v1/messages -H 'content-type: application/json' "
        f"""-d '{{"model": "{first}", "max_tokens": 99, {question}}}'""",
        f"curl -sN {url}/v1/chat/completions -H 'content-type: application/json' "
        f"""-d '{{"model": "{last}", "stream": true, {question}}}'""",
        f"extproc launch claude{away} --model {named}",
        f"extproc launch codex{away} --model {named}",
        f"extproc doctor {url} --admin {admin} --sidecar {sidecar}",
    ]


def _rule(layout: Layout) -> str:
    any_other = layout.models.get("*")
    if any_other is None:
        return "is answered with a 404 that names those that there are"
    return f"goes to {' -> '.join(map(str, any_other))}"


def _by_provider(asked: RunPlan) -> dict[str, tuple[list[str], str]]:
    found: dict[str, tuple[list[str], str]] = {}
    for name, targets in asked.layout.models.items():
        if len(targets) == 1 and name != "*":
            patterns, _ = found.setdefault(targets[0].provider, ([], asked.found.by.get(targets[0].provider, "")))
            patterns.append(name)
    return found
