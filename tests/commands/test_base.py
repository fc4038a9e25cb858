from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import pytest

from extproc.commands.base import LINES, Command, UsageError, counted, opened, plain, table


def test_a_table_has_aligned_columns_and_nothing_trails() -> None:
    assert table([["a", "bb", ""], ["ccc", "d", "e"]]) == "a    bb\nccc  d   e"


def test_a_file_or_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"x")
    with opened(str(file)) as source:
        assert source.read() == b"x"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"y")))
    for name in (None, "-"):
        with opened(name) as source:
            assert source is sys.stdin.buffer
    assert not sys.stdin.closed, "it is not ours to close"
    with pytest.raises(UsageError, match="none: No such file"):
        opened(str(tmp_path / "none"))


def test_a_command_says_what_its_statuses_mean() -> None:
    def arguments(parser: argparse.ArgumentParser) -> None:
        parser.set_defaults(run=lambda args: 0)

    command = Command("c", "helps", arguments)
    assert [line[0] for line in command.statuses] == ["0", "2"] and not command.examples


@pytest.mark.parametrize("terminal", [True, False])
def test_what_takes_long_is_counted_on_a_terminal(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert list(counted(iter("ab"), "letters")) == ["a", "b"]
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("\r1 letters ...\r2 letters ...") is terminal
    assert terminal or shown.err == ""


def test_what_others_say_moves_no_terminal() -> None:
    said = "a\tb\x1b[2J\r\n\x07\x9bm\u202e\u2028é联"
    assert plain(said) == "a\tb?[2J????m??é联"
    assert plain("a\nb", LINES) == "a\nb" and table([["a\x1b[2J", "b\n"], ["c", "d"]]) == "a?[2J  b?\nc      d"
