"""``extproc capture``, ``explain``, ``replay`` and ``diff``: a bug report is a file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec

from .base import Command, UsageError, opened, plain, table
from .watched import WAIT_SECONDS, AdminPort, NotShown, add_address, add_filters, named, token_of, wanted

MAX_VALUE = 60
"""Characters of a value that are shown."""
WHY = {
    "moved": "the provider's API has it there",
    "rewritten": "the provider's API says it so",
    "dropped": "this provider or model does not take it",
    "clamped": "brought into the provider's range",
    "emulated": "done by other means",
    "downgraded": "weakened to what the model can do",
    "filtered": "reduced to the allowed part",
    "synthesized": "the provider demands it",
    "continued": "the provider demands another turn",
    "replaced": "the route sets it",
    "unused": "nothing of the provider's request depends on it",
    "added": "by the gateway, or by the route",
}
"""What is said of a member where the translation gives no reason of its own."""
_STATUSES = ["0 done", "1 no such exchange, or the admin port does not answer", "2 wrong usage"]


def _capture_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Writes exchanges to a file, as the sidecar saw them on both sides, streams with their timing. Without "
        "--readable no letter stays of what people and models said, while it still translates as it did; keys are "
        "never there. The route must say `logging: {payloads: true}`."
    )
    add_address(parser)
    add_filters(parser)
    parser.add_argument("--request-id", metavar="ID", help="those of this request: all its attempts")
    parser.add_argument("--last", type=int, default=1, metavar="N", help="the last N that ended (%(default)s)")
    parser.add_argument("--next", type=int, metavar="N", help="the next N, as they end; Ctrl-C takes what has come")
    parser.add_argument("--readable", action="store_true", help="with what was said")
    parser.add_argument("--output", metavar="FILE", help="left out: standard output")
    parser.set_defaults(run=_capture)


def _capture(args: argparse.Namespace) -> int:
    from ..captures.files import made_of
    from ..version import version

    port = AdminPort(args.address, token_of(args))
    found: list[dict[str, Any]] = []
    try:
        before = _meant(args, port.news())
        if args.next is None:
            found = [port.one(record) for record in (before if args.request_id else before[-args.last :])]
        try:
            while args.next is not None and len(found) < args.next:
                # At once: what the ring has now it may not have for long.
                found += [port.one(record) for record in _meant(args, port.news(WAIT_SECONDS))]
        except KeyboardInterrupt:
            pass
    except NotShown as why:
        print(f"extproc: {why}", file=sys.stderr)
        return 1
    if not found:
        print("extproc: no such exchange is kept: --recent-exchanges of the sidecar are", file=sys.stderr)
        return 1
    data = made_of(found[: args.next], version(), readable=args.readable)
    if args.output is None:
        sys.stdout.buffer.write(data)
        return 0
    try:
        Path(args.output).write_bytes(data)
    except OSError as error:
        raise UsageError(f"{args.output}: {error.strerror}") from None
    for each in found[: args.next]:
        bodies = "" if "payloads" in each else ", without bodies: its route does not say `logging: {payloads: true}`"
        print(plain(f"{each['request_id']}: {_heading(each)}{bodies}"), file=sys.stderr)
    return 0


def _meant(args: argparse.Namespace, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in wanted(args, records) if args.request_id in (None, each["request_id"])]


CAPTURE = Command(
    "capture",
    "write an exchange to a file, for a report",
    _capture_arguments,
    ["extproc capture --output bug.json", "extproc capture --error --last 3 --output bugs.json",
     "extproc capture --next 1 --model 'claude-*' --readable"],
    _STATUSES,
)  # fmt: skip


def _explain_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Says what became of each member of a captured request, and why."
    parser.add_argument("file", metavar="FILE", help="what extproc capture wrote; - is standard input")
    parser.set_defaults(run=_explain)


def _explain(args: argparse.Namespace) -> int:
    from ..captures.again import NotAgain
    from ..captures.members import explained

    status = 0
    for exchange in _read(args.file).exchanges:
        _say(f"{exchange['request_id']}  {_heading(exchange)}")
        asked = exchange.get("payloads", {}).get("client", {}).get("request", {}).get("body")
        try:
            fates = explained(exchange)
        except NotAgain as why:
            _say(f"  {why}")
            status = 1
            continue
        rows = [["  member", "became", "how", "value", "why"]]
        rows += [
            [f"  {f.path}", ", ".join(f.became), f.how, _value(asked, f.path), f.why or WHY.get(f.how, "")]
            for f in fates
        ]
        print(table(rows))
    return status


EXPLAIN = Command(
    "explain",
    "say what became of each member of a captured request",
    _explain_arguments,
    ["extproc explain bug.json", "extproc capture | extproc explain -"],
    ["0 told", "1 of an exchange it cannot be told: it says why", "2 the file is no capture"],
)


def _replay_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Has the code that is installed here translate captured exchanges again, the request and the provider's "
        "answer, and shows where that differs from what came of it then. Nobody is asked."
    )
    parser.add_argument("file", metavar="FILE", help="what extproc capture wrote; - is standard input")
    parser.set_defaults(run=_replay)


def _replay(args: argparse.Namespace) -> int:
    from ..captures.again import NotAgain, left_out
    from ..captures.differences import replayed

    capture = _read(args.file)
    status = 0
    for exchange in capture.exchanges:
        _say(f"{exchange['request_id']}  {_heading(exchange)}")
        for name in left_out(exchange):
            _say(f"  the policy {name} had a part in it, and has none here")
        try:
            for what, differs in replayed(exchange, redacted=capture.redacted):
                _say(f"  {what}: {'differs' if differs else 'the same'}", *(f"    {line}" for line in differs))
                status = max(status, bool(differs))
        except NotAgain as why:
            _say(f"  {why}")
            status = 1
    return status


REPLAY = Command(
    "replay",
    "translate a captured exchange again, and compare",
    _replay_arguments,
    ["extproc replay bug.json"],
    ["0 the same came of it", "1 something else, or it cannot be translated again", "2 the file is no capture"],
)


def _diff_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Shows where two captures differ, exchange by exchange: what is known of them, and each body."
    parser.add_argument("one", metavar="A", help="what extproc capture wrote")
    parser.add_argument("other", metavar="B", help="another of its files, such as a later one")
    parser.set_defaults(run=_diff)


def _diff(args: argparse.Namespace) -> int:
    from ..captures.differences import between

    one, other = _read(args.one), _read(args.other)
    status = 0
    if len(one.exchanges) != len(other.exchanges):
        print(f"{args.one} holds {len(one.exchanges)} exchanges, {args.other} {len(other.exchanges)}")
        status = 1
    for ours, theirs in zip(one.exchanges, other.exchanges, strict=False):
        _say(f"{ours['request_id']}  {theirs['request_id']}")
        for what, differs in between(ours, theirs):
            if differs:
                _say(f"  {what}: differs", *(f"    {line}" for line in differs))
                status = 1
    return status


DIFF = Command(
    "diff",
    "show where two captures differ",
    _diff_arguments,
    ["extproc diff before.json after.json"],
    ["0 they do not", "1 they do", "2 a file is no capture"],
)


def _read(file: str) -> Any:
    """The capture. Raises UsageError."""
    from ..captures.files import NoCapture, read

    with opened(file) as source:
        data = source.read()
    try:
        return read(data)
    except NoCapture as why:
        raise UsageError(f"{file}: {why}") from None


def _heading(exchange: dict[str, Any]) -> str:
    pair = " > ".join(dict.fromkeys(filter(None, (exchange["client"], exchange["upstream"]))))
    return f"{pair}  {exchange['model_asked']}  {named(exchange)}  {exchange['status']} {exchange['ending']}"


def _value(body: Any, path: str) -> str:
    """The member at *path*, in short."""
    value = body
    for key in path.replace("[", ".[").split("."):
        if key.startswith("[") and isinstance(value, list):
            value = value[int(key[1:-1])] if int(key[1:-1]) < len(value) else None
        else:
            value = value.get(key) if isinstance(value, dict) else None
    text = "" if value is None else msgspec.json.encode(value).decode()
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}..."


def _say(*lines: str) -> None:
    """Lines that hold what a capture holds, which may be a stranger's."""
    for line in lines:
        print(plain(line))
