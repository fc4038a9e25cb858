"""``extproc run``: a whole gateway on this machine, with one command."""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from .base import Command, UsageError

if TYPE_CHECKING:
    from ..run.main import RunOptions


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Starts the sidecar and an Envoy before it, for the providers whose keys are in the environment and the model "
        "servers that answer on this machine, or for those that extproc.yaml names. It listens on loopback."
    )
    parser.add_argument("-c", "--config", metavar="FILE", help="an extproc.yaml; left out: the one here, if there is")
    parser.add_argument("--port", type=_port, metavar="N", help="in place of the file's, or of 10000; 0: any free one")
    parser.add_argument("--scripted", action="store_true", help="with the demo's providers: no key is needed")
    parser.add_argument("--no-probe", action="store_true", help="do not ask whether there are local model servers")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--print-envoy", action="store_true", help="write the Envoy bootstrap instead of running it")
    instead.add_argument("--print-config", action="store_true", help="write what was found as an extproc.yaml instead")
    instead.add_argument("--schema", action="store_true", help="write the JSON schema of extproc.yaml, for editors")
    parser.set_defaults(run=_run)


COMMAND = Command(
    "run",
    "a gateway on this machine, of the keys in your environment",
    arguments,
    [
        "OPENAI_API_KEY=sk-... extproc run",
        "extproc run --scripted",
        "extproc run --print-config > extproc.yaml",
        "extproc run -c extproc.yaml --print-envoy > envoy.yaml",
    ],
    [
        "0 ended by Ctrl-C or SIGTERM",
        "1 Envoy or the sidecar would not start, or ended by itself",
        "2 no key, no Envoy, a taken port, or a mistake in extproc.yaml: the message says what to do",
    ],
)


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return int(text)


def _run(args: argparse.Namespace) -> int:
    from ..gateway import FileError, schema
    from ..run.main import RunOptions, main, plan
    from ..run.running import CannotRun, trusting

    options = RunOptions(args.config, args.port, args.scripted, not args.no_probe)
    try:
        if args.schema:
            print(json.dumps(schema(), indent=1))
        elif args.print_envoy or args.print_config:
            with plan(options) as asked:
                trusting(asked.layout.config)
                made = asked.layout.yaml("extproc run --print-envoy") if args.print_envoy else asked.file()
                print(made, end="")
        else:
            return _asking(main, options)
    except (CannotRun, FileError) as error:
        raise UsageError(str(error)) from None
    return 0


def _asking(main: Callable[[RunOptions], int], options: RunOptions) -> int:
    """``main(options)``; on a terminal what is missing is offered first."""
    from ..demo.processes import bring
    from ..run.main import NothingFound
    from ..run.running import NoEnvoy

    try:
        return main(options)
    except NothingFound as error:
        if not _agrees(str(error), "Run with the scripted provider now?"):
            raise
        return _asking(main, replace(options, scripted=True))
    except NoEnvoy as error:
        if not (_agrees(str(error), "Install one now (35 MB)?") and _done(bring("run"))):
            raise
        importlib.invalidate_caches()
        return main(options)


def _agrees(why: str, question: str) -> bool:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    print(f"extproc: {why}")
    try:
        return input(f"\n{question} [Y/n] ").strip().lower() in ("", "y", "yes")
    except EOFError:
        return False


def _done(command: list[str]) -> bool:
    try:
        return subprocess.run(command, check=False).returncode == 0
    except OSError as error:
        print(f"extproc: {command[0]}: {error.strerror}", file=sys.stderr)
        return False
