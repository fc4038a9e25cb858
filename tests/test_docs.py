"""What the documents show is what the program does."""

from __future__ import annotations

import html.parser
import itertools
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import extproc
from extproc import commands
from tests.support.scripts import script

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "protos/*.md", "examples/**/*.md", "deploy/**/*.md", "tests/**/*.md")
    for path in ROOT.glob(pattern)
)


pages = script(ROOT / "docs" / "pages.py")


def test_generated_pages_are_current() -> None:
    check = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, f"{check.stdout}{check.stderr}run: python docs/generate.py"


def slugs(headings: list[str]) -> list[str]:
    """*headings* of a page as a forge, and the site, name them."""
    seen: dict[str, int] = {}
    found = []
    for heading in headings:
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading.strip()).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        seen[slug] = seen.get(slug, -1) + 1
        found.append(f"{slug}-{seen[slug]}" if seen[slug] else slug)
    return found


def anchors(page: Path) -> set[str]:
    """The places in *page* that a link can name."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {
        *slugs(re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)),
        *re.findall(r"^<a id=\"(.*?)\"></a>$", text, re.MULTILINE),
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in pages.links(page):
        if not target.startswith(("http://", "https://")):
            path, _, anchor = target.partition("#")
            there = page.parent / path if path else page
            assert there.is_file(), f"{page.name} links to {target}: name a file, the site has no folders"
            assert not anchor or anchor in anchors(there), f"{page.name} links to {target}, where no such heading is"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lists_are_lists_on_every_forge_and_in_the_site(page: Path) -> None:
    """Some readers of Markdown want an empty line before a list, and four spaces before what is within."""
    text = re.sub(r"^( *)```.*?^ *```", r"\1```", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    lines = text.splitlines()
    for before, line in itertools.pairwise(lines):
        if re.match(r"(?:[-*]|\d+\.) ", line):
            assert not before or before[0] == " " or re.match(r"(?:[-*]|\d+\.) ", before), f"{page.name}: {line}"
        # What stands below an item after an empty line is the item's by four spaces.
        assert before or not re.match(r" {1,3}\S", line), f"{page.name}: {line}"


class Fetched(html.parser.HTMLParser):
    """What a browser fetches by itself when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source"):
            self.found.append(given.get("src") or "")
        if tag == "link" and given.get("rel") not in ("next", "prev", "canonical"):
            self.found.append(given.get("href") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)],
        capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert (built.returncode, built.stdout, built.stderr) == (0, "", ""), "each page has its place in nav of mkdocs.yml"
    return folder


def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    built = sorted(site.rglob("*.html"))
    assert len(built) > 50
    for page in built:
        reader = Fetched()
        reader.feed(page.read_text("utf-8"))
        assert reader.found and not [url for url in reader.found if "//" in url], page
    styles = "".join(path.read_text("utf-8") for path in site.rglob("*.css"))
    assert "url(http" not in styles and "@import" not in styles


def test_each_pages_markdown_lies_beside_it_and_in_llms_txt(site: Path) -> None:
    said = (site / "llms.txt").read_text("utf-8")
    listed = re.findall(r"^- \[[^]]+\]\((\S+)\): \S", said, re.MULTILINE)
    assert said.startswith("# extproc\n\n> ") and len(listed) == len(set(listed)) > 50
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")} <= set(listed)
    for page in listed:
        assert (site / page).read_bytes() == (ROOT / page).read_bytes()
        shown = page.replace("README.md", "index.md").removesuffix(".md")
        assert (site / f"{shown}.html").exists(), page


@pytest.mark.rows("E14")
def test_words_are_spelt_as_they_are() -> None:
    program = shutil.which("codespell", path=str(Path(sys.executable).parent))
    assert program is not None
    found = subprocess.run([program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert found.returncode == 0, found.stdout
    wrong = re.compile(r"Deep[ -]?seek(?<!DeepSeek)|Open AI|Open[ -]?router(?<!OpenRouter)|azure\.openai\.com|Github")
    for path in PAGES:
        text = re.sub(r"`[^`]*`|```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
        assert not (hit := wrong.search(text)), f"{path.name}: {hit and hit[0]}"


NAME = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["name"]
SPOKEN = sorted(
    path
    for pattern in (
        "*.md",
        "docs/**/*",
        "examples/**/*",
        "deploy/**/*",
        "extproc/**/*.py",
        "protos/*",
        "Dockerfile",
        "*.toml",
    )
    for path in ROOT.glob(pattern)
    if path.is_file() and path.suffix in {".md", ".py", ".yaml", ".toml", ""}
)


def test_what_is_to_be_installed_is_ours() -> None:
    """`extproc` on the package index belongs to somebody else: who follows our words must not install it."""
    assert NAME == "extproc-llm" and len(SPOKEN) > 100
    wrong = re.compile(r"""(?:pip install|uv add|pipx run)[^\n]*?\bextproc(?:\[|(?![\w./-]))|['"]extproc\[\w""")
    found = [
        f"{path.relative_to(ROOT)}: {hit[0]}" for path in SPOKEN for hit in wrong.finditer(path.read_text("utf-8"))
    ]
    assert not found, f"the distribution is {NAME}: {found}"
    assert wrong.search("pip install 'extproc[gcp]'") and wrong.search("pip install extproc\n")
    assert not wrong.search(f"pip install '{NAME}[gcp]'") and not wrong.search("pip install --no-deps extproc/x.whl")


@pytest.mark.parametrize("page", ["README.md", "docs/library.md"])
def test_the_python_of_a_page_runs(page: str) -> None:
    """Its blocks one after the other, as a reader would try them."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    assert blocks
    whole = "\n".join(blocks)
    run = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, check=False, cwd=ROOT)
    assert run.returncode == 0, run.stderr


def public(kind: type) -> set[str]:
    """What may be asked of *kind*."""
    own = {name for name in dir(kind) if not name.startswith("_")}
    return own | set(getattr(kind, "__struct_fields__", ()))


def test_the_librarys_page_names_all_that_is_public() -> None:
    text = (ROOT / "docs" / "library.md").read_text("utf-8")
    said = set(re.findall(r"`(\w+)(?:\.[\w.]+)?(?:\([^`]*\))?`", text))
    t = extproc.Translation(upstream="openai_chat")
    attributes = ({name for name in dir(t) if not name.startswith("_")} | public(extproc.Translation)) - {"note"}
    for kind in (extproc.Call, extproc.Answer, extproc.Loss, extproc.Usage):
        attributes |= public(kind)
    assert attributes - said - {"limits"} == set()
    assert set(extproc.__all__) - {"Route", "Usage"} <= said, "Route is what compile_route gives, Usage what usage is"


def test_the_readmes_command_lines_run() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    (command,) = re.findall(r"^(echo .*?)\nextproc dialects", text, re.DOTALL | re.MULTILINE)
    command = command.replace("extproc translate", f"{sys.executable} -m extproc translate")
    run = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert '"max_completion_tokens":99' in run.stdout
    assert "top_k:dropped" in run.stderr


def test_the_exit_statuses_of_the_operators_page_are_the_commands_own() -> None:
    text = (ROOT / "docs" / "operations.md").read_text("utf-8")
    (table,) = re.findall(r"^\| command \| 0 \| 1 \| 2 \|\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    known = {command.name: {status[0] for status in command.statuses} for command in commands.every()}
    shown = 0
    for names, *cells in (line.strip("|\n").split("|") for line in table.splitlines()):
        said = {status for status, cell in zip("012", cells, strict=True) if cell.strip()}
        for name in re.findall(r"`(\w+)`", names):
            assert known[name] == said, name
            shown += 1
    assert shown > 5
