from __future__ import annotations

import json

import pytest

from extproc.cli import main
from extproc.conformance.live import ScriptedUpstream


def test_our_own_table(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["conformance", "--client", "openai_chat", "--upstream", "gemini", "--feature", "text"]
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines() == ["openai_chat  gemini", "text         exact", "", "no faults"]


def test_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", "--client", "gemini", "--feature", "seed", "--format", "json"]) == 0
    assert {row["grade"] for row in json.loads(capsys.readouterr().out)} == {"exact", "lost"}


def test_a_gateway_that_does_not_answer_is_a_fault(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["conformance", "http://127.0.0.1:1", "--client", "gemini", "--upstream", "gemini", "--feature", "text"]
    assert main([*arguments, "--listen", "127.0.0.1:0", "--model", "gemini=mine"]) == 1
    shown = capsys.readouterr()
    assert "broken" in shown.out and "the scripted upstream listens on 127.0.0.1:" in shown.err


def test_a_real_model_is_asked_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", "http://127.0.0.1:1", "--real", "m", "--client", "gemini"]) == 1
    assert capsys.readouterr().out.startswith("gemini       real\ntext         broken")


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--real", "m"], "--real needs the URL of a gateway"),
        (["http://x", "--listen", "nowhere"], "--listen nowhere: expected HOST:PORT"),
        (["http://x", "--listen", "127.0.0.1:0", "--model", "nobody=m"], "--model nobody=m: expected UPSTREAM=NAME"),
    ],
)
def test_wrong_usage(more: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", *more]) == 2
    assert problem in capsys.readouterr().err


def test_an_address_in_use_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedUpstream().start() as upstream:
        assert main(["conformance", "http://127.0.0.1:1", "--listen", f"127.0.0.1:{upstream.port}"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("extproc: ") and said.endswith("--listen 127.0.0.1:0 takes a free port\n")
