"""The demo's two providers; ``python -m extproc.demo.serve HOST PORT PORT`` runs them by themselves."""

from __future__ import annotations

import signal
import sys

from . import as_anthropic, as_openai
from .provider import Received, ScriptedAnswer, ScriptedProvider

OPENAI_KEY = "demo-key-of-openai"
ANTHROPIC_KEY = "demo-key-of-anthropic"
PAUSE = 0.02
"""Seconds between the events of a scripted stream, so that it can be watched."""


def openai(request: Received) -> ScriptedAnswer:
    """The scripted OpenAI: knows one key and three paths."""
    if request.header("authorization") != f"Bearer {OPENAI_KEY}":
        return as_openai.failure(401, "Incorrect API key provided", code="invalid_api_key")
    if request.path not in ("/v1/chat/completions", "/v1/responses", "/v1/responses/input_tokens"):
        return as_openai.failure(404, f"Invalid URL ({request.method} {request.path})")
    return as_openai.answer(request, pause=PAUSE)


def anthropic(request: Received) -> ScriptedAnswer:
    """The scripted Anthropic: knows one key and two paths."""
    if request.header("x-api-key") != ANTHROPIC_KEY:
        return as_anthropic.failure(401, "invalid x-api-key", "authentication_error")
    if request.path.startswith("/v1/messages/count_tokens"):
        return as_anthropic.counted(request)
    if request.path != "/v1/messages":
        return as_anthropic.failure(404, "Not found", "not_found_error")
    return as_anthropic.answer(request, pause=PAUSE)


def main(arguments: list[str]) -> int:
    """Serve OpenAI on the first port and Anthropic on the second, until a signal."""
    host, first, second = arguments
    with ScriptedProvider(openai, host=host, port=int(first)), ScriptedProvider(anthropic, host=host, port=int(second)):
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    return 0


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    sys.exit(main(sys.argv[1:]))
