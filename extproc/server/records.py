"""Where the records of exchanges go, by the settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..settings import Settings
from ..telemetry.files import Lines
from ..telemetry.outcome import Outcome
from ..telemetry.record import line
from ..telemetry.sinks import MAX_BATCH, Entry, QueuedSink


class ToFile:
    """Writes records to *lines*, one each."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._reopen = False

    def reopen_soon(self) -> None:
        """From any thread: have the file opened anew before what is written next."""
        self._reopen = True

    def write(self, batch: Sequence[Entry]) -> None:
        """One call of the file's for the whole *batch*. Raises OSError."""
        if self._reopen:
            self._reopen = False
            self._lines.reopen()
        self._lines.write(b"".join(line(began, outcome) for began, outcome in batch))


def sinks_of(settings: Settings) -> tuple[ToFile | None, list[QueuedSink]]:
    """The sinks that *settings* name, each with a thread that runs from now on. Raises OSError."""
    if not settings.records:
        return None, []
    to_file = ToFile(Lines(settings.records, settings.records_max_bytes, settings.records_kept))
    return to_file, [_queued("file", settings, to_file.write)]


def _queued(
    name: str, settings: Settings, write: Callable[[Sequence[Entry]], None], batch: int = MAX_BATCH
) -> QueuedSink:
    return QueuedSink(
        name, write, settings.records_queued, max_bytes=settings.records_queued_bytes, batch=batch, wants=_is_logged
    )


def _is_logged(outcome: Outcome) -> bool:
    return outcome.logged
