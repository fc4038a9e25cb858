"""``extproc doctor`` on a real Envoy with the sidecar: well, and broken in the ways that users meet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from extproc.demo import as_openai
from extproc.doctor import Looked, Patient, examine
from extproc.gateway import lay_out, read
from extproc.run.running import Running
from extproc.version import version
from tests.support.upstream import ScriptedUpstream

FILE = "providers: {{openai: {{url: 'http://127.0.0.1:{port}'}}}}\nmodels: {{gpt-5.4-mini: openai}}"


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    made = ScriptedUpstream(as_openai.answer)
    with made:
        yield made


def running(upstream: ScriptedUpstream) -> Running:
    return Running(lay_out(read(FILE.format(port=upstream.port))), {"OPENAI_API_KEY": "k"}, 0)


def lines(gateway: Running, *models: str) -> list[str]:
    found: list[Looked] = list(
        examine(Patient(gateway.url, gateway.admin_url, list(models), sidecar=f"http://{gateway.sidecar.admin}"))
    )
    return [f"{one.grade}: {one.what} -> {one.then}" for one in found]


def test_one_that_is_well(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    with running(upstream) as gateway:
        found = lines(gateway)
    assert [line for line in found if not line.startswith("ok: ")] == []
    assert len(upstream.received) == 4
    assert [line for line in found if line.startswith("ok: Envoy 1.")]
    assert f"ok: the sidecar is extproc {version()} -> " in found


def test_a_key_that_the_provider_refuses(upstream: ScriptedUpstream) -> None:
    upstream.always(lambda request: as_openai.failure(401, "Incorrect API key provided", code="invalid_api_key"))
    with running(upstream) as gateway:
        found = [line for line in lines(gateway) if line.startswith("wrong: ")]
    assert len(found) == 4 and all(
        "401: Incorrect API key provided -> the provider refuses the key" in x for x in found
    )


def test_a_model_that_nobody_serves(upstream: ScriptedUpstream) -> None:
    with running(upstream) as gateway:
        found = [line for line in lines(gateway, "unheard-of") if line.startswith("wrong: ")]
    assert len(found) == 4 and all("404" in line and "gpt-5.4-mini" in line for line in found), found


def test_a_provider_that_is_not_reached(upstream: ScriptedUpstream) -> None:
    with running(upstream) as gateway:
        upstream.stop()
        found = [line for line in lines(gateway) if line.startswith("wrong: ")]
    assert len(found) == 4 and all("the upstream is not reached" in line or "529" in line for line in found), found


def test_a_sidecar_that_is_gone(upstream: ScriptedUpstream) -> None:
    with running(upstream) as gateway:
        gateway.sidecar.kill()
        found = [line for line in lines(gateway) if line.startswith("wrong: ")]
    assert "the sidecar cannot be reached" in found[0] and "extproc serve --listen" in found[0]
    assert [line for line in found if "extproc.sock is not reached" in line], found
