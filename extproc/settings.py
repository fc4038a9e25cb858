"""Every setting, once: name, type, default and one sentence. Flags, environment variables and docs derive from it.

A setting ``drain_seconds`` is the flag ``--drain-seconds``, the variable ``EXTPROC_DRAIN_SECONDS`` and the member
``drain_seconds`` of the file that ``--config`` names; a flag wins over a variable, a variable over the file.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import yaml

PREFIX = "EXTPROC_"
KIB = 1024
MIB = 1024 * 1024
FRACTIONS = ("ratio", "seconds")
"""Kinds of settings whose values may have digits behind a point."""
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("console", "json")
TRANSPORTS = ("grpcio", "h2")
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "ki": 1024, "mi": 1024**2, "gi": 1024**3}
_SIZE = re.compile(r"([0-9]+)\s*([kmg]i?)?b?", re.IGNORECASE)


LIVE, REPLACED, FIXED = "SIGHUP", "SIGUSR2", "restart"
"""What has a running server take another value: a signal, on which processes go on, or are replaced one by one; or its
next start."""
CONFIG = "EXTPROC_CONFIG"
"""The variable that names a file of settings, as ``--config`` does."""
MAX_FILE_BYTES = 64 * KIB
"""A file of settings is no larger than this."""


class SettingError(ValueError):
    """A setting has a value that it cannot have; the message names the flag, the variable, or the file's member."""


def _setting(default: Any, kind: str, about: str, taken: str = REPLACED) -> Any:
    return field(default=default, metadata={"kind": kind, "about": about, "taken": taken})


def _live(default: Any, kind: str, about: str) -> Any:
    return _setting(default, kind, about, LIVE)


