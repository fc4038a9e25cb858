from __future__ import annotations

import sys

import pytest

from extproc.importers.patterns import is_re2


@pytest.mark.parametrize("without", [False, True])
def test_what_envoy_takes(without: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if without:
        monkeypatch.setitem(sys.modules, "re2", None)
    assert is_re2("^gpt-(4|5).*$") and is_re2("(?i)a{2,3}")
    assert not any(is_re2(pattern) for pattern in ("(?!a)b", "(?<=a)b", r"(a)\\1", "a++", "(", "[b-a]"))
