"""A capture as a file: JSON, which an editor shows and a report can hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from .again import Captured
from .redaction import redacted

FORMAT = 1
"""Raised when a reader of the one before could not read it."""


class NoCapture(Exception):
    """The file is none; the message says why."""


class Capture(msgspec.Struct):
    """What a file holds. ``extproc`` is the version that made it."""

    extproc: str
    exchanges: list[dict[str, Any]]
    redacted: bool
    format: int = FORMAT


def made_of(exchanges: Iterable[Captured], version: str, *, readable: bool = False) -> bytes:
    """The file of *exchanges*; *readable* with what was said."""
    kept = [dict(each) if readable else redacted(each) for each in exchanges]
    return msgspec.json.format(msgspec.json.encode(Capture(version, kept, not readable)), indent=1) + b"\n"


def read(data: bytes) -> Capture:
    """The capture that a file's *data* is; what ``/exchanges/ID`` answers is one, too. Raises NoCapture."""
    try:
        found = msgspec.json.decode(data)
        if isinstance(found, dict) and "exchanges" not in found and "request_id" in found:
            return Capture("", [found], False)
        capture = msgspec.convert(found, Capture)
    except msgspec.ValidationError as error:
        raise NoCapture(f"it is no capture: {error}") from None
    except msgspec.DecodeError as error:
        raise NoCapture(f"it is no JSON: {error}") from None
    if capture.format != FORMAT:
        raise NoCapture(f"it has the format {capture.format}, this program reads {FORMAT}")
    return capture
