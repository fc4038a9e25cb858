"""What the program is made of: named, locked, and each with its reason."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
LOCK = (ROOT / "requirements.image.lock").read_text("utf-8")
IN_THE_IMAGE = ("fast", "grpcio", "gcp", "aws", "policies", "kafka", "otlp")


def _sbom() -> Any:
    spec = importlib.util.spec_from_file_location("sbom", ROOT / "deploy" / "sbom.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sbom = _sbom()


def needs() -> list[str]:
    project = tomllib.loads(PROJECT)["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *(need for name in IN_THE_IMAGE for need in extras[name])]


def test_each_dependency_has_its_reason_and_its_lowest_version() -> None:
    block = PROJECT.partition("dependencies = [\n")[2].partition("]\n")[0]
    assert all(re.fullmatch(r'  "[a-z]+>=[0-9.]+", +# .{10,}', line) for line in block.splitlines())
    assert all(">=" in need for need in needs())


def test_the_image_installs_what_is_locked_by_its_hash() -> None:
    locked = sbom.locked(LOCK)
    assert all(sbom.plain(re.split("[>=<]", need)[0]) in locked for need in needs())
    for name in locked:
        entry = LOCK.partition(f"\n{name}==")[2].partition("\n    # via")[0]
        assert "--hash=sha256:" in entry, name
    docker = (ROOT / "Dockerfile").read_text("utf-8")
    installs = re.findall(r"pip install [^\n]*", docker)
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs) and len(installs) == 2


def test_the_locks_agree() -> None:
    everything = sbom.locked((ROOT / "requirements.lock").read_text("utf-8"))
    assert {name: everything.get(name) for name in sbom.locked(LOCK)} == sbom.locked(LOCK)


def test_the_bill_names_what_is_installed_and_what_is_not_locked() -> None:
    found = sbom.installed()
    made = json.loads(json.dumps(sbom.bill(found)))
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    assert made["metadata"]["component"]["name"] == "extproc-llm"
    named = {part["name"]: part for part in made["components"]}
    assert named["msgspec"]["purl"] == f"pkg:pypi/msgspec@{found['msgspec'].version}"
    assert "pip" not in named and len(named) == len({part["bom-ref"] for part in made["components"]})
    assert sbom.unlocked({"a": "1", "b": "2", "extproc-llm": "9"}, {"a": "1", "b": "3"}) == [
        "b 2 is installed, 3 is locked"
    ]


@pytest.mark.parametrize("asked", ["health", "--transport grpcio", "TLS"])
def test_grpcs_library_is_needed_by_its_transport_alone(asked: str) -> None:
    arguments = {
        "health": "'health', '127.0.0.1:9'",
        "--transport grpcio": "'serve', '--listen', '127.0.0.1:0', '--transport', 'grpcio'",
        "TLS": "'serve', '--listen', '127.0.0.1:0', '--tls-cert', '/x', '--tls-key', '/y'",
    }[asked]
    script = (
        "import importlib.util, sys; real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name == 'grpc' else real(name, *more)\n"
        "sys.modules['grpc'] = None\n"
        f"from extproc.cli import main; sys.exit(main([{arguments}]))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60)
    if asked == "health":
        assert done.returncode == 1 and "UNAVAILABLE" in done.stdout + done.stderr
    else:
        assert f"{asked} needs gRPC's own library: pip install 'extproc-llm[grpcio]'" in done.stderr
