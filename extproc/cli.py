"""The command line: ``extproc COMMAND``. Each command is a module in ``extproc/commands/``.

Exit status: 0 done; 1 it was done and the outcome is bad (a refusal, a server that does not serve, an error found); 2
wrong usage or configuration; 130 ended by Ctrl-C. ``extproc COMMAND --help`` has each command's own.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from . import commands, dialects
from .commands import launch
from .commands.base import Command, UsageError
from .commands.version import version
from .route import RouteError

ABOUT = "Translates between LLM APIs: beside Envoy (run, serve), or on the command line (translate)."
STATUSES = """exit status:
  0 done; 1 done, and the outcome is bad; 2 wrong usage or configuration; 130 ended by Ctrl-C
  extproc COMMAND --help has examples, and what each status of it means"""


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    args = parsed(sys.argv[1:] if argv is None else argv)
    run: Callable[[argparse.Namespace], int] = args.run
    try:
        status = run(args)
        sys.stdout.flush()
        return status
    except (UsageError, RouteError, dialects.UnknownDialect) as error:
        print(f"extproc: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Who reads the output has seen enough. The interpreter's own flush at exit must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """The command line. Files may also stand behind flags, where argparse has closed an empty list of them; what is a
    client's own, ``launch`` tells apart itself."""
    made = parser()
    if not argv:
        made.print_help(sys.stderr)
        made.exit(2)
    own, passed_on = launch.split(argv) if argv[:1] == ["launch"] else (argv, [])
    args, left = made.parse_known_args(own)
    if left and (not hasattr(args, "files") or any(word.startswith("-") for word in left)):
        args.parser.error(f"unrecognized arguments: {' '.join(left)}")
    if left:
        args.files = [*args.files, *left]
    args.passed_on = passed_on
    return args


def parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    made = _Parser(prog="extproc", description=ABOUT, epilog=STATUSES, formatter_class=_Help)
    made.add_argument("--version", action="version", version=f"extproc {version()}")
    found = made.add_subparsers(required=True, metavar="COMMAND")
    for command in commands.ALL:
        one = found.add_parser(command.name, help=command.help, epilog=_epilog(command), formatter_class=_Help)
        one.set_defaults(parser=one)
        command.arguments(one)
    return made


class _Parser(argparse.ArgumentParser):
    """Says, with what is wrong, where right lines stand."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: error: {message}\n`{self.prog} --help` says more, with examples\n")


class _Help(argparse.HelpFormatter):
    """Wraps what is a sentence, and leaves the lines of what has lines: they are there to be pasted."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


def _epilog(command: Command) -> str:
    examples = "".join(f"\n  {line}" for line in command.examples)
    return f"examples:{examples}\n\nexit status:" + "".join(f"\n  {line}" for line in command.statuses)
