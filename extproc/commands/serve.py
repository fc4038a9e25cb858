"""``extproc serve``: the ext_proc server that Envoy calls; ``extproc health`` asks it."""

from __future__ import annotations

import argparse
import os
import sys

from .. import settings
from .base import Command, UsageError


def arguments(parser: argparse.ArgumentParser) -> None:
    settings.add_arguments(parser)
    parser.add_argument(
        "--print-config", action="store_true", help="print the settings that hold, and where each comes from, and end"
    )
    parser.set_defaults(run=_serve)


SERVE = Command(
    "serve",
    "run the ext_proc server that Envoy calls",
    arguments,
    [
        "extproc serve",
        "extproc serve --listen unix:/run/extproc.sock --admin 127.0.0.1:9902",
        "extproc serve --config extproc-settings.yaml --print-config",
    ],
    ["0 ended by a signal, every stream finished", "2 a setting is wrong, or an address is taken"],
)


def _serve(args: argparse.Namespace) -> int:
    from ..capabilities import CapabilityError
    from ..server.serving import serve

    flags = settings.given(args)
    try:
        if args.print_config:
            print(settings.printed(flags, os.environ), end="")
            return 0
        return serve(settings.load(flags, os.environ), lambda: settings.load(flags, os.environ))
    except (settings.SettingError, CapabilityError, OSError) as error:
        step = "; `extproc health ADDRESS` asks whoever has it, --listen takes another" if _in_use(error) else ""
        raise UsageError(f"{error}{step}") from None


def _in_use(error: Exception) -> bool:
    return "in use" in str(error).lower()


def _health_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Status 0 if every address serves; without addresses, if all those of one worker do (EXTPROC_WORKERS)."
    )
    parser.add_argument("address", nargs="*", help="host:port or unix:/path; left out: EXTPROC_LISTEN, or its default")
    parser.add_argument("--timeout", type=float, default=3.0, metavar="SECONDS", help="for each address (%(default)s)")
    parser.set_defaults(run=_health)


HEALTH = Command(
    "health",
    "ask a running server whether it serves; status 0 or 1",
    _health_arguments,
    ["extproc health 127.0.0.1:50051"],
    ["0 it serves", "1 it does not", "2 wrong usage or configuration"],
)


def _health(args: argparse.Namespace) -> int:
    from ..server import health

    try:
        asked = [args.address] if args.address else _plain(settings.load({}, os.environ))
    except settings.SettingError as error:
        raise UsageError(str(error)) from None
    said = {address: health.check(address, args.timeout) for addresses in asked for address in addresses}
    for address, word in said.items():
        print(f"{address} {word}")
        if word.startswith("UNAVAILABLE"):
            print(f"extproc: `extproc serve --listen {address}` starts one; what runs says in its log why not",
                  file=sys.stderr)  # fmt: skip
    return 0 if any(all(said[address] == "SERVING" for address in addresses) for addresses in asked) else 1


def _plain(found: settings.Settings) -> list[list[str]]:
    """The addresses of each worker; with TLS its Unix sockets, which have none. Raises SettingError."""
    from ..server.addresses import spread

    asked = spread(found)
    if not found.wants_tls:
        return asked
    sockets = [[address for address in addresses if address.startswith("unix:")] for addresses in asked]
    if not all(sockets):
        raise settings.SettingError(
            "EXTPROC_TLS_CERT: the addresses speak TLS, of which this command knows nothing: add a unix:/path to "
            "EXTPROC_LISTEN, or ask /readyz of EXTPROC_ADMIN"
        )
    return sockets
