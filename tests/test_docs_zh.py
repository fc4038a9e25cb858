"""The Chinese pages say what the English ones say: the same headings, blocks, names and links, place by place."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.scripts import script
from tests.test_docs import slugs

ROOT = Path(__file__).parent.parent
ZH = ROOT / "docs" / "zh"
IN_ENGLISH_ALONE = {
    # For those who work on the code, who read its comments too.
    "architecture.md",
    "releasing.md",
}

ENGLISH = {
    "README.md": ROOT / "README.md",
    "examples.md": ROOT / "examples" / "README.md",
    **{path.name: path for path in sorted((ROOT / "docs").glob("*.md")) if path.name not in IN_ENGLISH_ALONE},
}
"""Which page each Chinese one translates."""
CHINESE = {path.resolve(): ZH / name for name, path in ENGLISH.items()}


@dataclass
class Section:
    """What stands below one heading."""

    level: int
    anchor: str
    blocks: list[str]
    names: Counter[str]
    links: Counter[str]
    rows: int
    items: int
    prose: str


def sections(page: Path) -> list[Section]:
    text = page.read_text("utf-8")
    fence = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
    found: list[Section] = []
    blocks = (one[0] for one in fence.finditer(text))
    marked = fence.sub("\0", text)
    parts = re.split(r"(?:^<a id=\"(.*?)\"></a>\n\n?)?^(#+) (.+)\n", marked, flags=re.MULTILINE)
    assert not parts[0].strip(), f"{page.name} begins with its heading"
    named = slugs(list(parts[3::4]))
    for place, (given, marks, body) in enumerate(zip(parts[1::4], parts[2::4], parts[4::4], strict=True)):
        own = [next(blocks) for _ in range(body.count("\0"))]
        body = body.replace("\0", "")
        links = re.findall(r"\]\(([^)\s]+)\)", body)
        prose = re.sub(r"`[^`]*`|\]\([^)]*\)|<[^>]*>|^ *\|.*$", "", body, flags=re.MULTILINE)
        found.append(
            Section(
                len(marks),
                given if given is not None else named[place],
                own,
                Counter(" ".join(name.split()) for name in re.findall(r"`([^`]+)`", body)),
                Counter(leads(page, link) for link in links),
                len(re.findall(r"^ *\|", body, re.MULTILINE)),
                len(re.findall(r"^ *(?:[-*]|\d+\.) ", body, re.MULTILINE)),
                prose,
            )
        )
    return found


def leads(page: Path, link: str) -> str:
    """Where *link* leads: to the Chinese page where there is one, whichever language asks."""
    path, sharp, anchor = link.partition("#")
    if "://" in link or not path:
        return link
    there = (page.parent / path).resolve()
    return str(CHINESE.get(there, there)) + sharp + anchor


def test_each_page_for_users_is_there_in_chinese() -> None:
    assert {path.name for path in ZH.glob("*.md")} == set(ENGLISH)


@pytest.mark.rows("E12")
@pytest.mark.parametrize("name", sorted(ENGLISH))
def test_both_languages_say_the_same(name: str) -> None:
    english, chinese = sections(ENGLISH[name]), sections(ZH / name)
    assert [(one.level, one.anchor) for one in chinese][1:] == [(one.level, one.anchor) for one in english][1:]
    for ours, theirs in zip(chinese, english, strict=True):
        where = f"{name}#{theirs.anchor}"
        assert ours.blocks == theirs.blocks, where
        assert ours.names == theirs.names, (where, ours.names - theirs.names, theirs.names - ours.names)
        assert ours.links == theirs.links, (where, ours.links - theirs.links, theirs.links - ours.links)
        assert (ours.rows, ours.items) == (theirs.rows, theirs.items), where
        # Chinese needs about half as many signs as English has letters, and more than a fifth of them.
        letters, signs = len(re.findall(r"[A-Za-z]", theirs.prose)), len(re.findall(r"[\u4e00-\u9fff]", ours.prose))
        assert letters < 60 or letters / 8 < signs < letters, (where, letters, signs)


def test_what_the_generated_pages_say_is_said_in_both() -> None:
    """``docs/generate.py --check`` fails for what is missing, and for what no page says any more."""
    made = script(ROOT / "docs" / "chinese.py")
    known = ("flag", "参数"), ("refused, 400: ``", "拒绝，400：``"), ("The rows", "各行"), ("gone", "没了")
    said = made.Table("".join(f'msgid "{english}"\nmsgstr "{chinese}"\n\n' for english, chinese in known))
    english = (
        "# `extproc`\n\n## The rows\n\n```sh\nextproc flag\n```\n\n"
        "| flag | `x` |\n|---|---|\n| refused, 400: `no` | a=b |\n"
    )
    chinese = (
        '# `extproc`\n\n<a id="the-rows"></a>\n## 各行\n\n```sh\nextproc flag\n```\n\n'
        "| 参数 | `x` |\n|---|---|\n| 拒绝，400：`no` | a=b |\n"
    )
    assert made.page(english, said) == chinese and not said.missing and said.unused == ["gone"]
    assert said("Nobody has\nsaid `this`.") and list(said.missing) == ["Nobody has\nsaid `this`."]


def test_the_first_pages_lead_to_each_other() -> None:
    assert "(docs/zh/README.md)" in (ROOT / "README.md").read_text("utf-8")
    assert "(../../README.md)" in (ZH / "README.md").read_text("utf-8")
