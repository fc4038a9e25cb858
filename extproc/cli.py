"""The command line: ``extproc COMMAND``. Each command is a module in ``extproc/commands/``.

Exit status: 0 done; 1 it was done and the outcome is bad (a refusal, a server that does not serve, an error found); 2
wrong usage or configuration; 130 ended by Ctrl-C. ``extproc COMMAND --help`` has each command's own.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from . import commands
from .commands.base import LINES, Command, UsageError, plain

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
    except BrokenPipeError:
        # Who reads the output has seen enough. The interpreter's own flush at exit must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except _mistakes() as error:
        print(f"extproc: {plain(str(error), LINES)}", file=sys.stderr)
        return 2


def _mistakes() -> tuple[type[Exception], ...]:
    """The user's mistakes, as the commands and the parts below them find them. Looked up where something was raised:
    few commands need those parts."""
    from .dialects import UnknownDialect
    from .route import RouteError

    return UsageError, UnknownDialect, RouteError


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """The command line. Files may also stand behind flags, where argparse has closed an empty list of them; what is a
    client's own, ``launch`` tells apart itself."""
    made = parser(argv[:1] if argv and argv[0] in commands.NAMES else commands.NAMES)
    if not argv:
        made.print_help(sys.stderr)
        made.exit(2)
    own: Sequence[str] = argv
    passed_on: list[str] = []
    if argv[0] == "launch":
        from .commands.launch import split

        own, passed_on = split(argv)
    args, left = made.parse_known_args(own)
    if left and (not hasattr(args, "files") or any(word.startswith("-") for word in left)):
        args.parser.error(f"unrecognized arguments: {' '.join(left)}")
    if left:
        args.files = [*args.files, *left]
    args.passed_on = passed_on
    return args


def parser(names: Iterable[str] = commands.NAMES) -> argparse.ArgumentParser:
    """The parser of the commands *names*: of all of them, if none of them is meant yet."""
    made = _Parser(prog="extproc", description=ABOUT, epilog=STATUSES, formatter_class=_Help)
    made.add_argument("--version", action=_Version, nargs=0, help="show the version and end")
    found = made.add_subparsers(required=True, metavar="COMMAND")
    for command in map(commands.get, names):
        one = found.add_parser(command.name, help=command.help, epilog=_epilog(command), formatter_class=_Help)
        one.set_defaults(parser=one)
        command.arguments(one)
    return made


class _Parser(argparse.ArgumentParser):
    """Says, with what is wrong, where right lines stand."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: error: {message}\n`{self.prog} --help` says more, with examples\n")


class _Version(argparse.Action):
    """Looks for the version when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from .version import version

        print(f"extproc {version()}")
        parser.exit()


class _Help(argparse.HelpFormatter):
    """Wraps what is a sentence, and leaves the lines of what has lines: they are there to be pasted."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


def _epilog(command: Command) -> str:
    examples = "".join(f"\n  {line}" for line in command.examples)
    return f"examples:{examples}\n\nexit status:" + "".join(f"\n  {line}" for line in command.statuses)