def _fixed(default: Any, kind: str, about: str) -> Any:
    return _setting(default, kind, about, FIXED)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one exchange, which the core needs. What exceeds one ends in an error that names it."""

    max_request_bytes: int = _live(64 * MIB, "bytes", "The largest body of a request.")
    max_response_bytes: int = _live(64 * MIB, "bytes", "The largest body of an answer that is not a stream.")
    max_event_bytes: int = _live(16 * MIB, "bytes", "The largest event of a stream.")
    max_kept_bytes: int = _live(
        32 * MIB,
        "bytes",
        "What one stream may make us keep until its end, by an estimate: calls, thinking, citations, what waits for a "
        "call to end, and texts where the client's API repeats them. Text that passes on as it comes is not kept.",
    )
    max_told_bytes: int = _live(
        30 * MIB,
        "bytes",
        "The longest answer, a stream or not, that goes to a client from a filter in a cluster; what is longer ends as "
        "failed. Envoy crashes where its client does not read and more waits than the listener holds: 64 MiB as "
        "shipped, and of HTTP/1.1 two answers may wait. On a listener nothing bounds a stream.",
    )
    max_inflated_bytes: int = _live(64 * MIB, "bytes", "What a compressed request or answer may grow to.")
    max_wait_seconds: float = _live(
        30.0,
        "seconds",
        "How long one message of Envoy's may wait for other services, all of them together. Envoy is told to wait a "
        "second longer, which it does as far as the filter's `max_message_timeout` allows.",
    )
    max_decoded_bytes: int = _setting(
        320 * MIB,
        "bytes",
        "What one body, or one event of a stream, may take in memory while it is handled, by an estimate from its size "
        "and the number of its values: sixty million bytes of `[],` would take 1.6 GB.",
    )
    max_open_blocks: int = _live(128, "count", "How many blocks of one answer may be open at once.")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the server process needs to know. ``limits`` is filled from settings of its own names."""

    listen: str = _fixed(
        "127.0.0.1:50051",
        "addresses",
        "Where to listen: `host:port` (port 0: any free one) or `unix:/path`; several are separated by commas. "
        "The gRPC health service answers on each.",
    )
    workers: int = _fixed(
        1,
        "count",
        "How many processes serve, each on addresses of its own, made from those of `--listen`: port 50051 becomes "
        "50051, 50052 and so on, `unix:/run/x.sock` becomes `/run/x.0.sock`, `/run/x.1.sock` and so on. Envoy needs "
        "each as an endpoint. Every bound holds for each process.",
    )
    drain_seconds: float = _setting(30.0, "seconds", "After SIGTERM, how long streams may take to finish.")
    drain_delay_seconds: float = _setting(
        0.0, "seconds", "After SIGTERM, how long new streams are still taken while the health service says NOT_SERVING."
    )
    max_message_bytes: int = _setting(
        72 * MIB, "bytes", "The largest gRPC message from Envoy: a whole body with its headers and attributes."
    )
    max_held_bytes: int = _setting(
        96 * MIB,
        "bytes",
        "What all streams together may hold: messages that are not whole, messages that wait, answers that wait to be "
        "sent. A long message waits for room, for 5 seconds; then the client is told that the gateway is overloaded. "
        "With the bound on what one body may take, and 96 MiB for the program, it makes what a process needs at most, "
        "together with the one that answers its long bodies.",
    )
    long_body_bytes: int = _setting(
        2 * MIB,
        "bytes or 0",
        "Exchanges whose request is longer, or compressed, or of unknown length, are answered by a second process, "
        "started with the first of them: short ones do not wait for long ones then. 0: by this one. Of `h2` alone.",
    )
    max_carried_bytes: int = _setting(
        256 * MIB,
        "bytes",
        "What Envoy may hold of bodies above 1 MiB, for all streams together: twice their content-length while they "
        "come, then what is made of them, until the upstream answers; and six times the length of heads above 8 KiB "
        "whose bodies are still to come. The next clients who send such are told that the gateway is overloaded, "
        "before their bodies are read; one that alone is more, that it is too large.",
    )
    handover_bytes: int = _setting(
        32 * MIB,
        "bytes",
        "What the router's streams may keep of requests, for first attempts behind them that reach the same process: "
        "such a body is not carried twice. Where there is no more room, Envoy carries it.",
    )
    handover_seconds: float = _setting(
        0.0,
        "seconds",
        "How long such a body is of use; 0: none is kept. The clusters of upstreams need the filter `header_mutation` "
        "of `deploy/envoy.yaml` then, or upstreams that do without a content-length.",
    )
    max_concurrent_streams: int = _setting(
        16384, "count", "How many streams are served at once; the next ones are told that the gateway is overloaded."
    )
    max_connections: int = _setting(
        1024,
        "count",
        "How many connections the `h2` transport keeps open; for the next one an idle one gives way, and where none is "
        "idle it is closed at once. An Envoy opens one for each of its threads.",
    )
    transport: str = _setting(
        "h2",
        "transport",
        "How gRPC is spoken: `h2` is the lean HTTP/2 of this project; `grpcio` is gRPC's own library, which needs "
        "more CPU and speaks TLS.",
    )
    tls_cert: str = _setting(
        "",
        "path",
        "The certificate (PEM, with its chain) that the addresses `host:port` of the `grpcio` transport show; read "
        "anew when it changes. Empty: no TLS. Unix sockets have none.",
    )
    tls_key: str = _setting("", "path", "The certificate's private key (PEM).")
    tls_client_ca: str = _setting(
        "", "path", "Authorities (PEM), one of which must have signed the certificate of whoever connects: mutual TLS."
    )
    max_side_calls: int = _setting(
        512,
        "count",
        "How many calls to one service that policies ask are in flight at once, so that one that hangs leaves room for "
        "others; to all of them together four times as many. The next fail.",
    )
    max_side_call_bytes: int = _setting(8 * MIB, "bytes", "The largest answer of such a service.")
    tls_client_names: str = _setting(
        "",
        "patterns",
        "Whose certificates are taken, of those that the authorities signed: DNS names, URIs or common names, "
        "separated by commas, `*` for any characters. Empty: everybody's.",
    )
    admin: str = _fixed(
        "",
        "admin",
        "Where the live view (`GET /`), `/metrics` (Prometheus), `/healthz`, `/readyz`, `/exchanges` and `/config` are "
        "answered: `host:port`; empty: nowhere. Not for the outside: it names your models and providers.",
    )
    admin_token: str = _fixed(
        "",
        "secret",
        "What `/exchanges` and `/config` want as `authorization: Bearer ...`, by reference: `${ADMIN_TOKEN}` or "
        "`${file:/path}`. Empty: they answer who asks from this machine.",
    )
    recent_exchanges: int = _setting(200, "count", "How many exchanges each process keeps for `/exchanges`.")
    recent_bytes: int = _setting(
        8 * MIB, "bytes", "What the bodies of those may take, where routes say `logging: {payloads: true}`."
    )
    metrics_off: str = _setting(
        "",
        "patterns",
        "Metrics that are not kept, by their names on the page, separated by commas, `*` for any characters: "
        "`gen_ai_*` for those of OpenTelemetry's names.",
    )
    otlp_metrics: str = _setting(
        "",
        "otlp",
        "Where metrics are pushed to by OTLP: `http://host:4318` (or https) over HTTP, `grpc://host:4317` (or grpcs) "
        "over gRPC; empty: nowhere. Needs the extra `otlp`. `OTEL_*` say headers, certificates and intervals.",
    )
    otlp_traces: str = _setting(
        "",
        "otlp",
        "Where spans of exchanges are sent by OTLP, as for metrics: one of each, or of each attempt; empty: nowhere, "
        "and trace contexts pass as they come. Needs the extra `otlp`.",
    )
    trace_ratio: float = _setting(
        1.0,
        "ratio",
        "How many of the traces that begin here are sampled, 0 to 1; of others their own `traceparent` says it.",
    )
    secrets: str = _live(
        "",
        "patterns",
        "Which secrets routes may name: environment variables and files, separated by commas, `*` for any characters "
        "but `/`, as `OPENAI_API_KEY,/run/keys/*`. Empty: names that look like keys, and none where a route is an "
        "annotation of an HTTPRoute.",
    )
    capabilities: str = _live("", "path", "A file of model capabilities, laid over those that are built in.")
    prices: str = _live("", "path", "A file of what models' tokens cost, laid over the prices that are built in.")
    log_level: str = _live("info", "level", f"One of {', '.join(LOG_LEVELS)}.")
    log_format: str = _setting(
        "console", "format", f"The process's own log, on standard error: one of {', '.join(LOG_FORMATS)}."
    )
    records: str = _live(
        "",
        "path",
        "Where a line of JSON goes for each exchange whose route says `logging`: `stdout`, or a file, which is opened "
        "anew when it was moved, and on SIGUSR1; empty: nowhere. [observability.md](observability.md) shows one.",
    )
    records_max_bytes: int = _live(
        100 * MIB, "bytes", "At which size that file is rotated: to the same name with `.1`, what was `.1` to `.2`."
    )
    records_kept: int = _live(5, "count", "How many such files are kept.")
    records_http: str = _live(
        "",
        "url",
        "Where such records are posted, several at once, as a JSON array: `https://host/path` or `http://`; empty: "
        "nowhere.",
    )
    records_http_auth: str = _live(
        "",
        "secret",
        "The header `authorization` of those requests, with its secret by reference: `Bearer ${LOG_TOKEN}`, or "
        "`${file:/path}`.",
    )
    records_kafka: str = _live(
        "",
        "brokers",
        "Kafka's brokers, `host:port`, separated by commas, to which such records go; empty: nowhere. Needs the extra "
        "`kafka`.",
    )
    records_kafka_topic: str = _live("", "text", "Their topic.")
    records_kafka_key: str = _live("", "text", "The key of each, empty for none.")
    records_kafka_options: str = _live(
        "",
        "secret",
        "Properties of librdkafka, `name=value`, separated by commas, secrets by reference: "
        "`security.protocol=SASL_SSL,sasl.mechanism=SCRAM-SHA-512,sasl.username=x,sasl.password=${KAFKA_PASSWORD}`.",
    )
    records_batch: int = _live(100, "count", "How many records go into one request, or one batch of Kafka's, at most.")
    records_payload_bytes: int = _live(
        64 * KIB, "bytes", "What is logged of each body, where a route says `logging: {payloads: true}`."
    )
    records_queued: int = _live(
        10_000, "count", "How many exchanges wait to be logged; the next ones are dropped, and counted."
    )
    records_queued_bytes: int = _live(
        32 * MIB, "bytes", "What the bodies of those that wait take in memory, for each of the places they go to."
    )
    limits: Limits = Limits()

    @property
    def wants_tls(self) -> bool:
        """Whether any of the settings of TLS is there; ``server.tls`` says whether they make sense."""
        return bool(self.tls_cert or self.tls_key or self.tls_client_ca or self.tls_client_names)


