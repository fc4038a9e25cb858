from __future__ import annotations

from pathlib import Path

import pytest

from .attacks import ATTACKS, MAX_BYTES, carried_out


@pytest.mark.parametrize("name", [name for name in ATTACKS if "MB" in name])
def test_no_request_outgrows_the_container(name: str, tmp_path: Path) -> None:
    told = carried_out(tmp_path, name)
    assert told.is_alive and told.peak_bytes < MAX_BYTES
