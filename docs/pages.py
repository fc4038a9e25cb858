"""The site's files (a hook of mkdocs.yml): the repository's tree as it is, as far as the pages lead.

Pages stand where the repository has them (``docs/quickstart.md``, ``examples/openai/README.md``), and so does every
file that one of them links to; the README is the first page. Each page's Markdown is put beside it, and ``llms.txt``
lists them for programs that read.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FIRST = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
_FENCED = re.compile(r"^( *)(```|~~~).*?^ *\2 *$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(\s*([^)\s]+?)\s*\)")


def links(page: Path) -> Iterator[str]:
    """The targets of the links and pictures of *page*, but for those in its blocks."""
    for target in _LINK.findall(_FENCED.sub("", page.read_text("utf-8"))):
        yield str(target)


def leads_to(page: Path) -> Iterator[Path]:
    """The files of the repository that *page* links to."""
    for target in links(page):
        if "://" not in target and not target.startswith(("#", "mailto:")):
            found = (page.parent / target.partition("#")[0]).resolve()
            if found.is_file() and found.is_relative_to(ROOT):
                yield found


def reached() -> list[Path]:
    """Every page, and every file that one of them leads to."""
    waiting = [*(ROOT / name for name in FIRST), *sorted((ROOT / "docs").glob("*.md"))]
    found: dict[Path, None] = {}
    while waiting:
        page = waiting.pop()
        if page not in found:
            found[page] = None
            waiting += leads_to(page) if page.suffix == ".md" else ()
    return sorted(found)


def summary(page: Path) -> str:
    """The first sentence of *page* that is about what it is about, as plain words."""
    _, _, text = _FENCED.sub("", page.read_text("utf-8")).partition("\n")
    paragraphs = (part.strip() for part in re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL).split("\n\n"))
    prose = " ".join(" ".join(part.split()) for part in paragraphs if part and part[0] not in "#|-!<")
    plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", prose).replace("**", "")
    sentences = re.split(r"(?<=[.!?:])\s(?=[A-Z`])", plain)
    return next((one for one in sentences if not one.startswith("Made by ")), "").rstrip(":")


# ---- what mkdocs calls


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    for file in [file for file in files if file.src_dir == config.docs_dir]:
        files.remove(file)
    for path in reached():
        files.append(File(str(path.relative_to(ROOT)), str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def on_post_build(config: Any) -> None:
    site = Path(config.site_dir)
    for page in (path for path in reached() if path.suffix == ".md"):
        beside = site / page.relative_to(ROOT)
        beside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(page, beside)
    (site / "llms.txt").write_text(llms(config), "utf-8")


def llms(config: Any) -> str:
    """The pages by the navigation's sections, each with its Markdown's place and its first sentence (llmstxt.org)."""

    def line(title: str, page: str) -> str:
        return f"- [{title}]({page}): {summary(ROOT / page)}"

    lines = [f"# {config.site_name}", "", f"> {config.site_description}", ""]
    for (title, inside), *_ in (list(entry.items()) for entry in config.nav):
        if isinstance(inside, str):
            lines += [line(title, inside), ""]
        else:
            lines += [f"## {title}", "", *(line(*one) for entry in inside for one in entry.items()), ""]
    named = {page for entry in config.nav for page in _named(entry)}
    rest = [str(path.relative_to(ROOT)) for path in reached() if path.suffix == ".md"]
    lines += ["## Optional", "", *(line(heading(page), page) for page in rest if page not in named)]
    return "\n".join(lines).rstrip() + "\n"


def _named(entry: Any) -> Iterator[str]:
    for inside in entry.values() if isinstance(entry, dict) else (entry,):
        if isinstance(inside, str):
            yield inside
        else:
            for one in inside:
                yield from _named(one)


def heading(page: str) -> str:
    return (ROOT / page).read_text("utf-8").partition("\n")[0].lstrip("# ").replace("`", "")
