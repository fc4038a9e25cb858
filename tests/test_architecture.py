"""The arrows of the architecture: who may import whom."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from pathlib import Path

import pytest

from extproc.providers import PROVIDERS

ROOT = Path(__file__).parent.parent / "extproc"
LEAVES = {"frozen", "names", "headers", "capabilities", "settings", "effects", "version"}
"""Names, tables and values: they know nothing of ours, and whoever needs one may have it."""
CORE = LEAVES | {"llm", "framing", "dialects"}
SAYS = {"costs", "route", "providers", "credentials", "policy"}
MAY_IMPORT: dict[str, set[str]] = {
    **{leaf: set() for leaf in LEAVES},
    "names": {"frozen"},
    "effects": {"frozen"},
    "wire": set(),
    "headers": {"names"},
    "llm": {"frozen"},
    "framing": {"frozen"},
    "dialects": LEAVES | {"llm", "framing"},
    "costs": {"frozen", "capabilities", "llm"},
    "providers": {"frozen"},
    "credentials": {"frozen", "effects"},
    "policy": {"frozen", "effects", "llm", "credentials"},
    "route": LEAVES | {"llm", "costs", "providers", "credentials", "policy"},
    "translation": CORE | SAYS,
    "telemetry": {"frozen", "version", "llm", "framing"},
    "tracing": CORE | {"telemetry"},
    "exchange": CORE | SAYS | {"translation", "telemetry", "envoy_api"},
    "captures": LEAVES | {"llm", "dialects", "route", "translation", "telemetry"},
    "server": LEAVES
    | {"llm", "costs", "credentials", "route", "exchange", "telemetry", "tracing", "captures", "envoy_api"},
    "reference": set(),
    "check": LEAVES | {"route", "policy", "providers", "exchange", "reference"},
    "gateway": LEAVES | {"route", "providers", "policy", "reference"},
    "importers": LEAVES | {"costs", "gateway", "route", "providers", "reference", "check"},
    "demo": {"reference", "wire"},
    "conformance": CORE | SAYS | {"translation", "demo", "wire"},
    "doctor": {"check", "version", "wire"},
    "launch": {"doctor", "run", "wire"},
    "run": {"gateway", "route", "providers", "credentials", "reference", "demo", "wire"},
    "envoy_api": set(),
    "__init__": CORE | SAYS | {"translation"},
    "__main__": {"cli"},
    "commands": CORE
    | SAYS
    | {"translation", "exchange", "server", "check", "importers", "gateway", "run", "reference", "demo", "conformance"}
    | {"doctor", "launch", "wire", "captures", "telemetry"}
    | {"cli"},
    "cli": {"commands", "dialects", "route", "version"},
}
"""What each part may import of ours, beside itself."""

PARALLEL = {
    "BlockWriter": "writes single blocks, where an API has blocks",
    "Conversation": "writes the messages, where an API has no turns of user and assistant",
    "PartWriter": "writes single parts, where an API has parts",
    "Tools": "what a request says of tools, and what must be undone in the response",
}
"""What each dialect has for itself under the same name, because it does the same for its own API: no dialect imports
another's."""

MODULES = sorted(path for path in ROOT.rglob("*.py") if "envoy_api" not in path.parts)


def imports(path: Path) -> set[str]:
    """Absolute names of the modules that *path* imports, those it imports lazily too."""
    package = ("extproc", *path.relative_to(ROOT).parent.parts)
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def part(module: str) -> str | None:
    """Which part of ours a module belongs to."""
    names = module.split(".")
    return names[1] if names[0] == "extproc" and len(names) > 1 else None


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
@pytest.mark.rows("B1", "B38")
def test_arrows_go_one_way(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    found = {p for p in map(part, imports(path)) if p is not None}
    assert found <= MAY_IMPORT[own] | {own}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_libraries_stay_where_they_belong(path: Path) -> None:
    where = path.relative_to(ROOT).parts[0]
    roots = {name.split(".")[0] for name in imports(path)}
    assert "envoy" not in roots, "the stubs of other packages may not be loaded beside ours"
    if where != "server" and path.parent.name != "commands":
        assert "grpc" not in roots
    if where in ("llm", "framing", "dialects"):
        assert not roots & {"asyncio", "json", "logging", "pydantic", "random", "socket", "time", "uuid", "yaml"}


HANDLES = ("llm", "framing", "credentials", "route", "policy", "translation", "telemetry", "exchange", "server")
"""What every exchange goes through, dialects and providers aside."""


@pytest.mark.parametrize("path", [path for path in MODULES if path.relative_to(ROOT).parts[0] in HANDLES], ids=str)
def test_what_handles_an_exchange_names_no_dialect(path: Path) -> None:
    # A provider may have an API's name.
    names = {p.name for p in (ROOT / "dialects").iterdir() if p.is_dir()} - {"shared", "__pycache__"} - set(PROVIDERS)
    values = {node.value for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant)}
    assert not values & names


