"""What holds for every command."""

from __future__ import annotations

import contextlib
import itertools
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from extproc import commands
from extproc.cli import parsed
from extproc.commands.base import Command
from tests.support.command_line import Run, runner

PAIR = ["--client", "anthropic-messages", "--upstream", "openai_chat"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    return runner(monkeypatch, capfdbinary)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["translate", "request", "--client", "openai_chat"],
         "extproc: say --upstream, or --route with a file that names a provider"),
        (["translate", "request", *PAIR, "nope.json"], "extproc: nope.json: No such file or directory"),
        (["translate", "request", *PAIR, "/"], "extproc: /: Is a directory"),
        (["translate", "request", *PAIR, "--route", "nope.yaml"], "extproc: nope.yaml: No such file or directory"),
        (["translate", "response", *PAIR, "--request", "nope.json"], "extproc: nope.json: No such file or directory"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_status_2(run: Run, argv: list[str], message: str) -> None:
    done = run(*argv)
    assert (done.status, done.out, done.err) == (2, b"", message + "\n")


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        ([], "extproc COMMAND --help has examples"),
        (["translate"], "required: request|response"),
        (["translate", "request", "--client", "openai"], "unknown dialect 'openai'; choose one of: openai_chat, "),
        (["translate", "response", "--client", "openai_chat"], "required: --upstream"),
        (["translate", "response", *PAIR, "--status", "x"], "invalid int value"),
        (["fly"], "invalid choice: 'fly'"),
        (["run", "--fly"], "extproc run: error: unrecognized arguments: --fly\n`extproc run --help` says more"),
        (["launch"], "required: client\n`extproc launch --help` says more, with examples"),
    ],
)
def test_wrong_usage_says_what_is_right(run: Run, argv: list[str], word: str) -> None:
    done = run(*argv)
    assert done.status == 2 and word in done.err and "Traceback" not in done.err


def process(*argv: str) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-m", "extproc", *argv], stdin=pipe, stdout=pipe, stderr=pipe)


def test_a_reader_that_goes_away_is_no_drama() -> None:
    with process("translate", "response", "--client", "openai_chat", "--upstream", "openai_chat") as child:
        assert child.stdin and child.stdout and child.stderr
        child.stdout.close()
        child.stdin.write(b"data: {}\n\n")
        child.stdin.close()
        assert child.stderr.read() == b""
        assert child.wait(10) == 1


ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*/README.md")])


def shown(page: Path) -> Iterator[str]:
    """The lines of a shell that a page shows and in which we are called."""
    for block in re.findall(r"^```sh\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        yield from (line for line in block.replace("\\\n", " ").splitlines() if re.search(r"\bextproc [a-z]", line))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_shows_commands_that_are_understood(page: Path) -> None:
    for line in shown(page):
        with contextlib.suppress(ValueError):  # a quotation that goes on in the next line
            for call in lines(line):
                assert callable(parsed(call).run), line


def test_the_pages_do_show_some() -> None:
    assert sum(len(list(shown(page))) for page in PAGES) > 40


def lines(example: str) -> list[list[str]]:
    """The arguments of each call of ours in *example*."""
    words = shlex.split(example.partition("#")[0].replace("$(", "$( ").replace(")", " )"))
    calls = [list(group) for more, group in itertools.groupby(words, lambda w: w in ("|", "&&", "&", ";", "--", ">"))]
    return [call[call.index("extproc") + 1 :] for call in calls if "extproc" in call]


@pytest.mark.parametrize("command", commands.every(), ids=lambda command: str(command.name))
def test_each_says_how_it_is_used_and_what_its_status_means(run: Run, command: Command) -> None:
    done = run(command.name, "--help")
    said = done.out.decode()
    assert done.status == 0 and "examples:\n  " in said and "exit status:\n  0 " in said
    for example in command.examples:
        assert f"  {example}\n" in said, "it is there to be pasted: never wrapped"
        calls = lines(example) if "eval" not in example else []
        for call in calls:
            assert callable(parsed(call).run)


def test_the_list_of_commands_is_shown_with_the_statuses(run: Run) -> None:
    said = run("--help").out.decode()
    assert all(f"    {command.name}" in said for command in commands.every())
    assert "exit status:" in said


def test_the_version_is_the_distributions(run: Run) -> None:
    done = run("--version")
    assert done.status == 0 and re.fullmatch(rb"extproc \d+\.\d+\.\d+\S*\n", done.out)


def test_files_may_stand_behind_flags(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "routes.json"
    file.write_text('{"uri": "/x", "plugins": {"ai-proxy": {"provider": "openai", "auth": {"query": {"a": "b"}}}}}')
    assert run("import", "apisix", "--no-checks", str(file)).status == 0
    done = run("import", "apisix", "--no-cheks", str(file))
    assert done.status == 2 and "unrecognized arguments: --no-cheks" in done.err
