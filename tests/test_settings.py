from __future__ import annotations

import argparse
from typing import Any

import pytest

from extproc.settings import (
    ALL,
    MIB,
    Limits,
    SettingError,
    Settings,
    add_arguments,
    as_flags,
    doubts,
    from_arguments,
    load,
    markdown,
)

SAMPLES = {
    "addresses": ("0.0.0.0:1, unix:/run/x.sock", "0.0.0.0:1,unix:/run/x.sock"),
    "admin": ("127.0.0.1:9464", "127.0.0.1:9464"),
    "brokers": ("a:9092, [::1]:1", "a:9092,[::1]:1"),
    "bytes": ("3MiB", 3 * MIB),
    "count": ("7", 7),
    "format": ("json", "json"),
    "level": ("DEBUG", "debug"),
    "otlp": ("grpc://127.0.0.1:4317", "grpc://127.0.0.1:4317"),
    "path": ("/etc/models.yaml", "/etc/models.yaml"),
    "patterns": ("OPENAI_API_KEY,/run/keys/*", "OPENAI_API_KEY,/run/keys/*"),
    "seconds": ("1.5", 1.5),
    "secret": ("Bearer ${TOKEN}", "Bearer ${TOKEN}"),
    "text": ("test2", "test2"),
    "transport": ("grpcio", "grpcio"),
    "url": ("https://logs.example/x?y=1", "https://logs.example/x?y=1"),
}


def parsed(*flags: str, **environ: str) -> Settings:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return from_arguments(parser.parse_args(flags), environ)


def value_of(settings: Settings, name: str) -> Any:
    return getattr(settings if hasattr(settings, name) else settings.limits, name)


def test_defaults() -> None:
    assert parsed() == Settings() == load({}, {})
    assert Settings().limits == Limits()
    assert Settings().listen.startswith("127.0.0.1:")
    assert Settings().max_message_bytes > Limits().max_request_bytes


@pytest.mark.parametrize("setting", ALL, ids=lambda s: s.name)
def test_each_comes_by_flag_and_by_variable_and_the_flag_wins(setting: Any) -> None:
    text, value = SAMPLES[setting.kind]
    assert value != setting.default
    assert value_of(parsed(setting.flag, text), setting.name) == value
    assert value_of(parsed(**{setting.variable: text}), setting.name) == value
    assert value_of(parsed(setting.flag, text, **{setting.variable: "nonsense"}), setting.name) == value
    assert value_of(parsed(**{setting.variable: ""}), setting.name) == setting.default


@pytest.mark.parametrize("setting", [None, *ALL], ids=lambda s: s.name if s else "defaults")
def test_as_flags_and_back(setting: Any) -> None:
    settings = parsed(setting.flag, SAMPLES[setting.kind][0]) if setting else Settings()
    environ = {each.variable: SAMPLES[each.kind][0] for each in ALL}
    assert parsed(*as_flags(settings), **environ) == settings


@pytest.mark.parametrize("setting", ALL, ids=lambda s: s.name)
def test_the_docs_name_each(setting: Any) -> None:
    row = next(line for line in markdown().splitlines() if f"`{setting.flag}`" in line)
    assert setting.variable in row and setting.about in row
    assert setting.about.endswith(".")


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("10k", 10_000), ("2 MiB", 2 * MIB), ("1GiB", 1024 * MIB), ("5MB", 5_000_000)]
)
def test_sizes(text: str, size: int) -> None:
    assert load({"max_event_bytes": text}, {}).limits.max_event_bytes == size


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("listen", "50051"),
        ("listen", "localhost:http"),
        ("listen", "localhost:70000"),
        ("listen", "unix:"),
        ("listen", "127.0.0.1:1,"),
        ("admin", "unix:/run/admin.sock"),
        ("admin", "127.0.0.1:1,127.0.0.1:2"),
        ("drain_seconds", "-1"),
        ("drain_seconds", "nan"),
        ("drain_seconds", "soon"),
        ("max_event_bytes", "0"),
        ("max_event_bytes", "1.5MiB"),
        ("max_event_bytes", "many"),
        ("max_open_blocks", "0"),
        ("max_concurrent_streams", "-3"),
        ("workers", "0"),
        ("workers", "-2"),
        ("workers", "auto"),
        ("log_level", "loud"),
        ("log_format", "xml"),
        ("records_http", "ftp://x"),
        ("otlp_metrics", "127.0.0.1:4317"),
        ("records_http", "https://user:password@x/"),
        ("records_kafka", "localhost"),
        ("records_kafka", "a:1,b"),
        ("transport", "quic"),
    ],
)
def test_wrong_values_say_where(name: str, text: str) -> None:
    setting = next(s for s in ALL if s.name == name)
    with pytest.raises(SettingError, match=f"^{setting.flag}: "):
        load({name: text}, {})
    with pytest.raises(SettingError, match=f"^{setting.variable}: "):
        load({}, {setting.variable: text})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("EXTPROC_LISTN", "EXTPROC_LISTN is no setting and has no effect; did you mean EXTPROC_LISTEN?"),
        ("EXTPROC_XYZZY", "EXTPROC_XYZZY is no setting and has no effect"),
        ("EXTPROC_LISTEN", None),
        ("EXTPROC_ENVOY", None),
        ("EXTPROC_SERVICE_HOST", None),
        ("EXTPROC_PORT_50051_TCP_ADDR", None),
        ("OTHER_LISTN", None),
    ],
)
def test_a_variable_that_is_no_setting_is_named(name: str, said: str | None) -> None:
    assert doubts(Settings(), {name: "x"}) == ([said] if said else [])


@pytest.mark.parametrize(
    ("listen", "tls", "doubtful"),
    [
        ("0.0.0.0:50051", "", True),
        ("unix:/a.sock,[::]:50051", "", True),
        ("0.0.0.0:50051", "/cert.pem", False),
        ("127.0.0.1:50051,unix:/a.sock,10.0.0.7:50051", "", False),
    ],
)
def test_a_port_for_everybody_without_tls_is_doubtful(listen: str, tls: str, doubtful: bool) -> None:
    found = doubts(Settings(listen=listen, tls_cert=tls), {})
    assert bool(found) is doubtful and all("0.0.0.0" in said or "[::]" in said for said in found)
