from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.settings import (
    ALL,
    FIXED,
    LIVE,
    MAX_FILE_BYTES,
    MIB,
    REPLACED,
    Limits,
    SettingError,
    Settings,
    add_arguments,
    as_flags,
    as_values,
    doubts,
    from_arguments,
    load,
    markdown,
    printed,
    read_file,
    reloaded,
)

SAMPLES = {
    "addresses": ("0.0.0.0:1, unix:/run/x.sock", "0.0.0.0:1,unix:/run/x.sock"),
    "admin": ("127.0.0.1:9464", "127.0.0.1:9464"),
    "brokers": ("a:9092, [::1]:1", "a:9092,[::1]:1"),
    "bytes": ("3MiB", 3 * MIB),
    "bytes or 0": ("3MiB", 3 * MIB),
    "count": ("7", 7),
    "format": ("json", "json"),
    "level": ("DEBUG", "debug"),
    "otlp": ("grpc://127.0.0.1:4317", "grpc://127.0.0.1:4317"),
    "path": ("/etc/models.yaml", "/etc/models.yaml"),
    "patterns": ("OPENAI_API_KEY,/run/keys/*", "OPENAI_API_KEY,/run/keys/*"),
    "ratio": ("0.25", 0.25),
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


@pytest.mark.parametrize("setting", ALL, ids=lambda s: s.name)
def test_each_comes_by_the_file_and_a_variable_wins(setting: Any, tmp_path: Path) -> None:
    text, value = SAMPLES[setting.kind]
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump({setting.name: text}))
    assert value_of(parsed("--config", str(file)), setting.name) == value
    assert value_of(parsed(EXTPROC_CONFIG=str(file)), setting.name) == value
    file.write_text(f"{setting.name}: nonsense!,\n")
    assert value_of(parsed(EXTPROC_CONFIG=str(file), **{setting.variable: text}), setting.name) == value


def test_a_file_as_one_writes_it(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(
        "# ours\nlisten: [127.0.0.1:1, 'unix:/x']\nworkers: 4\ndrain_seconds: 0.5\nmax_event_bytes: 3MiB\nrecords: ~\n"
        "records_kafka_key: 'null'\nrecords_kafka_topic: on\nadmin:\n"
    )
    made = load({"config": str(file)}, {"EXTPROC_CONFIG": "/none"})
    assert (made.listen, made.workers, made.drain_seconds) == ("127.0.0.1:1,unix:/x", 4, 0.5)
    assert (made.limits.max_event_bytes, made.records, made.records_kafka_key) == (3 * MIB, "", "null")
    assert (made.records_kafka_topic, made.admin) == ("on", "")
    file.write_text("")
    assert load({"config": str(file)}, {}) == Settings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("drain-seconds: 3", "'drain-seconds' is no setting; did you mean drain_seconds?"),
        ("xyzzy: 3", "'xyzzy' is no setting; extproc serve --print-config names all"),
        ("workers: 2\nworkers: 3", "'workers' is given twice"),
        ("workers: {a: 1}", "workers: expected one value, or a list of texts"),
        ("listen: [[a]]", "listen: expected one value, or a list of texts"),
        ("- a", "expected a mapping such as `log_level: debug`"),
        ("a: [", "not YAML (line 1)"),
        ("? [a]\n: 1", "not YAML (line 1)"),
        ("workers: 0", "workers: '0' is not a count of at least 1"),
        ("log_level: loud", "log_level: 'loud' is not one of debug, info, warning, error"),
        ("\xff", "not YAML"),
        ("#" * (MAX_FILE_BYTES + 1), "larger than 65536 bytes"),
    ],
)
def test_a_file_that_is_wrong_says_what_and_where(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingError) as raised:
        load({"config": str(file)}, {})
    assert str(raised.value) == f"{file}: {said}"


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(SettingError, match=r"^/none: No such file or directory\Z"):
        read_file("/none")


def test_what_is_printed_is_a_file_of_the_same_settings(tmp_path: Path) -> None:
    file = tmp_path / "printed.yaml"
    environ = {each.variable: SAMPLES[each.kind][0] for each in ALL}
    small = {"max_event_bytes": "1000001", "drain_seconds": "0.000001", "trace_ratio": "0.0000001"}
    for flags, given in (({}, {}), ({}, environ), (small, {})):
        file.write_text(printed(flags, given))
        assert load({"config": str(file)}, {}) == load(flags, given) == parsed(*as_flags(load(flags, given)))
    own = tmp_path / "own.yaml"
    own.write_text("records_batch: 3\nworkers: 2\n")
    lines = printed({"config": str(own), "workers": "4"}, {"EXTPROC_LOG_LEVEL": "debug"}).splitlines()
    assert lines[0].startswith("# ") and len(lines) == 1 + len(ALL)
    assert {"workers: 4  # --workers", f"records_batch: 3  # {own}", "log_level: debug  # EXTPROC_LOG_LEVEL"} <= set(
        lines
    )


@pytest.mark.parametrize("setting", ALL, ids=lambda s: s.name)
def test_a_running_server_takes_what_it_can(setting: Any) -> None:
    wanted = parsed(setting.flag, SAMPLES[setting.kind][0])
    for signals in (frozenset({LIVE}), frozenset({LIVE, REPLACED})):
        if setting.taken in signals:
            assert reloaded(Settings(), wanted, signals) == (wanted, [])
        else:
            assert reloaded(Settings(), wanted, signals) == (Settings(), [setting.flag])
    assert setting.taken in (LIVE, REPLACED, FIXED)
    assert as_values(Settings()).keys() == as_values(wanted).keys()


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
        ("EXTPROC_CONFIG", None),
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