class Setting(NamedTuple):
    """One setting as flags, environment and docs see it."""

    name: str
    kind: str
    default: Any
    about: str
    taken: str
    """What has a running server take another value: LIVE, REPLACED or FIXED."""

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    def parse(self, text: str, where: str) -> Any:
        """*text* as this setting's value. Raises SettingError, whose message begins with *where*."""
        try:
            return _PARSERS[self.kind](text.strip())
        except ValueError as error:
            raise SettingError(f"{where}: {error}") from None


def _settings_of(cls: type[Any]) -> list[Setting]:
    return [
        Setting(f.name, f.metadata["kind"], f.default, f.metadata["about"], f.metadata["taken"])
        for f in fields(cls)
        if "kind" in f.metadata
    ]


OF_LIMITS = tuple(_settings_of(Limits))
OF_SERVER = tuple(_settings_of(Settings))
ALL = OF_SERVER + OF_LIMITS


_BY_NAME = {setting.name: setting for setting in ALL}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A flag for every setting, and ``--config`` for a file of them."""
    parser.add_argument("--config", metavar="FILE", help=f"a YAML file of settings by their names [{CONFIG}]")
    for setting in ALL:
        help_text = f"{setting.about.replace('`', '')} [{setting.variable}, default {shown(setting)}]"
        parser.add_argument(setting.flag, metavar=setting.kind.upper(), help=help_text.replace("%", "%%"))


def given(arguments: argparse.Namespace) -> dict[str, str | None]:
    """What parsed flags say, by the settings' names; ``config`` is the file's."""
    return {name: getattr(arguments, name, None) for name in ("config", *_BY_NAME)}


def from_arguments(arguments: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings that parsed flags, *environ* and the file that they name make. Raises SettingError."""
    return load(given(arguments), environ)


