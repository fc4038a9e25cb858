"""What the documents show is what the program does."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import extproc

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "protos" / "README.md"])


def test_generated_pages_are_current() -> None:
    check = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, f"{check.stdout}{check.stderr}run: python docs/generate.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


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