def test_the_picture_shows_what_there_is() -> None:
    page = (ROOT.parent / "docs" / "architecture.md").read_text("utf-8")
    picture = page.partition("The arrows go one way")[0]
    rows = " ".join(line.split("|")[1] for line in picture.splitlines() if line.startswith("| `"))
    shown = {name.removesuffix("/").removesuffix(".py") for name in re.findall(r"`([\w./]+)`", rows)}
    there = {path.name.removesuffix(".py") for path in ROOT.iterdir() if path.name.endswith(".py") or path.is_dir()}
    assert shown - {".yaml", ""} == there - {"__init__", "__main__", "__pycache__", "envoy_api"}
    assert set(MAY_IMPORT) == there - {"__pycache__"}


def test_the_page_names_what_a_dialect_may_be_able_to_do() -> None:
    page = (ROOT.parent / "docs" / "architecture.md").read_text("utf-8")
    tree = ast.parse((ROOT / "dialects" / "base.py").read_text("utf-8"))
    asked = [
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef) and "runtime_checkable" in map(ast.unparse, node.decorator_list)
    ]
    assert len(asked) > 5 and [name for name in asked if f"`{name}`" not in page] == ["Dialect"]


def test_rows_that_comments_name_are_there() -> None:
    listed = (ROOT.parent / "tests" / "requirements.md").read_text("utf-8")
    rows = set(re.findall(r"^- ([A-F]\d+)", listed, re.MULTILINE))
    for path in MODULES:
        for group in re.findall(r"\(((?:[A-F]\d{1,2}(?:, |-)?)+)\)", path.read_text("utf-8")):
            assert set(re.findall(r"[A-F]\d+", group)) <= rows, f"{path}: {group}"


@pytest.mark.parametrize("path", sorted((ROOT / "dialects").glob("*/*.py")), ids=lambda p: f"{p.parent.name}/{p.name}")
@pytest.mark.rows("B1", "B4")
def test_no_dialect_knows_another(path: Path) -> None:
    others = {p.name for p in (ROOT / "dialects").iterdir() if p.is_dir()} - {path.parent.name, "shared"}
    assert not {name for name in imports(path) if set(name.split(".")) & others}


@pytest.mark.rows("A24")
@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_can_be_imported(path: Path) -> None:
    names = ("extproc", *path.relative_to(ROOT).with_suffix("").parts)
    if names[-1] != "__main__":
        importlib.import_module(".".join(name for name in names if name != "__init__"))


@pytest.mark.rows("B37")
def test_the_package_holds_every_module_and_its_data() -> None:
    settings = tomllib.loads((ROOT.parent / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    assert settings["packages"]["find"]["include"] == ["extproc*"]
    # A folder without one is left out, and whatever stands in it.
    assert [path for path in ROOT.rglob("*.py") if not (path.parent / "__init__.py").is_file()] == []
    patterns = settings["package-data"]["extproc"]
    packed = {path for pattern in patterns for path in ROOT.glob(pattern)}
    others = {path for path in ROOT.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path for path in others if path.suffix not in (".py", ".so")} <= packed


def public_types(path: Path) -> set[str]:
    """Classes and aliases of types that a module declares for others."""
    names: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return {name for name in names if name[0].isupper() and not name.isupper()}


def test_one_name_means_one_thing() -> None:
    declared: dict[str, list[Path]] = {}
    for path in MODULES:
        for name in public_types(path):
            declared.setdefault(name, []).append(path.relative_to(ROOT))
    twins = {name: paths for name, paths in declared.items() if len(paths) > 1}
    for name in PARALLEL:
        folders = [path.parts[:2] for path in twins.pop(name)]
        assert len(set(folders)) == len(folders) and all(
            top == "dialects" and own != "shared" for top, own in folders
        ), name
    assert twins == {}


def own_tests(path: Path) -> Path | None:
    """Where the tests of a module stand: ``tests/llm/test_fold.py`` of ``extproc/llm/fold.py``, a package's own in
    ``tests/check/test_check.py``; ``None`` for a package's file that does nothing itself."""
    own = path.relative_to(ROOT)
    if own.name != "__init__.py":
        return ROOT.parent / "tests" / own.parent / f"test_{own.name}"
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    if not any(isinstance(node, kinds) for node in ast.walk(ast.parse(path.read_text("utf-8")))):
        return None
    return ROOT.parent / "tests" / own.parent / f"test_{path.parent.name}.py"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
@pytest.mark.rows("F18")
def test_each_module_is_tested_by_a_file_of_its_own(path: Path) -> None:
    tests = own_tests(path)
    if tests is None:
        return
    assert tests.is_file(), f"{path.relative_to(ROOT)} has no {tests.relative_to(ROOT.parent)}"
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    names = [node.name for node in ast.walk(ast.parse(tests.read_text("utf-8"))) if isinstance(node, functions)]
    assert any(name.startswith("test_") for name in names)


@pytest.mark.rows("A23")
@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_written_is_english(path: Path) -> None:
    scripts = r"[\u0370-\u1fff\u2e80-\ud7ff\uf900-\ufaff]"
    assert re.search(scripts, path.read_text("utf-8")) is None