def load(flags: Mapping[str, str | None], environ: Mapping[str, str]) -> Settings:
    """Settings from texts: *flags* by name, then *environ*, then the file that ``config`` of either names, then the
    default. An empty variable is as if not set. Raises SettingError."""
    return _parsed(_texts(flags, environ))


def _parsed(texts: Mapping[str, tuple[str, str]]) -> Settings:
    return _made({name: _BY_NAME[name].parse(text, where) for name, (text, where) in texts.items()})


def _made(values: Mapping[str, Any]) -> Settings:
    limits = Limits(**{item.name: values[item.name] for item in OF_LIMITS if item.name in values})
    return Settings(**{item.name: values[item.name] for item in OF_SERVER if item.name in values}, limits=limits)


def _texts(flags: Mapping[str, str | None], environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Of each setting that is given its text, and where that stands."""
    found: dict[str, tuple[str, str]] = {}
    if path := flags.get("config") or environ.get(CONFIG):
        found = {name: (text, f"{path}: {name}") for name, text in read_file(path).items()}
    for setting in ALL:
        if (text := flags.get(setting.name)) is not None:
            found[setting.name] = text, setting.flag
        elif text := environ.get(setting.variable):
            found[setting.name] = text, setting.variable
    return found


class _Texts(yaml.BaseLoader):
    """YAML whose scalars are the texts that stand there. No key twice: one of both would be for nothing."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        if twice := [name for name in names if names.count(name) > 1]:
            raise SettingError(f"{twice[0]!r} is given twice")
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: Any) -> Any:
        return "" if node.style is None and node.value in ("null", "Null", "NULL", "~") else node.value


