from __future__ import annotations

import io
from pathlib import Path

import pytest

from extproc.demo.screen import Screen


def test_output_is_plain_where_it_is_no_terminal() -> None:
    out = io.StringIO()
    screen = Screen(out)
    screen.title("A title")
    screen.labelled("client got", "word " * 60, "red")
    screen.events("client got", [f"event {n}" for n in range(40)])
    text = out.getvalue()
    assert "\x1b" not in text
    assert "... 26 more events ..." in text
    assert max(map(len, text.splitlines())) <= 140


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("no_colour", "coloured"), [("", True), ("1", False)])
def test_a_terminal_gets_colours_unless_it_wants_none(
    monkeypatch: pytest.MonkeyPatch, no_colour: str, coloured: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_colour)
    out = Terminal()
    Screen(out).checks(["a"], ["b"])
    assert ("\x1b[32m" in out.getvalue() and "\x1b[31mb" in out.getvalue()) is coloured


@pytest.mark.parametrize(("wrong", "said"), [(0, "All 7 steps were right."), (2, "2 of 7 steps went wrong.")])
def test_the_verdict(wrong: int, said: str) -> None:
    out = io.StringIO()
    Screen(out).verdict(7, wrong)
    assert out.getvalue().strip() == said


def test_what_is_to_be_pasted_names_the_port() -> None:
    out = io.StringIO()
    Screen(out).leave_running("127.0.0.1:4712", 4711, Path("/tmp/x"))
    assert out.getvalue().count("http://127.0.0.1:4711") >= 5 and "{" + "base}" not in out.getvalue()
    assert out.getvalue().count("http://127.0.0.1:4712/") == 2
    assert "/tmp/x/access.log" in out.getvalue()
