"""Text that is no text, and numbers that are none: the client's fault, never a bug of ours."""

from __future__ import annotations

import json
import logging

import pytest

from extproc import Refused, Translation

HI = b'"messages":[{"role":"user","content":"hi"}]'
FILE = '{"type":"file","file":{"filename":"a.txt","file_data":"data:text/plain;base64,é"}}'.encode()
CHAT, MESSAGES, COUNT = "/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens"
BODIES: list[tuple[str, str, bytes]] = [
    ("openai", CHAT, b'{"model":"\xff",' + HI + b"}"),
    ("openai", CHAT, b'{"model":"\\ud800",' + HI + b"}"),
    ("openai", CHAT, b'{"model":1e999,' + HI + b"}"),
    ("openai", CHAT, b'{"model":"m","stream":"\xff",' + HI + b"}"),
    ("openai", COUNT, b'{"model":"\\ud800",' + HI + b"}"),
    ("openai", MESSAGES, b'{"model":1e999,"max_tokens":9,' + HI + b"}"),
    ("anthropic", MESSAGES, b'{"model":"\xff","max_tokens":9,' + HI + b"}"),
    ("anthropic", CHAT, b'{"model":"c","messages":[{"role":"user","content":[' + FILE + b"]}]}"),
]


@pytest.mark.parametrize(("provider", "path", "body"), BODIES)
def test_bad_text_is_refused_without_a_traceback(
    provider: str, path: str, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    t = Translation(route={"provider": provider, "auth": "none"}, now=0)
    with caplog.at_level(logging.WARNING), pytest.raises(Refused) as refused:
        t.request(body, "POST", path, [])
    assert refused.value.status == 400 and not caplog.records
    assert json.loads(refused.value.body)["error"]["message"]