def read_file(path: str) -> dict[str, str]:
    """The settings that the YAML file at *path* names, as texts; the parts of a list are separated by commas there.
    One that is empty is as if not there. Raises SettingError."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise SettingError(f"{path}: {error.strerror if isinstance(error, OSError) else 'no path'}") from None
    if len(data) > MAX_FILE_BYTES:
        raise SettingError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
    try:
        members = yaml.load(data, Loader=_Texts)
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        raise SettingError(f"{path}: not YAML{f' (line {mark.line + 1})' if mark else ''}") from None
    if not isinstance(members, dict):
        if not members:
            return {}
        raise SettingError(f"{path}: expected a mapping such as `log_level: debug`")
    return {name: text for name, value in members.items() if (text := _member(path, name, value))}


def _member(path: str, name: Any, value: Any) -> str:
    if name not in _BY_NAME:
        near = difflib.get_close_matches(str(name).replace("-", "_"), _BY_NAME, 1)
        meant = f"; did you mean {near[0]}?" if near else "; extproc serve --print-config names all"
        raise SettingError(f"{path}: {str(name)!r} is no setting{meant}")
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ",".join(value)
    if not isinstance(value, str):
        raise SettingError(f"{path}: {name}: expected one value, or a list of texts")
    return value


def printed(flags: Mapping[str, str | None], environ: Mapping[str, str]) -> str:
    """The settings that ``load`` makes, each with where it comes from: itself a file for ``--config``. Raises
    SettingError."""
    texts = _texts(flags, environ)
    values = as_values(_parsed(texts))
    lines = ["# Settings of extproc serve as they hold, and where each comes from. Also a file for --config."]
    for setting in ALL:
        where = texts[setting.name][1] if setting.name in texts else "default"
        text = spelled(setting, values[setting.name])
        written = text if _PLAIN.match(text) else json.dumps(text, ensure_ascii=False)
        lines.append(f"{setting.name}: {written}  # {where.removesuffix(f': {setting.name}')}")
    return "\n".join(lines) + "\n"


_PLAIN = re.compile(r"[A-Za-z0-9_./-][A-Za-z0-9_./:-]*(?<!:)\Z")
"""Texts that YAML takes for what they are, without quotes."""


def reloaded(
    now: Settings, wanted: Settings, signals: frozenset[str] = frozenset({LIVE})
) -> tuple[Settings, list[str]]:
    """*now* with what a running server takes of *wanted* on *signals*; and the flags of what else differs."""
    old, new = as_values(now), as_values(wanted)
    differing = [item for item in ALL if old[item.name] != new[item.name]]
    taken = {item.name: new[item.name] for item in differing if item.taken in signals}
    return _made(old | taken), [item.flag for item in differing if item.taken not in signals]


_NOT_OURS = re.compile(PREFIX + r"(SERVICE_(HOST|PORT.*)|PORT(_.*)?)\Z")
"""What Kubernetes sets in a pod beside a service that is called extproc."""
_ELSEWHERE = frozenset(
    {CONFIG, "EXTPROC_ENVOY", "EXTPROC_COMPILE", "EXTPROC_BASE", "EXTPROC_TAG", "EXTPROC_CONTAINERS", "EXTPROC_URL"}
)  # fmt: skip
"""The file's, and those of other commands, of the build and of docker-compose.yaml."""


def doubts(settings: Settings, environ: Mapping[str, str]) -> list[str]:
    """What is allowed and most likely not meant, a sentence each, for the log of a server that starts."""
    known = {setting.variable for setting in ALL}
    found = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known | _ELSEWHERE and not _NOT_OURS.match(name):
            near = difflib.get_close_matches(name.removeprefix(PREFIX), [one.removeprefix(PREFIX) for one in known], 1)
            meant = f"; did you mean {PREFIX}{near[0]}?" if near else ""
            found.append(f"{name} is no setting and has no effect{meant}")
    if not settings.wants_tls:
        said = (
            "whoever reaches this port has the keys that routes name: bind loopback, a Unix socket or a private address"
        )
        open_ones = [address.strip() for address in settings.listen.split(",") if _is_everywhere(address.strip())]
        found += [f"{address}: {said}, or use TLS with --tls-client-ca" for address in open_ones]
    return found


def patterns(text: str) -> list[str]:
    """The patterns of a setting of that kind."""
    return [part for each in text.split(",") if (part := each.strip())]


def _is_everywhere(address: str) -> bool:
    """Whether a listener is bound to all of a machine's networks."""
    if address.startswith("unix:"):
        return False
    host = address.rpartition(":")[0].strip("[]")
    return host in ("", "*", "0.0.0.0", "::", "0")


def as_values(settings: Settings) -> dict[str, Any]:
    """*settings* by name, as an operator may see them: secrets are references."""
    found = {item.name: getattr(settings, item.name) for item in OF_SERVER}
    return found | {item.name: getattr(settings.limits, item.name) for item in OF_LIMITS}


def as_flags(settings: Settings) -> list[str]:
    """The flags that make *settings*, whatever the environment says."""
    values = as_values(settings)
    return [f"{item.flag}={spelled(item, values[item.name])}" for item in ALL]


