from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any

import pytest

from extproc.demo.provider import Received
from extproc.demo.serve import ANTHROPIC_KEY, OPENAI_KEY, anthropic, openai
from tests.support.ports import free_port
from tests.support.upstream import eventually

BODY = json.dumps({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}).encode()
OPENAI = {"authorization": f"Bearer {OPENAI_KEY}"}
ANTHROPIC = {"x-api-key": ANTHROPIC_KEY}


@pytest.mark.parametrize(
    ("respond", "path", "headers", "status"),
    [
        (openai, "/v1/chat/completions", OPENAI, 200),
        (openai, "/v1/chat/completions", ANTHROPIC, 401),
        (openai, "/v1/messages", OPENAI, 404),
        (openai, "/v1/responses/input_tokens", OPENAI, 200),
        (anthropic, "/v1/messages/count_tokens?beta=true", ANTHROPIC, 200),
        (anthropic, "/v1/messages", ANTHROPIC, 200),
        (anthropic, "/v1/messages", OPENAI, 401),
        (anthropic, "/v1/chat/completions", ANTHROPIC, 404),
    ],
)
def test_each_knows_one_key_and_one_path(respond: Any, path: str, headers: dict[str, str], status: int) -> None:
    assert respond(Received("POST", path, tuple(headers.items()), BODY)).status == status


def test_as_a_process_it_serves_both_until_a_signal() -> None:
    first, second = free_port(), free_port()
    command = [sys.executable, "-m", "extproc.demo.serve", "127.0.0.1", str(first), str(second)]
    child = subprocess.Popen(command)
    try:
        for port, path, headers in (
            (first, "/v1/chat/completions", OPENAI),
            (second, "/v1/messages", ANTHROPIC),
        ):
            request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", BODY, headers)

            def answers(request: urllib.request.Request = request) -> bool:
                with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(request, timeout=5) as answer:
                    return b"The sky is blue." in answer.read()
                return False

            assert eventually(answers, within=30)
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0
    finally:
        child.kill()
        child.wait()
