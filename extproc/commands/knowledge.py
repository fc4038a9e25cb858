"""``extproc dialects | models | settings``: what this program knows, as tables."""

from __future__ import annotations

import argparse

from .. import capabilities, dialects, settings
from ..costs import prices
from ..dialects.base import AsksForVectors, ClientCall, GivesVectors, Upstream
from ..llm.failures import ProtocolError, Unsupported
from ..llm.losses import LossReport
from ..llm.request import Message, Request
from ..providers import PROVIDERS
from .base import Command, UsageError, table


def _dialects_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_dialects)


DIALECTS = Command(
    "dialects", "which API can be translated to which, and who speaks it", _dialects_arguments, ["extproc dialects"]
)


def _dialects(args: argparse.Namespace) -> int:
    names = list(dialects.REGISTRY)
    rows = [["client \\ upstream", *names]]
    rows += [[client, *(_direction(client, upstream) for upstream in names)] for client in names]
    print(table(rows))
    print("\nresponses: the request's side of that pair is not translated yet\n")
    offers = [["provider", "dialect", "path", "max tokens as", "chosen"]]
    for row in PROVIDERS.values():
        for dialect, endpoint in row.dialects.items():
            chosen = "by `upstream` only" if endpoint.explicit else ""
            offers.append([row.name, dialect, endpoint.path, endpoint.max_tokens or "", chosen])
    print(table(offers))
    return 0


def _models_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="*", help="names in any spelling; left out: every row")
    parser.add_argument("--capabilities", default="", metavar="FILE", help="rows that go over those that are built in")
    parser.add_argument("--prices", default="", metavar="FILE", help="prices that go over those that are built in")
    parser.add_argument("--provider", default="", help="as this provider serves it")
    parser.set_defaults(run=_models)


MODELS = Command(
    "models",
    "what each model can do and costs, where that is known from, and when it ends",
    _models_arguments,
    ["extproc models claude-haiku-4-5 gpt-5.4-mini"],
)


def _models(args: argparse.Namespace) -> int:
    try:
        known = capabilities.load(args.capabilities or None)
        priced = prices.load(args.prices or None)
    except (capabilities.CapabilityError, prices.PriceError) as error:
        raise UsageError(str(error)) from None
    rows = [["model", "row", "ends", "source", "seen", "USD for a million tokens", "can"]]
    for name in args.model or known.rows:
        prefix = name if not args.model else known.prefix(name)
        row = known.rows[prefix] if prefix is not None else capabilities.Row()
        seen = known.seen(prefix) if prefix is not None else None
        can = capabilities.told(known.find(args.provider, name))
        price = priced.find(args.provider, name)
        cost = prices.told(price) if price is not None else "-"
        about = (str(row.ends or "-"), row.source or "-", str(seen or "-"))
        rows.append([name, prefix or "-", *about, cost, can or "anything"])
    print(table(rows))
    return 0


def _direction(client: str, upstream: str) -> str:
    if client == upstream:
        return "passes"
    if isinstance(dialects.get(client), AsksForVectors) and isinstance(dialects.get(upstream), GivesVectors):
        return "translates"
    if not (dialects.get(client).converses and dialects.get(upstream).converses):
        return "-"
    return "translates" if _reads_requests(client) and _writes_requests(upstream) else "responses"


def _reads_requests(name: str) -> bool:
    """Asked of the dialect itself, so that this can never be out of date."""
    try:
        dialects.get(name).parse_request(ClientCall("POST", "", [], b"{}"), LossReport())
    except ProtocolError:
        return True
    except Unsupported:
        return False
    return True


def _writes_requests(name: str) -> bool:
    request = Request(dialect=name, model="m", messages=[Message("user", "hi")])
    try:
        dialects.get(name).emit_request(request, Upstream("", ""), LossReport())
    except Unsupported:
        return False
    return True


def _settings_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_settings)


SETTINGS = Command(
    "settings", "the flags and environment variables of serve", _settings_arguments, ["extproc settings"]
)


def _settings(args: argparse.Namespace) -> int:
    print(table([[item.flag, item.variable, settings.shown(item), item.about] for item in settings.ALL]))
    return 0
