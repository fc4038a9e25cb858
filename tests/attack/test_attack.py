from __future__ import annotations

from pathlib import Path

import pytest

from . import through_envoy
from .attacks import ATTACKS, MAX_BYTES, carried_out


@pytest.mark.parametrize("name", [name for name in ATTACKS if "MB" in name])
def test_no_request_outgrows_the_container(name: str, tmp_path: Path) -> None:
    told = carried_out(tmp_path, name)
    assert told.is_alive and told.peak_bytes < MAX_BYTES


@pytest.mark.envoy
@pytest.mark.parametrize("name", ["deep nesting, 8 clients", "zstd bombs, 20 clients"])
def test_no_client_outgrows_the_containers_through_envoy(name: str, tmp_path: Path) -> None:
    told = through_envoy.carried_out(tmp_path, name)
    assert told.is_alive and told.peak_bytes < MAX_BYTES and told.envoys_peak_bytes < through_envoy.ENVOY_BYTES


@pytest.mark.envoy
def test_streams_that_nobody_reads_do_not_outgrow_the_sidecars_container(tmp_path: Path) -> None:
    """Envoy now and then reads on, whatever its bounds: docs/security.md promises nothing of it."""
    told = through_envoy.carried_out(tmp_path, "the same, without upstream filters")
    assert told.is_alive and told.peak_bytes < MAX_BYTES
