"""What must be there before Envoy and the sidecar can run."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from extproc.gateway import lay_out, read
from extproc.run import running
from extproc.run.running import PASSED_ON, CannotRun, NoEnvoy, Running, authorities, trusting

LAYOUT = lay_out(read("providers: {openai: }"))


def files_of(config: Any) -> set[str]:
    return {context["trusted_ca"]["filename"] for context in running._validations(config)}


def test_the_systems_authorities_are_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("-")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    assert authorities() == str(file)
    config = trusting({"a": [{"trusted_ca": {"filename": "/nowhere"}}]})
    assert files_of(config) == {str(file)}


def test_where_there_are_none_the_line_that_brings_them_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "authorities", lambda: None)
    with pytest.raises(CannotRun, match="apt-get install ca-certificates"):
        trusting({"a": {"trusted_ca": {"filename": "/nowhere"}}})
    assert trusting({"a": 1}) == {"a": 1}, "without TLS none are needed"


def test_without_an_envoy_the_line_that_brings_one_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise FileNotFoundError("there is no Envoy here: do this")

    monkeypatch.setattr(running, "envoy_binary", none)
    with pytest.raises(NoEnvoy, match="do this"), Running(LAYOUT, {}):
        pass


def test_a_taken_port_is_said_with_the_way_around() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CannotRun, match=r"--port 0 takes a free one; `extproc doctor"), Running(LAYOUT, {}, port):
            pass


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "EXTPROC_LISTEN", "HTTPS_PROXY"])
def test_envoy_gets_no_key(name: str) -> None:
    assert not PASSED_ON.fullmatch(name)


def test_the_url_is_one_that_clients_can_use() -> None:
    def at(host: str) -> str:
        return Running(lay_out(read(f"providers: {{openai: }}\nlisten: '{host}:7'")), {}).url

    assert at("0.0.0.0") == at("127.0.0.1") == "http://127.0.0.1:7" and at("[::1]") == "http://[::1]:7"
