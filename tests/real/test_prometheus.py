"""The dashboard's queries and the alerts in a real Prometheus that has scraped such a page."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from extproc.telemetry.metrics import Metrics
from tests.support.dashboard import ALERTS, DEPLOY, PANELS, RULES, everything
from tests.support.ports import free_port
from tests.support.upstream import eventually

DOWNLOADED = Path(".cache/real/prometheus/usr/bin")
CONFIG = """\
global: {{scrape_interval: 250ms, evaluation_interval: 1s}}
scrape_configs:
- job_name: extproc
  static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
rule_files: ["{rules}"]
"""


def tool(name: str) -> str:
    found = shutil.which(name) or shutil.which(str(DOWNLOADED.resolve() / name))
    if found is None:
        pytest.skip(f"{name} is not installed: make test-real downloads it where Debian's packages are")
    return found


class Sidecar:
    """A page of metrics that grows with each scrape."""

    def __init__(self) -> None:
        metrics, scrapes = Metrics(), [0]
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with lock:
                    scrapes[0] += 1
                    page = everything(metrics, scrapes[0]).encode()
                self.send_response(200)
                self.send_header("content-type", "text/plain; version=0.0.4; charset=utf-8")
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


class Prometheus:
    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            return msgspec.json.decode(connection.getresponse().read())
        finally:
            connection.close()

    def ask(self, query: str) -> Any:
        answer = self.get(f"/api/v1/query?query={quote(query)}")
        assert answer["status"] == "success", (query, answer)
        return answer["data"]["result"]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    program, folder, sidecar = tool("prometheus"), tmp_path_factory.mktemp("prometheus"), Sidecar()
    config, port = folder / "prometheus.yaml", free_port()
    config.write_text(CONFIG.format(port=sidecar.port, rules=RULES))
    flags = [
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen([program, *flags], stdout=log, stderr=log) as child:
        made = Prometheus(port)

        def scraped() -> bool:
            try:
                return len(made.ask("count_over_time(extproc_open_streams[1m]) > 5")) > 0
            except (OSError, msgspec.DecodeError):
                return False

        try:
            assert eventually(scraped, 60), (folder / "log").read_text("utf-8", "replace")[-2000:]
            yield made
        finally:
            child.terminate()
            sidecar.server.shutdown()


def filled(query: str) -> str:
    for name in ("route", "provider", "model"):
        query = query.replace(f"${name}", ".*")
    return query.replace("$__rate_interval", "1m")


@pytest.mark.parametrize("query", PANELS)
def test_every_panel_shows_something(prometheus: Prometheus, query: str) -> None:
    assert eventually(lambda: bool(prometheus.ask(filled(query))), 20), query
    for series in prometheus.ask(filled(query)):
        assert series["value"][1] != "NaN"


@pytest.mark.parametrize("query", ALERTS)
def test_every_alert_can_be_asked(prometheus: Prometheus, query: str) -> None:
    prometheus.ask(query)
    bare = query.rpartition(" > ")[0] or query.replace(" == 0", "")
    assert eventually(lambda: bool(prometheus.ask(bare)), 20), query


def test_alerts_that_should_fire_do(prometheus: Prometheus) -> None:
    def firing() -> set[str]:
        found = prometheus.get("/api/v1/alerts")["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in found if alert["state"] == "firing"}

    assert eventually(lambda: {"ExtprocRouteErrors", "ExtprocRecordsLost", "ExtprocOverloaded"} <= firing(), 30)
    assert "ExtprocDown" not in firing()


@pytest.mark.parametrize(
    "command",
    [
        ("rules", str(RULES)),
        ("config", str(DEPLOY / "prometheus" / "prometheus.yaml")),
        ("config", str(DEPLOY / "prometheus" / "compose.yaml")),
    ],
)
def test_its_own_tool_finds_nothing_wrong(command: tuple[str, str]) -> None:
    done = subprocess.run([tool("promtool"), "check", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
