"""Where workers listen."""

from __future__ import annotations

import subprocess
import sys

import pytest

from extproc.server.addresses import spread
from extproc.settings import SettingError, load


def spread_out(listen: str, count: int) -> list[list[str]]:
    return spread(load({"listen": listen, "workers": str(count)}, {}))


@pytest.mark.parametrize(
    ("listen", "made"),
    [
        ("127.0.0.1:50051", [["127.0.0.1:50051"], ["127.0.0.1:50052"], ["127.0.0.1:50053"]]),
        ("[::]:9000", [["[::]:9000"], ["[::]:9001"], ["[::]:9002"]]),
        ("127.0.0.1:0", [["127.0.0.1:0"]] * 3),
        ("unix:/run/x.sock", [["unix:/run/x.0.sock"], ["unix:/run/x.1.sock"], ["unix:/run/x.2.sock"]]),
        ("unix:/run/a.b/x", [["unix:/run/a.b/x.0"], ["unix:/run/a.b/x.1"], ["unix:/run/a.b/x.2"]]),
        ("unix:x.sock", [["unix:x.0.sock"], ["unix:x.1.sock"], ["unix:x.2.sock"]]),
        ("unix:/run/.x", [["unix:/run/.x.0"], ["unix:/run/.x.1"], ["unix:/run/.x.2"]]),
        ("h:1,unix:/s", [["h:1", "unix:/s.0"], ["h:2", "unix:/s.1"], ["h:3", "unix:/s.2"]]),
        ("h:65533", [["h:65533"], ["h:65534"], ["h:65535"]]),
    ],
)
def test_addresses(listen: str, made: list[list[str]]) -> None:
    assert spread_out(listen, 3) == made


def test_one_worker_listens_where_it_is_told() -> None:
    assert spread_out("h:1,unix:/run/x.sock", 1) == [["h:1", "unix:/run/x.sock"]]


@pytest.mark.parametrize(
    ("listen", "count", "message"),
    [
        ("h:65534", 3, "--workers: worker 2 of h:65534 would listen on port 65536"),
        ("h:1,h:2", 2, "--listen: h:1,h:2 leads to h:2 twice with 2 workers"),
        ("h:1", 257, "--workers: 257 is more than 256"),
    ],
)
def test_addresses_that_cannot_be(listen: str, count: int, message: str) -> None:
    with pytest.raises(SettingError) as raised:
        spread_out(listen, count)
    assert str(raised.value) == message
    done = subprocess.run(
        [sys.executable, "-m", "extproc", "serve", "--listen", listen, "--workers", str(count), "--secrets", "*"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, f"extproc: {message}\n")
