"""``extproc tail``: exchanges as they happen, a line each."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from .base import Command, plain
from .watched import WAIT_SECONDS, AdminPort, NotShown, add_address, add_filters, is_wrong, named, token_of, wanted

PAUSE_SECONDS = 1.0
"""Between two looks at several ports, and before another try at one that does not answer."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Shows exchanges as they end, a line each, over all workers behind an admin port: time, route, pair, model, "
        "status, first token and all (ms), tokens in and out, the share of the cache, cost in USD, losses, attempt."
    )
    add_address(parser, several=True)
    add_filters(parser)
    parser.add_argument("-n", type=int, default=10, metavar="N", help="begin with the last N (%(default)s)")
    parser.add_argument("--once", action="store_true", help="show these, and end")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: a record a line")
    parser.set_defaults(run=_tail)


COMMAND = Command(
    "tail",
    "show exchanges as they happen",
    arguments,
    ["extproc tail", "extproc tail 127.0.0.1:9902 --error", "extproc tail --model 'gpt-*' --loss --format json"],
    ["0 with --once", "1 an admin port does not answer", "2 wrong usage", "130 ended by Ctrl-C"],
)
_COLUMNS = {
    "time": 12, "route": 14, "client > provider": 36, "model": 30, "status": 14, "first": 6, "all": 7, "in": 7,
    "out": 6, "cached": 6, "usd": 9, "lost": 4, "try": 3,
}  # fmt: skip


def _tail(args: argparse.Namespace) -> int:
    from ..demo.screen import Screen

    token = token_of(args)
    ports = [AdminPort(address, token) for address in args.address]
    screen = Screen(sys.stdout)
    if args.format == "text":
        screen.line(_row(list(_COLUMNS)), "dim")
    try:
        found = sorted((each for port in ports for each in port.news()), key=lambda record: record["ended_at"])
    except NotShown as why:
        print(f"extproc: {why}", file=sys.stderr)
        return 1
    _show(screen, args, list(wanted(args, found))[-args.n :] if args.n > 0 else [])
    said = ""
    while not args.once:
        for port in ports:
            try:
                _show(screen, args, list(wanted(args, port.news(WAIT_SECONDS if len(ports) == 1 else 0))))
                said = ""
            except NotShown as why:
                if said != str(why):
                    said = str(why)
                    print(f"extproc: {why}", file=sys.stderr)
                time.sleep(PAUSE_SECONDS)
        if len(ports) > 1:
            time.sleep(PAUSE_SECONDS)
    return 0


def _show(screen: Any, args: argparse.Namespace, records: list[dict[str, Any]]) -> None:
    for record in records:
        if args.format == "json":
            print(json.dumps(record), flush=True)
        else:
            screen.line(_row(cells(record)), "red" if is_wrong(record) else "yellow" if record["losses"] else "")


def cells(record: dict[str, Any]) -> list[str]:
    """What is told of an exchange, a cell each."""
    usage = record["usage"]
    read, asked = usage.get("cache_read_tokens"), usage.get("input_tokens")
    same = record["client"] == record["upstream"] or not record["upstream"]
    models = dict.fromkeys(filter(None, (record["model_asked"], record["model_sent"])))
    cost = record.get("cost_usd")
    first = record["first_token_ms"]
    return [
        record["time"][11:23],
        named(record),
        (record["client"] or record["path"]) if same else f"{record['client']} > {record['upstream']}",
        " > ".join(models),
        f"{record['status'] or '-'} {record['ending']}",
        "" if first is None else str(first),
        str(record["duration_ms"]),
        str(asked if asked is not None else ""),
        str(usage.get("output_tokens", "")),
        f"{100 * read / asked:.0f}%" if asked and read is not None else "",
        "" if cost is None else f"{cost:.6f}",
        str(len(record["losses"]) or ""),
        str(record["attempt"]) if (record["attempt"] or 0) > 1 else "",
    ]


def _row(values: list[str]) -> str:
    """*values* in columns; what a client or a provider says cannot write to the terminal what is no text."""
    row = []
    for value, width in zip(values, _COLUMNS.values(), strict=True):
        text = plain(value)
        row.append(f"{text[: width - 1]}~" if len(text) > width else text.ljust(width))
    return " ".join(row).rstrip()
