"""What is to run, before anything does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from extproc.gateway import FileError, read
from extproc.run.main import NothingFound, RunOptions, RunPlan, lines, plan
from extproc.run.running import CannotRun

KEY = {"OPENAI_API_KEY": "k"}


def planned(environ: Mapping[str, str], **options: object) -> RunPlan:
    with plan(RunOptions(probe=False, **options), environ) as made:  # type: ignore[arg-type]
        return made


@pytest.fixture(autouse=True)
def _somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_keys_alone_are_enough() -> None:
    made = planned(KEY)
    assert made.source == "what is here" and set(made.layout.routes) == {"openai"}
    assert read(made.file()).providers.keys() == {"openai"}, "it can be written down"


def test_nothing_at_all_is_said_with_what_to_do() -> None:
    with pytest.raises(NothingFound) as caught:
        planned({"AWS_BEARER_TOKEN_BEDROCK": "k"})
    said = str(caught.value)
    assert all(word in said for word in ("export OPENAI_API_KEY=", "extproc run --scripted", "AWS_REGION=us-east-1"))


def test_the_file_in_this_folder_is_read() -> None:
    Path("extproc.yaml").write_text("providers: {anthropic: }")
    assert set(planned({"ANTHROPIC_API_KEY": "k"}).layout.routes) == {"anthropic"}


def test_a_file_without_providers_is_about_those_that_are_found() -> None:
    Path("mine.yaml").write_text("models: {fast: openai/gpt-5.4-mini}\nlisten: 127.0.0.1:8080")
    made = planned(KEY, file="mine.yaml")
    assert made.layout.listen == ("127.0.0.1", 8080) and set(made.layout.models) == {"fast"}
    assert read(made.file()).models.keys() == {"fast"}


def test_a_key_that_is_missing_is_said_with_the_line_that_sets_it() -> None:
    Path("extproc.yaml").write_text("providers: {anthropic: }")
    with pytest.raises(CannotRun) as caught:
        planned({})
    said = "extproc.yaml: anthropic: auth.header.x-api-key: environment variable ANTHROPIC_API_KEY is not set"
    assert str(caught.value) == f"{said}: export ANTHROPIC_API_KEY=..."


@pytest.mark.parametrize("content", [None, b"\xff", b"providers: 7"])
def test_a_file_that_cannot_be_read(content: bytes | None) -> None:
    if content is not None:
        Path("mine.yaml").write_bytes(content)
    with pytest.raises((CannotRun, FileError), match=r"^mine\.yaml: "):
        planned(KEY, file="mine.yaml")


def test_what_was_found_and_cannot_be_used_is_left_out_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    account = '{"type": "service_account", "project_id": "p"}'
    made = planned(KEY | {"GCP_SERVICE_ACCOUNT": account})
    assert set(made.layout.routes) == {"openai"}
    assert [note for note in made.found.notes if "vertex-ai" in note and "client_email" in note]


def test_the_scripted_providers_need_no_key_and_have_one_of_their_own() -> None:
    made = planned({}, scripted=True)
    assert made.environ["OPENAI_API_KEY"].startswith("demo-key")
    assert made.layout.hosts == {"127.0.0.1"}


def test_lines_name_the_url_only_where_it_is_not_the_usual_one() -> None:
    layout = planned(KEY).layout
    assert "--url" not in "\n".join(lines(layout, "http://127.0.0.1:10000", "http://127.0.0.1:9", "127.0.0.1:8"))
    other = lines(layout, "http://127.0.0.1:7", "http://127.0.0.1:9", "127.0.0.1:8")
    assert "extproc launch claude --url http://127.0.0.1:7 --model gpt-5.4-mini" in other
    assert "extproc doctor http://127.0.0.1:7 --admin http://127.0.0.1:9 --sidecar 127.0.0.1:8" in other
