"""``extproc translate``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import Run

MESSAGES = {"model": "claude-x", "max_tokens": 9, "top_k": 5, "messages": [{"role": "user", "content": "hi"}]}
CHAT_REPLY = {
    "id": "c1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}  # fmt: skip


def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: " + json.dumps({"id": "c1", "model": "m", "choices": choices}).encode() + b"\n\n"


CHAT_STREAM = [chunk({"role": "assistant", "content": ""}), chunk({"content": "hel"}), chunk({"content": "lo"}),
               chunk({}, "stop"), b"data: [DONE]\n\n"]  # fmt: skip
PAIR = ["--client", "anthropic-messages", "--upstream", "openai_chat"]


# ---- requests


def test_a_count_of_tokens_is_an_answer_and_no_refusal(run: Run) -> None:
    path = ["--path", "/v1/messages/count_tokens"]
    done = run("translate", "request", *PAIR, *path, stdin=json.dumps(MESSAGES).encode())
    assert done.status == 0 and "refused" not in done.err and "answered by the gateway: estimated" in done.err
    assert json.loads(done.out)["input_tokens"] > 0


def test_a_request_becomes_the_upstreams_and_its_losses_are_named(run: Run) -> None:
    done = run("translate", "request", *PAIR, stdin=json.dumps(MESSAGES).encode())
    assert done.status == 0
    body = json.loads(done.out)
    assert body["messages"] == [{"role": "user", "content": "hi"}]
    assert body["model"] == "claude-x" and "max_tokens" not in body and body["max_completion_tokens"] == 9
    assert not done.out.endswith(b"\n")
    assert [line.partition(" ")[0] for line in done.err.splitlines()] == ["top_k:dropped"]


def test_the_client_is_detected_from_the_path(run: Run) -> None:
    done = run("translate", "request", "--upstream", "openai_chat", "--path", "/v1/messages?beta=true",
               stdin=json.dumps(MESSAGES).encode())  # fmt: skip
    assert done.status == 0 and json.loads(done.out)["max_completion_tokens"] == 9


def test_the_same_dialect_passes_byte_for_byte(run: Run, tmp_path: Path) -> None:
    body = b'{ "model":"m",\n "messages" : [{"role":"user","content":"\\u00e9"}], "unknown": 1.0 }\n'
    (tmp_path / "body.json").write_bytes(body)
    same = ["--client", "openai_chat", "--upstream", "openai_chat"]
    done = run("translate", "request", *same, str(tmp_path / "body.json"))
    assert (done.status, done.out, done.err) == (0, body, "")


def test_model_and_route(run: Run, tmp_path: Path) -> None:
    route = tmp_path / "route.yaml"
    route.write_text("provider: deepseek\nauth: none\noptions: {model: m1, temperature: 0.5}\n")
    stdin = json.dumps(MESSAGES).encode()
    done = run("translate", "request", "--client", "anthropic_messages", "--route", str(route), stdin=stdin)
    body = json.loads(done.out)
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m1", 0.5, 9)
    done = run("translate", "request", *PAIR, "--route", str(route), "--model", "m2", stdin=stdin)
    assert json.loads(done.out)["model"] == "m2"


@pytest.mark.parametrize("stdin", [b"", b"not json", b"[]", b'{"model": 1}', b"\xff\xfe"])
def test_a_refused_request_answers_in_the_clients_shape_with_status_1(run: Run, stdin: bytes) -> None:
    done = run("translate", "request", *PAIR, stdin=stdin)
    assert done.status == 1
    error = json.loads(done.out)
    assert error["type"] == "error" and error["error"]["type"] == "invalid_request_error"
    assert done.err.splitlines()[0] == "refused with status 400"


# ---- mistakes


def test_a_wrong_route_is_named_at_its_path(run: Run, tmp_path: Path) -> None:
    route = tmp_path / "route.yaml"
    route.write_text("provider: openai\nauth: {header: {Authorization: '${SURELY_NOT_SET}'}}\n")
    done = run("translate", "request", "--route", str(route))
    assert done.status == 2
    assert done.err == "extproc: route: auth.header.Authorization: environment variable SURELY_NOT_SET is not set\n"
    route.write_bytes(b"\xff")
    assert run("translate", "request", "--route", str(route)).err == f"extproc: {route}: not UTF-8 text\n"


# ---- responses


def test_a_whole_response(run: Run) -> None:
    done = run("translate", "response", *PAIR, stdin=json.dumps(CHAT_REPLY).encode())
    message = json.loads(done.out)
    assert (done.status, message["type"], message["content"][0]["text"]) == (0, "message", "hello")
    assert message["usage"]["output_tokens"] == 2


def test_a_stream_is_known_by_its_looks(run: Run, tmp_path: Path) -> None:
    (tmp_path / "up.sse").write_bytes(b"".join(CHAT_STREAM))
    done = run("translate", "response", *PAIR, str(tmp_path / "up.sse"))
    assert done.status == 0
    assert done.out.startswith(b"event: message_start\n") and done.out.endswith(b"\n\n")
    assert b'"text":"hel"' in done.out and b"event: message_stop" in done.out


def test_a_whole_answer_for_a_client_that_asked_for_a_stream(run: Run) -> None:
    done = run("translate", "response", *PAIR, "--stream", stdin=json.dumps(CHAT_REPLY).encode())
    assert done.out.startswith(b"event: message_start\n") and b"hello" in done.out


def test_an_errors_status_is_the_clients_own(run: Run) -> None:
    upstream = b'{"error": {"message": "busy", "type": "server_error"}}'
    done = run("translate", "response", *PAIR, "--status", "503", stdin=upstream)
    assert json.loads(done.out)["error"] == {"type": "overloaded_error", "message": "busy"}
    assert (done.status, done.err.splitlines()) == (0, ["status 529"])


def test_the_request_decides_what_the_answer_becomes(run: Run, tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    request.write_text(json.dumps(MESSAGES | {"stream": True}))
    done = run("translate", "response", *PAIR, "--request", str(request), stdin=json.dumps(CHAT_REPLY).encode())
    assert done.out.startswith(b"event: message_start\n")
    assert "top_k" not in done.err
    request.write_text("[]")
    done = run("translate", "response", *PAIR, "--request", str(request))
    assert done.status == 2 and done.err.startswith(f"extproc: {request}: ")


def test_the_same_dialect_passes_a_response(run: Run) -> None:
    same = ["--client", "openai_chat", "--upstream", "openai_chat"]
    stream = b"".join(CHAT_STREAM)
    assert run("translate", "response", *same, stdin=stream).out == stream


def test_no_input_at_all_is_an_upstream_that_said_nothing(run: Run) -> None:
    done = run("translate", "response", *PAIR)
    assert json.loads(done.out)["type"] == "error" and done.err.splitlines() == ["status 502"]


def process(*argv: str) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-m", "extproc", *argv], stdin=pipe, stdout=pipe, stderr=pipe)


def test_text_comes_out_as_it_comes_in() -> None:
    with process("translate", "response", *PAIR) as child:
        assert child.stdin and child.stdout and child.stderr
        child.stdin.write(CHAT_STREAM[0] + CHAT_STREAM[1])
        child.stdin.flush()
        seen = b""
        while b'"hel"' not in seen:
            line = child.stdout.readline()
            assert line, child.stderr.read()
            seen += line
        child.stdin.write(b"".join(CHAT_STREAM[2:]))
        child.stdin.close()
        assert b"message_stop" in child.stdout.read()
        assert child.wait(10) == 0
