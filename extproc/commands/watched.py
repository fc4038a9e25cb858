"""What the commands share that look at exchanges on an admin port: where it is, its token, which are meant."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote

from ..credentials.secrets import Unresolvable, resolve
from ..wire import NoAnswer, ask, base_url
from .base import UsageError, plain

USUAL = "127.0.0.1:9902"
WAIT_SECONDS = 20
"""How long an admin port that is asked may wait for something to happen."""
_WRONG = ("failed", "refused", "cut", "cancelled")

Record = Mapping[str, Any]


class NotShown(Exception):
    """The admin port does not show it; the message says why."""


class AdminPort:
    """The one at *address*: ``host:port`` or a URL."""

    def __init__(self, address: str, token: str) -> None:
        self.url = base_url(address)
        self.cursor = ""
        self._headers = {"authorization": f"Bearer {token}"} if token else {}

    def news(self, wait: float = 0.0) -> list[dict[str, Any]]:
        """The exchanges that have ended since the last call, waited for so many seconds at most. Raises NotShown."""
        told = self._get(f"/exchanges?bodies=no&wait={wait:g}&cursor={quote(self.cursor, safe='')}")
        self.cursor = told["cursor"]
        found: list[dict[str, Any]] = told["exchanges"]
        return found

    def one(self, record: Record) -> dict[str, Any]:
        """All that is kept of it. Raises NotShown."""
        found: dict[str, Any] = self._get(f"/exchanges/{record['id']}")
        return found

    def _get(self, path: str) -> Any:
        try:
            seen = ask(self.url, path, headers=self._headers, seconds=WAIT_SECONDS + 10)
        except NoAnswer as error:
            raise NotShown(f"{self.url} does not answer: {error}; is that what extproc serve --admin says?") from None
        told = seen.json if seen.status == 200 else None
        if told is None:
            said = seen.body.decode("utf-8", "replace").strip()[:200]
            raise NotShown(plain(f"{self.url} answers {seen.status}: {said}"))
        return told


def add_address(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    where = f"the admin port, host:port; left out: EXTPROC_ADMIN, or {USUAL}"
    usual = os.environ.get("EXTPROC_ADMIN") or USUAL
    if several:
        more = f"{where}; several are followed together"
        parser.add_argument("address", nargs="*", default=[usual], metavar="ADDRESS", help=more)
    else:
        parser.add_argument("address", nargs="?", default=usual, metavar="ADDRESS", help=where)
    token = "the admin token, by reference: ${NAME} or ${file:/path}; left out: EXTPROC_ADMIN_TOKEN"
    parser.add_argument("--token", default="", metavar="REFERENCE", help=token)


def add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="PATTERN", help="those asked of this model; * stands for any characters")
    parser.add_argument("--route", metavar="PATTERN", help="those of this route, or of this provider")
    parser.add_argument("--error", action="store_true", help="those that ended with an error")
    parser.add_argument("--loss", action="store_true", help="those that lost something")


def token_of(args: argparse.Namespace) -> str:
    """Raises UsageError."""
    given = args.token or os.environ.get("EXTPROC_ADMIN_TOKEN", "")
    if not given:
        return ""
    if "${" not in given:
        raise UsageError("--token: refer to it by ${NAME} of an environment variable or ${file:/path}")
    try:
        return resolve(given, os.environ).reveal()
    except Unresolvable as error:
        raise UsageError(f"--token: {error}") from None


def is_wrong(record: Record) -> bool:
    return record["ending"] in _WRONG or record["status"] >= 400 or bool(record["error"])


def named(record: Record) -> str:
    """The route's name, or whose it is."""
    return str(record.get("route") or record.get("provider") or "")


def wanted(args: argparse.Namespace, records: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Those of *records* that the filters leave, without the routers that stand beside a translator."""
    translated = {record["request_id"] for record in records if record["upstream"]}
    for record in records:
        aside = record["role"] == "router" and not record["upstream"]
        if (
            not (aside and (record["request_id"] in translated or not is_wrong(record)))
            and (args.model is None or fnmatchcase(record["model_asked"], args.model))
            and (args.route is None or fnmatchcase(named(record), args.route))
            and (not args.error or is_wrong(record))
            and (not args.loss or bool(record["losses"]))
        ):
            yield record
