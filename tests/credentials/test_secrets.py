from __future__ import annotations

import logging
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.credentials.secrets import MAX_FILE_BYTES, Secret, Unresolvable, resolve

ENV = {"KEY": "sk-123", "ORG": "acme", "EMPTY": "", "LINES": "a\nb", "NESTED": "${KEY}"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("Bearer ${KEY}", "Bearer sk-123"),
        ("${ORG}/${KEY}!", "acme/sk-123!"),
        ("$KEY costs $5", "$KEY costs $5"),
        ("${NESTED}", "${KEY}"),
    ],
)
def test_references(text: str, value: str) -> None:
    assert resolve(text, ENV).reveal() == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${NOPE}", "environment variable NOPE is not set"),
        ("${EMPTY}", "environment variable EMPTY is empty"),
        ("${LINES}", "environment variable LINES holds a line break or another control character"),
        ("${sk-live-9}", "a reference must be ${NAME} of an environment variable, or ${file:/absolute/path}"),
        ("${file:relative}", "a reference must be ${NAME} of an environment variable, or ${file:/absolute/path}"),
        ("${}", "a reference must be ${NAME} of an environment variable, or ${file:/absolute/path}"),
        ("${KEY", "a `${` is not closed by a `}`"),
        ("a\r\nX-Evil: 1", "the value holds a line break or another control character"),
        ("", "the value is empty"),
    ],
)
def test_what_cannot_be_resolved(text: str, message: str) -> None:
    with pytest.raises(Unresolvable) as caught:
        resolve(text, ENV)
    assert str(caught.value) == message
    assert not caught.value.transient


def test_a_secret_does_not_show() -> None:
    secret = resolve("Bearer ${KEY}", ENV)
    shown = f"{secret} {secret!r} {secret!s} {secret:>40} {[secret]} " + "%s %r" % (secret, secret)  # noqa: UP031
    assert "sk-123" not in shown and "***" in shown
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        hash(secret)
    assert secret == Secret("Bearer sk-123") and secret != "Bearer sk-123"


def test_a_file_is_read_without_its_last_line_end_and_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("one\n")
    secret = resolve(f"Bearer ${{file:{path}}}", {})
    assert secret.reveal() == "Bearer one"
    assert "one" not in repr(secret)
    path.write_text("another")
    assert secret.reveal() == "Bearer another"


def test_a_replaced_file_of_the_same_size_is_noticed(tmp_path: Path) -> None:
    path, new = tmp_path / "key", tmp_path / "new"
    path.write_text("one")
    secret = resolve(f"${{file:{path}}}", {})
    new.write_text("two")
    os.utime(new, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    new.replace(path)
    assert secret.reveal() == "two"


@pytest.mark.parametrize("bad", [b"", b"\n", b"a\nb", b"\xff", b"x" * (MAX_FILE_BYTES + 1), None])
def test_a_file_that_went_bad_keeps_its_last_good_value(
    tmp_path: Path, bad: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "key"
    path.write_text("good-secret")
    secret = resolve(f"${{file:{path}}}", {})
    path.write_bytes(bad) if bad is not None else path.unlink()
    with caplog.at_level(logging.WARNING):
        assert secret.reveal() == "good-secret"
    assert str(path) in caplog.text and "good-secret" not in caplog.text
    path.write_text("better")
    assert secret.reveal() == "better"


def test_a_file_that_was_never_there_is_worth_another_attempt(tmp_path: Path) -> None:
    with pytest.raises(Unresolvable) as caught:
        resolve(f"${{file:{tmp_path}/nope}}", {})
    assert str(caught.value) == f"file '{tmp_path}/nope': No such file or directory"
    assert caught.value.transient


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unresolvable, match="not a regular file"):
        resolve(f"${{file:{tmp_path}/pipe}}", {})


@given(st.text(max_size=40))
def test_any_text_resolves_or_says_why(text: str) -> None:
    try:
        value = resolve(text, {"A": "b"}).reveal()
    except Unresolvable:
        return
    assert value and "\n" not in value
