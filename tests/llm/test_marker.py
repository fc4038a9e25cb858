from __future__ import annotations

import re

from extproc.llm.marker import is_mark, mark


def test_a_mark_is_known_again_and_depends_on_the_text_alone() -> None:
    assert mark("why") == mark("why") != mark("who")
    assert re.fullmatch(r"gw1\.[A-Za-z0-9_-]{16,}", mark("é\ud800"))
    assert is_mark(mark(""))
    assert not is_mark("EqQBCgIYAhIM")
    assert not is_mark(None)
