"""The generated pages in Chinese: each page of ``docs/generate.py`` again, with every text of it taken from
``docs/zh/generated.po``. A text that is not there, or is there for nothing, is a failure: both languages say the same.

A text is a heading, a paragraph, or a cell of a table; its lines are joined. Blocks are the same in both languages, and
so is what has no word outside of code (`--listen`, efforts=low).
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

TABLE = Path(__file__).parent / "zh" / "generated.po"
_FENCED = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(r'^msgid (".*")\nmsgstr (".*")$', re.MULTILINE)
_CODE = re.compile(r"`[^`]+`")
_WORD = re.compile(r"[A-Za-z]{2}")
ANY_CODE = "``"


class Table:
    """What is said in Chinese for what, and what was asked of it."""

    def __init__(self, text: str) -> None:
        self._known = {json.loads(english): json.loads(chinese) for english, chinese in _ENTRY.findall(text)}
        self._unused = dict.fromkeys(self._known)
        self.missing: dict[str, None] = {}
        """What was asked for and is not there."""

    @property
    def unused(self) -> list[str]:
        """What nobody has asked for."""
        return list(self._unused)

    def __call__(self, english: str) -> str:
        """*english* in Chinese. Where the very text is not there, the one with any code in its place is meant."""
        if not _WORD.search(re.sub(r"\S*=\S*", "", _CODE.sub("", english))):
            return english
        key = english if english in self._known else _CODE.sub(ANY_CODE, english)
        if key not in self._known:
            self.missing[english] = None
            return english
        self._unused.pop(key, None)
        code = _CODE.findall(english) if key != english else []
        return _woven(self._known[key].split(ANY_CODE), code)


def page(english: str, said: Callable[[str], str]) -> str:
    """The page *english*, each text as it is *said* in Chinese. A heading keeps the name that links have for it."""
    texts = ["\n\n".join(_paragraphs(text, said)) for text in _FENCED.sub("\0", english).split("\0")]
    return _woven(texts, [found[0] for found in _FENCED.finditer(english)])


def _woven(texts: list[str], between: list[str]) -> str:
    """*texts*, and each of what stands *between* two of them."""
    return "".join(part for pair in itertools.zip_longest(texts, between, fillvalue="") for part in pair)


def _paragraphs(text: str, said: Callable[[str], str]) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        lines = paragraph.strip("\n").split("\n")
        if lines[0].startswith("#"):
            made = _heading(lines[0], said)
            assert len(lines) == 1, f"an empty line belongs behind {lines[0]}"
        elif lines[0].startswith("|"):
            made = "\n".join(_row(line, said) for line in lines)
        else:
            made = said(" ".join(line.strip() for line in lines))
        yield "\n" * paragraph.startswith("\n") + made + "\n" * (paragraph.endswith("\n") and len(paragraph) > 1)


def _heading(line: str, said: Callable[[str], str]) -> str:
    marks, _, text = line.partition(" ")
    chinese = said(text)
    # As a forge names the English one.
    name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
    return f"{marks} {chinese}" if chinese == text or marks == "#" else f'<a id="{name}"></a>\n{marks} {chinese}'


def _row(line: str, said: Callable[[str], str]) -> str:
    return "|".join(f" {said(cell.strip())} " if cell.startswith(" ") else cell for cell in line.split("|"))
