"""Which tests ``make check`` runs."""

from __future__ import annotations

import pytest

from .changed import ALWAYS, concerned, selected


@pytest.mark.parametrize(
    "path, tests",
    [
        ("extproc/llm/fold.py", "tests/llm/test_fold.py"),
        ("extproc/cli.py", "tests/test_cli.py"),
        ("extproc/check/tree.py", "tests/check/test_tree.py"),
        ("tests/llm/test_fold.py", "tests/llm/test_fold.py"),
        ("tests/exchange/conversation.py", "tests/exchange"),
        ("tests/conftest.py", None),
        ("tests/envoy/test_failover.py", None),
        ("extproc/frozen.py", "tests/test_frozen.py"),
        ("docs/envoy.md", None),
        ("bench/run.py", None),
        ("tests/llm/test_that_was_removed.py", None),
    ],
)
def test_a_change_leads_to_its_tests(path: str, tests: str | None) -> None:
    assert concerned(path) == tests


def test_no_test_is_named_twice() -> None:
    assert selected(["tests/llm/test_fold.py", "tests/llm/helpers.py"]) == sorted(["tests/llm", *ALWAYS])
