"""What clients can send, at the containers as the compose file limits them: none is ended for its memory."""

from __future__ import annotations

from collections.abc import Callable

from tests.attack.through_envoy import ATTACKS, MESSAGES, asked, bomb

from .stack import Stack, inspect
from .test_image import MIB, usage

SKIPPED = {"unread streams of 30 MB, 40", "tools that answers repeat, 16 x 20"}
"""The one needs another provider, the other minutes."""


def test_the_sidecar_outlives_all_that_clients_send(running: Stack, count: Callable[[str], None]) -> None:
    sidecar, envoy = running.one("sidecar"), running.one("envoy")
    assert inspect(sidecar)["HostConfig"]["Memory"] == 512 * MIB
    for name in ATTACKS.keys() - SKIPPED:
        ATTACKS[name]()(running.port)
        state = inspect(sidecar)
        assert state["RestartCount"] == 0 and not state["State"]["OOMKilled"], name
        assert inspect(envoy)["RestartCount"] == 0, name
        assert asked(running.port, MESSAGES, bomb(2)) == 200, f"who comes after {name} is served"
    count(f"{len(ATTACKS) - len(SKIPPED)} attacks; at most {usage(sidecar)['memory'] / MIB:.0f} MiB of 512")
