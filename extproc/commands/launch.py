"""``extproc launch`` starts a client on a gateway; ``extproc env`` prints what it would be started with."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from ..wire import base_url
from .base import Command, UsageError

USUAL = "http://127.0.0.1:10000"
_VALUED = ("--url", "--model", "--small-model")


def split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The command line of ``launch``, and what is the client's own: all that follows its name but for our flags, or
    follows ``--``."""
    own: list[str] = []
    named = False
    at = 0
    while at < len(argv):
        word = argv[at]
        if word == "--":
            return own, list(argv[at + 1 :])
        if word.partition("=")[0] in _VALUED:
            taken = 1 if "=" in word else 2
        elif word in ("-h", "--help") and not named:
            taken = 1
        elif word.startswith("-") or named:
            return own, list(argv[at:])
        else:
            named, taken = at > 0, 1
        own += argv[at : at + taken]
        at += taken
    return own, []


def _shared(parser: argparse.ArgumentParser) -> None:
    usual = os.environ.get("EXTPROC_URL") or None
    parser.add_argument("--url", type=base_url, default=usual, help=f"EXTPROC_URL, or {USUAL}")
    parser.add_argument("--model", default="", metavar="NAME", help="left out: one that the gateway lists")
    parser.add_argument("--small-model", default="", metavar="NAME", help="for titles and the like; left out: the same")


def _launch_arguments(parser: argparse.ArgumentParser) -> None:
    from ..launch.clients import LAUNCHED

    parser.description = (
        "Starts a client with its own variables and flags pointing at a running gateway. What follows its name is its "
        "own; so is what follows `--`. Where no gateway runs, one is started for as long as the client does."
    )
    parser.usage = "extproc launch [--url URL] [--model NAME] [--small-model NAME] CLIENT [ARGS]"
    parser.add_argument("client", choices=LAUNCHED, help="what follows it is its own")
    _shared(parser)
    parser.set_defaults(run=_launch, passed_on=[])


LAUNCH = Command(
    "launch",
    "start Claude Code, Codex and others on the gateway",
    _launch_arguments,
    ["extproc launch claude", 'extproc launch claude --model gpt-5.4-mini -p "What is here?"', "extproc launch codex"],
    [
        "0 and any other: the client's own",
        "2 it is not installed, or no gateway answers and none can be started: the message says what to do",
    ],
)


def _env_arguments(parser: argparse.ArgumentParser) -> None:
    from ..launch.clients import CLIENTS

    parser.description = "Prints the lines of a shell that point a client at a gateway, and start nothing."
    parser.add_argument("client", choices=list(CLIENTS))
    _shared(parser)
    parser.set_defaults(run=_env)


ENV = Command(
    "env",
    "the lines that point a client at the gateway",
    _env_arguments,
    ['eval "$(extproc env claude --model gpt-5.4-mini)"', "extproc env openai"],
    ["0 printed", "2 no model is named, and the gateway does not answer with one"],
)


def _env(args: argparse.Namespace) -> int:
    from ..launch import CLIENTS, pointed

    url = args.url or USUAL
    client = CLIENTS[args.client]
    model = args.model
    if client.program and not model:
        models = _listed(url, "--model NAME names one without asking")
        model = _chosen(args.client, url, models)
    for line in pointed(args.client, url, model, args.small_model).lines(client.program):
        print(line)
    return 0


def _listed(url: str, otherwise: str) -> list[str]:
    """The models that the gateway at *url* lists. Raises UsageError, which says what to do *otherwise*."""
    from ..launch.gateway import listed
    from ..wire import NoAnswer

    try:
        return listed(url)
    except NoAnswer as error:
        raise UsageError(f"{error}; `extproc run` starts a gateway, {otherwise}") from None


def _chosen(client: str, url: str, models: list[str]) -> str:
    """Which of *models*, which the gateway at *url* lists. Raises UsageError."""
    from ..launch.clients import preferred

    model = preferred(client, models)
    if model is None:
        raise UsageError(f"{url} lists no model: say --model NAME")
    return model


def _launch(args: argparse.Namespace) -> int:
    from ..demo.processes import NotStarted
    from ..gateway import FileError
    from ..launch import CLIENTS, pointed
    from ..launch.gateway import listed, started
    from ..run.running import CannotRun
    from ..wire import NoAnswer

    client = CLIENTS[args.client]
    program = shutil.which(client.program)
    if program is None:
        raise UsageError(f"{client.program} is not installed: {client.install}")
    with ExitStack() as stack:
        url = args.url or USUAL
        try:
            models, own = listed(url), False
        except NoAnswer as error:
            if args.url:
                raise UsageError(f"{error}; `extproc run` starts one, `extproc doctor {url}` says more") from None
            print("extproc: no gateway runs: starting one for as long as the client does ...", file=sys.stderr)
            try:
                url, own = stack.enter_context(started()), True
            except (CannotRun, FileError, NotStarted) as problem:
                raise UsageError(str(problem)) from None
            models = [] if args.model else _listed(url, "--model NAME names the model")
        model = args.model or _chosen(args.client, url, models)
        print(f"extproc: {client.title} on {url} with {model}", file=sys.stderr)
        made = pointed(args.client, url, model, args.small_model)
        command = [program, *made.arguments, *args.passed_on]
        environ = made.applied(os.environ)
        if not own:
            sys.stdout.flush()
            sys.stderr.flush()
            os.execve(program, command, environ)
        return _waited(command, environ)


def _waited(command: Sequence[str], environ: dict[str, str]) -> int:
    """Run *command*, which has the terminal and its Ctrl-C for itself; its exit status."""
    with subprocess.Popen(command, env=environ) as child:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        ended = signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        try:
            status = child.wait()
        finally:
            signal.signal(signal.SIGINT, before)
            signal.signal(signal.SIGTERM, ended)
    return status if status >= 0 else 128 - status