def markdown() -> str:
    """The settings as a table for the docs."""
    rows = ["| flag | variable | default | taken anew | meaning |", "|---|---|---|---|---|"]
    rows += [f"| `{s.flag}` | `{s.variable}` | {_code(shown(s))} | {s.taken} | {s.about} |" for s in ALL]
    return "\n".join(rows) + "\n"


def _code(text: str) -> str:
    return text if text == "none" else f"`{text}`"


def shown(setting: Setting) -> str:
    """The default as one would write it."""
    return spelled(setting, setting.default) or "none"


def spelled(setting: Setting, value: Any) -> str:
    """The text that ``parse`` makes *value* of."""
    if setting.kind in ("bytes", "bytes or 0") and value:
        for unit, word in ((MIB, "MiB"), (KIB, "KiB")):
            if value % unit == 0:
                return f"{value // unit}{word}"
    if setting.kind in FRACTIONS:
        return f"{value:.9f}".rstrip("0").rstrip(".")
    return str(value)


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{text!r} is not a size such as 64MiB or 1000000")
    return int(match[1]) * _UNITS[(match[2] or "").lower()]


def _size_or_0(text: str) -> int:
    return 0 if text == "0" else _size(text)


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) == 0:
        raise ValueError(f"{text!r} is not a count of at least 1")
    return int(text)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text):
        raise ValueError(f"{text!r} is not a number of seconds such as 30 or 0.5")
    return float(text)


def _ratio(text: str) -> float:
    if not re.fullmatch(r"[0-9](\.[0-9]+)?", text) or float(text) > 1:
        raise ValueError(f"{text!r} is not a share such as 0.1, between 0 and 1")
    return float(text)


def _addresses(text: str) -> str:
    addresses = [address.strip() for address in text.split(",")]
    for address in addresses:
        if address.startswith("unix:"):
            if len(address) == len("unix:"):
                raise ValueError("unix: needs a path")
            continue
        host, _, port = address.rpartition(":")
        if not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
            raise ValueError(f"{address!r} is neither host:port nor unix:/path")
    return ",".join(addresses)


def _admin(text: str) -> str:
    if text and ("," in text or text.startswith("unix:")):
        raise ValueError(f"{text!r} is not one host:port")
    return _addresses(text) if text else ""


def _url(text: str) -> str:
    if text and not re.fullmatch(r"https?://[^/?#@\s]+([/?][^#\s]*)?", text):
        raise ValueError(f"{text.partition('?')[0]!r} is not http://host[:port][/path] or https://, without a user")
    return text


def _otlp(text: str) -> str:
    if text and not re.fullmatch(r"(https?|grpcs?)://[^/?#@\s]+(/[^?#\s]*)?", text):
        raise ValueError(f"{text.partition('?')[0]!r} is not http://host:4318 or grpc://host:4317, https or grpcs")
    return text


def _brokers(text: str) -> str:
    brokers = [broker.strip() for broker in text.split(",")]
    if text and not all(
        re.fullmatch(r"[^\s:,/]+:[0-9]{1,5}|\[[0-9a-fA-F:]+\]:[0-9]{1,5}", broker) for broker in brokers
    ):
        raise ValueError(f"{text!r} is not host:port, or several, separated by commas")
    return ",".join(brokers)


def _level(text: str) -> str:
    if text.lower() not in LOG_LEVELS:
        raise ValueError(f"{text!r} is not one of {', '.join(LOG_LEVELS)}")
    return text.lower()


def _format(text: str) -> str:
    if text not in LOG_FORMATS:
        raise ValueError(f"{text!r} is not one of {', '.join(LOG_FORMATS)}")
    return text


def _transport(text: str) -> str:
    if text not in TRANSPORTS:
        raise ValueError(f"{text!r} is not one of {', '.join(TRANSPORTS)}")
    return text


_PARSERS: dict[str, Any] = {
    "addresses": _addresses,
    "admin": _admin,
    "brokers": _brokers,
    "bytes": _size,
    "bytes or 0": _size_or_0,
    "count": _count,
    "format": _format,
    "level": _level,
    "otlp": _otlp,
    "path": str,
    "ratio": _ratio,
    "patterns": str,
    "seconds": _seconds,
    "secret": str,
    "text": str,
    "transport": _transport,
    "url": _url,
}
