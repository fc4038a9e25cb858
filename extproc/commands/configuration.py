"""``extproc check`` and ``extproc import``: Envoy's configuration, judged or made."""

from __future__ import annotations

import argparse
import sys

from .base import Command, UsageError, opened, plain


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Says what is wrong with Envoy configurations that call the sidecar, what will happen to a user, and what to "
        "write instead. Status 1 if anything found is an error."
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="(%(default)s)")
    parser.add_argument(
        "--no-envoy", action="store_true",
        help="do not also run `envoy --mode validate`, which is done where there is an Envoy",
    )  # fmt: skip
    parser.add_argument(
        "files", nargs="+", metavar="FILE",
        help="a bootstrap (YAML, JSON), with the files of resources that it leaves out (LDS, RDS, CDS); Envoy's "
        "/config_dump; a ConfigMap that holds such files; EnvoyFilters",
    )  # fmt: skip
    parser.set_defaults(run=_check)


CHECK = Command(
    "check",
    "what is wrong with an Envoy configuration",
    _check_arguments,
    ["extproc check envoy.yaml"],
    ["0 no error was found", "1 errors were found", "2 a file cannot be read"],
)


def _check(args: argparse.Namespace) -> int:
    from ..check import main as check
    from ..demo.processes import envoy_binary

    try:
        envoy = None if args.no_envoy else envoy_binary()
    except FileNotFoundError:
        envoy = None
    return check(args.files, args.format, envoy)


def _import_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Writes the equivalent Envoy configuration to standard output, and what has no equivalent to standard error."
    )
    parser.add_argument(
        "source", choices=("apisix", "aigw", "litellm"),
        help="apisix: routes of the Admin API, of standalone or ADC files, or of its ingress controller; aigw: "
        "manifests of Envoy AI Gateway; litellm: the config.yaml of LiteLLM's proxy",
    )  # fmt: skip
    parser.add_argument(
        "--to", choices=("envoy", "extproc"), default="envoy",
        help="Envoy's configuration, or an extproc.yaml for `extproc run` (litellm only) (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--no-checks", action="store_true", help="leave all active health checks out")
    parser.add_argument("files", nargs="*", metavar="FILE", help="read together; standard input if left out")
    parser.set_defaults(run=_import)


IMPORT = Command(
    "import",
    "another gateway's routes as Envoy configuration",
    _import_arguments,
    [
        "extproc import apisix routes.json > envoy.yaml",
        "extproc import litellm --to extproc config.yaml > extproc.yaml",
    ],
    [
        "0 written; what needs your eye is on standard error",
        "2 a file cannot be read, or nothing in it is served",
    ],
)


def _import(args: argparse.Namespace) -> int:
    from ..importers import ImportFailed, convert

    files = []
    for name in args.files or [None]:
        with opened(name) as source:
            files.append(source.read())
    try:
        made = convert(args.source, *files, checks=not args.no_checks, to=args.to)
    except ImportFailed as error:
        raise UsageError(f"{', '.join(args.files) or 'standard input'}: {error}") from None
    print(made.yaml, end="")
    print("\n".join(map(plain, made.notes)), file=sys.stderr)
    return 0
