"""``extproc conformance``: what becomes of each feature, here or in any gateway."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from functools import partial

from ..conformance import alone, report, table
from ..conformance.features import BY_NAME
from ..conformance.sides import MODELS
from .base import LINES, Command, UsageError, counted, plain


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Says what becomes of each feature between each client's API and each upstream's. Without a URL: in this "
        "program's own translation. With one: in the gateway that listens there, and that has the scripted upstream at "
        "--listen behind it for the models that are named. Status 1 if a feature is lost in silence, or an answer is "
        "broken."
    )
    parser.add_argument(
        "url", nargs="?", metavar="URL", help="the gateway; {upstream} in it becomes the upstream's API"
    )
    parser.add_argument("--client", action="append", choices=table.APIS, help="one API of clients; may be repeated")
    parser.add_argument("--upstream", action="append", choices=table.APIS, help="one API of upstreams; may be repeated")
    parser.add_argument("--feature", action="append", choices=tuple(BY_NAME), metavar="NAME", help="one feature")
    parser.add_argument(
        "--model", action="append", default=[], metavar="UPSTREAM=NAME",
        help="the model by which the gateway knows that upstream, in place of: "
        + ", ".join(f"{name}={' and '.join(dict.fromkeys(models))}" for name, models in MODELS.items()),
    )  # fmt: skip
    parser.add_argument(
        "--listen", default="127.0.0.1:9911", metavar="HOST:PORT", help="the scripted upstream (%(default)s)"
    )
    parser.add_argument("--real", metavar="MODEL", help="no scripted upstream: what really answers for MODEL is asked")
    parser.add_argument("--key", default="conformance", help="the credential that clients send")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="(%(default)s)")
    parser.set_defaults(run=_conformance)


COMMAND = Command(
    "conformance",
    "what becomes of each feature between each two APIs, here or in any gateway",
    arguments,
    [
        "extproc conformance",
        "extproc conformance --client anthropic_messages --upstream gemini",
        "extproc conformance http://127.0.0.1:10000 --listen 127.0.0.1:9911",
        "extproc conformance http://127.0.0.1:10000 --real my-model",
    ],
    [
        "0 nothing is lost in silence, no answer is broken",
        "1 something is, or no gateway answers",
        "2 wrong usage, or --listen cannot be had",
    ],
)


def _conformance(args: argparse.Namespace) -> int:
    from ..conformance.live import Live, ScriptedUpstream

    clients, upstreams = args.client or table.APIS, args.upstream or table.APIS
    if args.real and not args.url:
        raise UsageError("--real needs the URL of a gateway")
    if args.real:
        gateway = partial(Live, args.url, key=args.key)
        found = [table.Cell(c, "real", name, finding) for c, name, finding in alone.rows(gateway, clients, args.real)]
        return _told(found, args.format)
    judged = partial(table.rows, clients=clients, upstreams=upstreams, features=args.feature or BY_NAME)
    if not args.url:
        return _told(judged(), args.format)
    host, _, port = args.listen.rpartition(":")
    if not port.isdecimal():
        raise UsageError(f"--listen {args.listen}: expected HOST:PORT")
    upstream = ScriptedUpstream(host, int(port))
    try:
        upstream.start()
    except OSError as error:
        raise UsageError(f"--listen {args.listen}: {error.strerror}; --listen 127.0.0.1:0 takes a free port") from None
    with upstream:
        print(f"the scripted upstream listens on {host}:{upstream.port}", file=sys.stderr)
        gateway = partial(Live, args.url, upstream=upstream, key=args.key)
        return _told(judged(gateway, models=_models(args.model)), args.format)


def _models(pairs: list[str]) -> dict[str, tuple[str, str]]:
    """The models to ask for, by upstream."""
    models = dict(MODELS)
    for pair in pairs:
        upstream, found, model = pair.partition("=")
        if not found or upstream not in models:
            raise UsageError(f"--model {pair}: expected UPSTREAM=NAME, UPSTREAM one of {', '.join(models)}")
        models[upstream] = (model, model)
    return models


def _told(rows: Iterable[table.Cell], form: str) -> int:
    found = list(counted(rows, "features of pairs"))
    print(report.as_json(found) if form == "json" else plain(report.as_text(found), LINES))
    return 1 if report.faults(found) else 0
