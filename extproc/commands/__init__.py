"""The commands, one module each, in the order in which they are shown."""

from __future__ import annotations

from . import (
    captured,
    completion,
    configuration,
    conformance,
    demo,
    doctor,
    knowledge,
    launch,
    run,
    serve,
    tail,
    translate,
    version,
)
from .base import Command

ALL: tuple[Command, ...] = (
    run.COMMAND,
    launch.LAUNCH,
    launch.ENV,
    doctor.COMMAND,
    demo.COMMAND,
    serve.SERVE,
    serve.HEALTH,
    translate.COMMAND,
    configuration.CHECK,
    configuration.IMPORT,
    knowledge.DIALECTS,
    knowledge.MODELS,
    knowledge.SETTINGS,
    conformance.COMMAND,
    tail.COMMAND,
    captured.CAPTURE,
    captured.EXPLAIN,
    captured.REPLAY,
    captured.DIFF,
    version.COMMAND,
    completion.COMMAND,
)
