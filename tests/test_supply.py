"""What the program is made of: named, locked, and each with its reason."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from extproc.doctor.checks import TESTED
from tests.support import binaries
from tests.support.scripts import script

ROOT = Path(__file__).parent.parent
PROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
LOCK = (ROOT / "requirements.image.lock").read_text("utf-8")
IN_THE_IMAGE = ("fast", "grpcio", "gcp", "aws", "policies", "kafka", "otlp")

sbom, release = (script(ROOT / "deploy" / f"{name}.py") for name in ("sbom", "release"))


def needs() -> list[str]:
    project = tomllib.loads(PROJECT)["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *(need for name in IN_THE_IMAGE for need in extras[name])]


def test_each_dependency_has_its_reason_and_its_lowest_version() -> None:
    block = PROJECT.partition("dependencies = [\n")[2].partition("]\n")[0]
    assert all(re.fullmatch(r'  "[a-z]+>=[0-9.]+", +# .{10,}', line) for line in block.splitlines())
    assert all(">=" in need for need in needs())
    extras = PROJECT.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    for name in IN_THE_IMAGE:
        assert re.search(rf"^# .{{10,}}\n{name} = \[", extras, re.MULTILINE), f"{name}: why?"


def test_the_lowest_versions_are_tried_where_changes_are() -> None:
    said = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yaml").read_text("utf-8"))
    assert any(step.get("run") == "make lowest" for step in said["jobs"]["lowest"]["steps"])
    recipe = (ROOT / "Makefile").read_text("utf-8").partition("\nlowest:")[2].partition("\n\n")[0]
    assert "--resolution lowest-direct" in recipe
    assert {"tests/policy", "tests/server/test_grpcio.py", "tests/credentials"} <= set(recipe.split())
    assert all(Path(ROOT, path).exists() for path in re.findall(r"tests/[\w/.]+", recipe))


def test_each_envoy_that_is_promised_meets_everything_by_each_transport() -> None:
    said = yaml.safe_load((ROOT / ".github" / "workflows" / "envoys.yaml").read_text("utf-8"))
    matrix = said["jobs"]["test"]["strategy"]["matrix"]
    (step,) = [step for step in said["jobs"]["test"]["steps"] if "run" in step]
    assert step["run"] == 'make "test-envoy-$ENVOY-$TRANSPORT"'
    assert matrix["envoy"] == list(TESTED) == [version.rpartition(".")[0] for version in binaries.VERSIONS]
    done = subprocess.run(["make", "-n", "test-envoys"], cwd=ROOT, capture_output=True, text=True, check=True)
    for envoy, transport in itertools.product(matrix["envoy"], matrix["transport"]):
        assert f"EXTPROC_ENVOY={envoy} EXTPROC_TRANSPORT={transport} " in done.stdout
    assert done.stdout.count("EXTPROC_TRANSPORT=") == 8 and set(matrix["transport"]) == {"h2", "grpcio"}


def test_an_envoy_is_named_by_its_version_or_its_file() -> None:
    assert [binaries.named(version.rpartition(".")[0]) for version in binaries.VERSIONS] == [*binaries.VERSIONS]
    assert binaries.named("1.38.3") == "1.38.3"
    assert not any(map(binaries.named, ("", "-", "1", "1.3", "1.38.4", "/usr/bin/envoy")))


def test_what_is_published_stands_on_a_base_by_its_digest() -> None:
    said = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yaml").read_text("utf-8"))
    (built,) = [
        step["run"] for job in said["jobs"].values() for step in job["steps"] if "buildx build" in step.get("run", "")
    ]
    named, _, build = built.partition("docker buildx build")
    assert re.search(r'base="\$base@\$\(docker buildx imagetools inspect "\$base"', named) and "$base" in build
    stages = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert stages == ["${BASE}"] * len(stages)


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


# ---- releases


def test_the_version_is_the_same_wherever_it_stands() -> None:
    version = tomllib.loads(PROJECT)["project"]["version"]
    found = release.found()
    assert {name: set(versions) for name, versions in found.items()} == {name: {version} for name in release.PLACES}
    assert len(found["deploy/helm/extproc/Chart.yaml"]) == 2, "the chart's own, and the image's"


def _copied(to: Path) -> Path:
    for name in [*release.PLACES, "CHANGELOG.md"]:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, to / name)
    return to


def test_a_release_writes_it_everywhere_with_what_changed(tmp_path: Path) -> None:
    root = _copied(tmp_path)
    assert len(release.wrong("9.8.7", root)) == len(release.PLACES) + 1
    release.write("9.8.7", root, "2030-01-02")
    assert release.wrong("9.8.7", root) == []
    text = (root / "CHANGELOG.md").read_text("utf-8")
    unreleased = (ROOT / "CHANGELOG.md").read_text("utf-8").partition("## Unreleased\n")[2].partition("\n## ")[0]
    assert "## Unreleased\n\n## 9.8.7 - 2030-01-02\n" in text
    assert release.notes("9.8.7", root).strip() == unreleased.strip()
    assert "envoyproxy/envoy\n  newTag: v" in (root / "deploy/kubernetes/socket/kustomization.yaml").read_text("utf-8")


@pytest.mark.parametrize(
    ("version", "tags"),
    [("0.2.0", ["0.2.0", "0.2", "latest"]), ("1.10.3", ["1.10.3", "1.10", "latest"]), ("0.2.0rc1", ["0.2.0rc1"])],
)
def test_what_is_tried_out_moves_no_tag(version: str, tags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main(["--tags", f"v{version}"]) == 0
    assert capsys.readouterr().out.split() == tags


@pytest.mark.parametrize("words", [[], ["next"], ["--tags"], ["--nonsense", "v1.0.0"], ["--check", "v1"]])
def test_how_a_release_is_made_is_said(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main(words) == 2 and "docs/releasing.md" in capsys.readouterr().err


def test_a_tag_that_does_not_agree_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main(["--check", "v99.0.0"]) == 1
    assert "pyproject.toml has" in capsys.readouterr().out


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: str(path.name))
def test_a_workflow_runs_what_is_named_by_its_commit_with_what_it_needs(path: Path) -> None:
    text = path.read_text("utf-8")
    used = re.findall(r"uses: *(.+)", text)
    assert used and all(re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v[\d.]+", line) for line in used), used
    said = yaml.safe_load(text)
    assert said["permissions"] == {"contents": "read"}
    for name, job in said["jobs"].items():
        assert job["timeout-minutes"] <= 90, name
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), f"{name}: what an event brings is no part of a script"
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False, name


def test_the_release_names_what_is_there() -> None:
    said = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yaml").read_text("utf-8"))
    jobs = said["jobs"]
    scripts = "".join(step.get("run", "") for job in jobs.values() for step in job["steps"])
    for named in re.findall(r"(?:deploy|tests)/\w+\.py", scripts):
        assert (ROOT / named).is_file(), named
    arguments = set(re.findall(r"--build-arg \"?(\w+)=", scripts))
    assert arguments <= set(re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE))
    assert all(set(job.get("needs", ())) <= set(jobs) for job in jobs.values())
    publishes = {name for name, job in jobs.items() if "write" in job.get("permissions", {}).values()}
    tagged = {name for name in publishes if jobs[name].get("if") == "github.ref_type == 'tag'"}
    assert publishes - tagged == {"tags"} and jobs["tags"]["needs"] == ["publish"], "by hand it publishes nothing"


def test_a_compiled_wheel_is_made_for_each_python_that_is_promised() -> None:
    tool = tomllib.loads(PROJECT)["tool"]["cibuildwheel"]
    assert tool["build"] == [f"cp3{minor}-*" for minor in range(11, 15)]
    project = tomllib.loads(PROJECT)["project"]
    promised = [re.fullmatch(r"Programming Language :: Python :: 3\.(\d+)", each) for each in project["classifiers"]]
    assert [f"cp3{each[1]}-*" for each in promised if each] == tool["build"]
    lowest = re.search(r">=3\.(\d+)", project["requires-python"])
    assert lowest and tool["build"][0] == f"cp3{lowest[1]}-*"
    script = tool["test-command"].replace("{project}", str(ROOT)).split()[1]
    assert Path(script).is_file() and tool["environment"] == {"EXTPROC_COMPILE": "1"}
