"""Where records of exchanges, metrics and spans go, by the settings, and what is known of prices for them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..costs.prices import PriceError, PriceTable, load
from ..credentials.secrets import Secret, Unresolvable, resolve
from ..settings import OF_SERVER, SettingError, Settings, patterns
from ..telemetry.files import Lines
from ..telemetry.kafka import NO_KAFKA, OWN, Topic
from ..telemetry.otlp import NO_OTLP, Observed, Pusher
from ..telemetry.outcome import Outcome
from ..telemetry.posts import Poster
from ..telemetry.record import line
from ..telemetry.sinks import MAX_BATCH, Entry, Full, QueuedSink

if TYPE_CHECKING:
    from ..tracing.otlp import SpanExporter

_PROPERTY = re.compile(r"[a-z0-9_.]+\Z")
_SECRET_PROPERTY = re.compile(r"password|secret|\.pem\Z|\.key\Z|oauthbearer\.config")


class ToFile:
    """Writes records to *lines*, one each."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._reopen = False

    def reopen_soon(self) -> None:
        """From any thread: have the file opened anew before what is written next."""
        self._reopen = True

    def close(self) -> None:
        """Behind the last call of ``write``."""
        self._lines.close()

    def write(self, batch: Sequence[Entry]) -> None:
        """One call of the file's for the whole *batch*. Raises OSError, and Full where a part of it is there."""
        if self._reopen:
            self._reopen = False
            self._lines.reopen()
        try:
            self._lines.write(b"".join(line(began, outcome) for began, outcome in batch))
        except OSError as error:
            raise Full(str(error), len(batch) - self._lines.written) from None


def sinks_of(settings: Settings, environ: Mapping[str, str] = os.environ) -> tuple[ToFile | None, list[QueuedSink]]:
    """The sinks that *settings* name, each with a thread that runs from now on. Raises OSError, SettingError."""
    made: list[QueuedSink] = []
    writers: list[tuple[str, Callable[[Sequence[Entry]], None], int]] = []
    to_file: ToFile | None = None
    if settings.records_http:
        writers.append(("http", _poster(settings, environ).write, settings.records_batch))
    if settings.records_kafka:
        writers.append(("kafka", _topic(settings, environ).write, max(settings.records_batch, MAX_BATCH)))
    if settings.records:
        to_file = ToFile(Lines(settings.records, settings.records_max_bytes, settings.records_kept))
        made.append(_queued(settings, "file", to_file.write, MAX_BATCH, to_file.close))
    return to_file, [*(_queued(settings, *each) for each in writers), *made]


def of_records(settings: Settings) -> list[object]:
    """What ``sinks_of`` makes its sinks of; never the same twice where a secret is in it, which may be another now."""
    values = [getattr(settings, each.name) for each in OF_SERVER if each.name.startswith("records")]
    return [object() if isinstance(value, str) and "${" in value else value for value in values]


def prices_of(settings: Settings) -> PriceTable:
    """What models cost. Raises SettingError."""
    try:
        return load(settings.prices or None)
    except PriceError as error:
        raise SettingError(f"--prices: {error}") from None


def pusher_of(settings: Settings, observed: Iterable[Observed]) -> Pusher | None:
    """What pushes metrics, by the settings. Raises SettingError."""
    if not settings.otlp_metrics:
        return None
    try:
        return Pusher(settings.otlp_metrics, patterns(settings.metrics_off), observed)
    except ModuleNotFoundError:
        raise SettingError(f"--otlp-metrics: {NO_OTLP}") from None


def exporter_of(settings: Settings) -> SpanExporter | None:
    """What exports spans, by the settings. Raises SettingError."""
    if not settings.otlp_traces:
        return None
    from ..tracing.otlp import SpanExporter

    try:
        return SpanExporter(settings.otlp_traces)
    except ModuleNotFoundError:
        raise SettingError(f"--otlp-traces: {NO_OTLP}") from None


def spans_to(exporter: SpanExporter, settings: Settings) -> QueuedSink:
    """The sink of *exporter*."""
    from ..tracing.spans import is_traced

    return QueuedSink(
        "traces", exporter.write, settings.records_queued, max_bytes=settings.records_queued_bytes, wants=is_traced
    )


def _queued(
    settings: Settings,
    name: str,
    write: Callable[[Sequence[Entry]], None],
    batch: int,
    finish: Callable[[], None] | None = None,
) -> QueuedSink:
    most, most_bytes = settings.records_queued, settings.records_queued_bytes
    return QueuedSink(name, write, most, max_bytes=most_bytes, batch=batch, wants=_is_logged, finish=finish)


def _is_logged(outcome: Outcome) -> bool:
    return outcome.logged


def _poster(settings: Settings, environ: Mapping[str, str]) -> Poster:
    if not settings.records_http_auth:
        return Poster(settings.records_http, dict)
    token = secret("--records-http-auth", settings.records_http_auth, environ)
    return Poster(settings.records_http, lambda: {"authorization": token.reveal()})


def _topic(settings: Settings, environ: Mapping[str, str]) -> Topic:
    if not settings.records_kafka_topic:
        raise SettingError("--records-kafka-topic: say which topic")
    options = _options(settings.records_kafka_options, environ)
    try:
        return Topic(
            settings.records_kafka, settings.records_kafka_topic, settings.records_kafka_key, settings.records_batch,
            options,
        )  # fmt: skip
    except ModuleNotFoundError:
        raise SettingError(f"--records-kafka: {NO_KAFKA}") from None
    except ValueError as error:
        raise SettingError(f"--records-kafka-options: {error}") from None


def _options(text: str, environ: Mapping[str, str]) -> dict[str, str]:
    """``name=value``, separated by commas, with the secrets that they refer to. Raises SettingError."""
    made: dict[str, str] = {}
    for pair in filter(None, (each.strip() for each in text.split(","))):
        name, equals, value = pair.partition("=")
        if not equals or not _PROPERTY.match(name):
            raise SettingError("--records-kafka-options: expected name=value, separated by commas")
        if name in OWN:
            raise SettingError(f"--records-kafka-options: {name} is said by another setting")
        where = f"--records-kafka-options: {name}"
        needs = _SECRET_PROPERTY.search(name) is not None
        made[name] = secret(where, value, environ).reveal() if needs or "${" in value else value
    return made


def secret(where: str, text: str, environ: Mapping[str, str]) -> Secret:
    """What *text*, the setting *where*, refers to. A flag is seen by everybody on the machine: a secret must not stand
    there itself. Raises SettingError."""
    if "${" not in text:
        raise SettingError(f"{where}: refer to the secret by ${{NAME}} of an environment variable or ${{file:/path}}")
    try:
        return resolve(text, environ)
    except Unresolvable as error:
        raise SettingError(f"{where}: {error}") from None
