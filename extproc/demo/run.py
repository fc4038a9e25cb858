"""``extproc demo``: starts everything on free loopback ports, makes the tour, and leaves it running to be tried."""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from ..reference import config
from .processes import Envoy, NotStarted, Sidecar, ends_in_order
from .provider import ScriptedProvider
from .screen import Screen
from .serve import ANTHROPIC_KEY, OPENAI_KEY, anthropic, openai
from .tour import Tour

TELLING = "logging: {payloads: true}\nprices: table"
"""Who looks at the demo's live view is to see what was said, and what it cost."""


def run(*, once: bool) -> int:
    """See ``extproc.demo.main``."""
    screen = Screen(sys.stdout)
    with ExitStack() as stack:
        stack.enter_context(ends_in_order())
        try:
            return _run(screen, stack, once)
        except (NotStarted, FileNotFoundError, OSError) as error:
            screen.fail(str(error))
            return 1
        except KeyboardInterrupt:
            screen.line("\nEnded.")
            return 130


def _run(screen: Screen, stack: ExitStack, once: bool) -> int:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="extproc-demo-")))
    providers = stack.enter_context(ScriptedProvider(openai)), stack.enter_context(ScriptedProvider(anthropic))
    keys = {"OPENAI_API_KEY": OPENAI_KEY, "ANTHROPIC_API_KEY": ANTHROPIC_KEY}
    sidecar = stack.enter_context(Sidecar(folder, environ=keys, arguments=("--admin", "127.0.0.1:0")))
    upstreams = {
        "api.openai.com": ("127.0.0.1", providers[0].port),
        "api.anthropic.com": ("127.0.0.1", providers[1].port),
    }
    assert sidecar.socket is not None
    reference, log = config.saying(config.reference(), TELLING), str(folder / "access.log")
    configuration = config.rewrite(reference, sidecar=sidecar.socket, upstreams=upstreams, access_log=log)
    envoy = stack.enter_context(Envoy(folder, configuration))
    screen.started(sidecar.admin, envoy.port, envoy.admin_port, [provider.port for provider in providers])
    tour = Tour(screen, envoy.port, *providers)
    wrong = tour.run()
    if wrong:
        for process in (sidecar, envoy):
            screen.log(process.name, process.tail())
    screen.verdict(tour.steps, wrong)
    if not once:
        screen.leave_running(sidecar.admin, envoy.port, folder)
        while envoy.alive() and sidecar.alive():
            time.sleep(0.5)
        # Ctrl-C reaches the whole group: give our own a moment to arrive before calling this a failure.
        time.sleep(0.5)
        raise NotStarted("\n".join(p.ending() for p in (envoy, sidecar) if not p.alive()))
    return 1 if wrong else 0
