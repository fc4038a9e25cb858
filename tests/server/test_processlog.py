"""The process's own log in its two formats."""

from __future__ import annotations

import logging
import signal
import sys

import msgspec

from extproc.server.health import check
from extproc.server.processlog import handler

from .test_serving import sidecar


def said(form: str, who: str = "", **more: object) -> str:
    record = logging.LogRecord("extproc.x", logging.WARNING, "f", 1, "a %s\nb", ("\ud800",), None)
    record.__dict__.update(more)
    return handler(form, who).format(record)


def test_lines_for_people() -> None:
    assert said("console").endswith(" WARNING extproc.x: a \ud800\nb")
    assert said("console", "worker 7").endswith(" worker 7 WARNING extproc.x: a \ud800\nb")


def test_objects_for_machines() -> None:
    made = msgspec.json.decode(said("json", created=0.5))
    assert made == {"time": "1970-01-01T00:00:00.500Z", "level": "warning", "logger": "extproc.x", "message": "a ?\nb"}
    try:
        raise OSError("x")
    except OSError:
        made = msgspec.json.decode(said("json", "worker 7", exc_info=sys.exc_info()))
    assert made["process"] == "worker 7" and made["exception"].endswith("OSError: x")


def test_a_server_that_logs_json() -> None:
    with sidecar("--log-format", "json", "--secrets", "") as (child, _):
        assert child.stderr is not None
        child.send_signal(signal.SIGTERM)
        made = msgspec.json.decode(child.stderr.readline())
    assert made["level"] == "warning" and "--secrets" in made["message"]


def test_at_debug_the_libraries_beneath_stay_quiet() -> None:
    with sidecar("--log-level", "debug", "--secrets", "") as (child, address):
        assert child.stderr is not None
        assert check(address, 5) == "SERVING"
        child.send_signal(signal.SIGTERM)
        said = child.stderr.read()
    assert "hpack" not in said and "DEBUG" not in said.replace("DEBUG extproc.", ""), said
