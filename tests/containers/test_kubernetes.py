"""The manifests against the schemas of Kubernetes, as kustomize puts them together. Needs no engine and no cluster."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from extproc.demo.processes import envoy_binary
from extproc.settings import ALL

from .stack import ROOT

DEPLOY = ROOT / "deploy"
FOLDERS = [DEPLOY / "kubernetes" / "socket", DEPLOY / "kubernetes" / "service"]
CHART = DEPLOY / "helm" / "extproc"
# The first that has sidecar containers without a feature gate, and the last that the schemas know.
VERSIONS = ["1.29", "1.37"]


def objects(folder: Path) -> list[dict[str, Any]]:
    """The objects of *folder*'s resources."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))
    files = [folder / name for name in kustomization["resources"]]
    return [item for file in files for item in yaml.safe_load_all(file.read_text("utf-8"))]


def pods() -> list[tuple[str, dict[str, Any]]]:
    found = [(f.name, item) for f in FOLDERS for item in objects(f) if item["kind"] == "Deployment"]
    return [(name, item["spec"]["template"]["spec"]) for name, item in found]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
@pytest.mark.parametrize("version", VERSIONS)
def test_schemas(folder: Path, version: str) -> None:
    made = objects(folder)
    assert len(made) > 3
    for item in made:
        kubernetes_validate.validate(item, version, strict=True)


def test_the_schemas_find_a_mistake() -> None:
    item = next(item for item in objects(FOLDERS[0]) if item["kind"] == "Deployment")
    item["spec"]["template"]["spec"]["initContainers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(item, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("folder", [*FOLDERS, DEPLOY / "envoy-gateway"], ids=lambda folder: folder.name)
def test_kustomize_builds_it(folder: Path) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl")
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    built = [item for item in yaml.safe_load_all(done.stdout) if item["kind"] != "ConfigMap"]
    assert len(built) == len(objects(folder))
    images = [line.split("image: ")[1] for line in done.stdout.splitlines() if "image: " in line]
    assert all(":" in image and not image.endswith(":latest") for image in images)


@pytest.mark.parametrize(("name", "pod"), pods(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_container_is_hardened(name: str, pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] and security["capabilities"] == {"drop": ["ALL"]}
        assert security["allowPrivilegeEscalation"] is False
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert container["resources"]["limits"].keys() == {"memory"}


@pytest.mark.parametrize(("name", "pod"), pods(), ids=lambda value: value if isinstance(value, str) else "")
def test_settings_are_ours_and_the_grace_is_longer_than_the_drain(name: str, pod: dict[str, Any]) -> None:
    containers = [*pod.get("initContainers", []), *pod["containers"]]
    (ours,) = (container for container in containers if container["name"] == "extproc")
    values = {item["name"]: item["value"] for item in ours["env"]}
    assert values.keys() <= {setting.variable for setting in ALL}
    for setting in ALL:
        if setting.variable in values:
            setting.parse(values[setting.variable], setting.variable)
    delay = float(values.get("EXTPROC_DRAIN_DELAY_SECONDS", 0))
    assert delay + float(values["EXTPROC_DRAIN_SECONDS"]) < pod["terminationGracePeriodSeconds"]
    if values["EXTPROC_LISTEN"].startswith("0.0.0.0:"):
        port = int(values["EXTPROC_LISTEN"].partition(":")[2])
        probes = [ours[kind]["grpc"]["port"] for kind in ("startupProbe", "readinessProbe", "livenessProbe")]
        assert [*probes, ours["ports"][0]["containerPort"]] == [port] * 4


def test_the_charts_values_are_what_its_schema_says() -> None:
    """Rendered by the real Helm it is in tests/real."""
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(values, schema)
    assert values.keys() == schema["properties"].keys() - {"global"}
    for wrong in ({"mode": "both"}, {"replica": 3}, {"prefixes": {"anthropic": "anthropic"}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**values, **wrong}, schema)
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    kustomization = yaml.safe_load((FOLDERS[0] / "kustomization.yaml").read_text("utf-8"))
    tags = {image["name"]: image["newTag"] for image in kustomization["images"]}
    assert (chart["appVersion"], values["envoy"]["image"]["tag"]) == (tags["extproc"], tags["envoyproxy/envoy"])


def test_the_sidecar_outlives_envoy() -> None:
    pod = dict(pods())["socket"]
    (sidecar,) = pod["initContainers"]
    assert sidecar["restartPolicy"] == "Always" and sidecar["startupProbe"]


def test_selectors_meet_the_pods() -> None:
    for folder in FOLDERS:
        made = objects(folder)
        (deployment,) = (item for item in made if item["kind"] == "Deployment")
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        for item in made:
            spec = item["spec"]
            selector = spec.get("selector", spec.get("podSelector"))
            if selector is not None:
                assert selector.get("matchLabels", selector) == labels, item["kind"]


def test_the_configuration_is_the_reference_and_envoy_takes_it(tmp_path: Path) -> None:
    generate = runpy.run_path(str(DEPLOY / "kubernetes" / "generate.py"))
    text = generate["text"]()
    for target in (FOLDERS[0] / "envoy.yaml", CHART / "files" / "envoy.yaml"):
        assert target.read_text("utf-8") == text, "run deploy/kubernetes/generate.py"
    file = tmp_path / "envoy.yaml"
    file.write_text(text)
    command = [str(envoy_binary()), "--mode", "validate", "-c", str(file), "-l", "error"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
