"""What the documents show is what the program does."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "protos" / "README.md"])


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


def test_the_readmes_python_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        run = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=False, cwd=ROOT)
        assert run.returncode == 0, run.stderr


def test_the_readmes_command_lines_run() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    (command,) = re.findall(r"^(echo .*?)\nextproc dialects", text, re.DOTALL | re.MULTILINE)
    command = command.replace("extproc translate", f"{sys.executable} -m extproc translate")
    run = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert '"max_completion_tokens":99' in run.stdout
    assert "top_k:dropped" in run.stderr
