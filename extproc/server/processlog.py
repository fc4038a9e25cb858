"""The process's own log: lines for people, or JSON for machines, on standard error."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from ..telemetry.record import stamp


def handler(form: str, who: str = "") -> logging.Handler:
    """What writes log records to standard error in the format *form*, one of ``LOG_FORMATS``. *who* says which process
    it is, where there are several."""
    made = logging.StreamHandler()
    console = logging.Formatter(f"%(asctime)s {f'{who} ' if who else ''}%(levelname)s %(name)s: %(message)s")
    made.setFormatter(AsJson(who) if form == "json" else console)
    return made


def set_level(name: str) -> None:
    """What is logged, of ``LOG_LEVELS``. The libraries beneath never say more than ``info``: their words at ``debug``
    are of bytes, and of what is signed."""
    level = name.upper()
    logging.getLogger().setLevel("INFO" if level == "DEBUG" else level)
    logging.getLogger("extproc").setLevel(level)


class AsJson(logging.Formatter):
    """One object a line: ``time``, ``level``, ``logger``, ``message``; ``process`` and ``exception`` where known."""

    def __init__(self, who: str = "") -> None:
        super().__init__()
        self._who = who

    def format(self, record: logging.LogRecord) -> str:
        made: dict[str, Any] = {
            "time": stamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._who:
            made["process"] = self._who
        if record.exc_info:
            made["exception"] = self.formatException(record.exc_info)
        # Half of a surrogate pair is no UTF-8.
        return msgspec.json.encode({name: _told(text) for name, text in made.items()}).decode()


def _told(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
