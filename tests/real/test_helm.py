"""The chart in deploy/helm, linted and rendered by the real Helm, beside what kustomize makes."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from extproc.check import check
from extproc.demo.processes import envoy_binary
from tests.containers.test_kubernetes import CHART, FOLDERS, VERSIONS, objects
from tests.support import placements

DOWNLOADED = Path(".cache/real/go")
OURS = {"helm.sh/chart", "app.kubernetes.io/version", "app.kubernetes.io/managed-by"}
"""Labels that Helm's charts bear."""
NAMES = {"socket": "llm-gateway", "service": "extproc"}
MORE: dict[str, dict[str, Any]] = {
    "providers": {
        "deepseek": {
            "host": "api.deepseek.com", "models": ["deepseek-*", "ds"],
            "route": {"provider": "deepseek",
                      "auth": {"header": {"Authorization": "Bearer ${file:/run/keys/DEEPSEEK_API_KEY}"}}},
        },
        "vllm": {"host": "vllm.models.svc", "port": 8000, "tls": False, "models": ["qwen3-32b"],
                 "route": {"provider": "openai-compatible", "auth": "none"}},
        "openai": {"route": {"provider": "openai", "auth": {"header": {"Authorization": "${file:/run/keys/O}"}}}},
    },
    "prefixes": {"root": "/llm", "anthropic": "", "openai": "/openai"},
}  # fmt: skip


def helm() -> str:
    found = shutil.which("helm") or shutil.which(str(DOWNLOADED.resolve() / "helm"))
    if found is None:
        pytest.skip("helm is not installed: make test-real builds it where there is Go")
    return found


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([helm(), *arguments], capture_output=True, text=True, timeout=60, check=False)


def rendered(folder: Path, mode: str = "socket", values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """The objects that ``helm template`` prints."""
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump({"mode": mode, **(values or {})}))
    done = run("template", NAMES[mode], str(CHART), "-f", str(file), "--kube-version", "1.31.0")
    assert done.returncode == 0, done.stderr
    return [item for item in yaml.safe_load_all(done.stdout) if item]


def plain(item: dict[str, Any]) -> dict[str, Any]:
    """*item* without what only Helm, or only kustomize, says of it."""
    item = json.loads(json.dumps(item))
    labels = item["metadata"].pop("labels", {})
    assert set(labels) <= OURS
    template = item["spec"].get("template")
    if template is not None:
        annotations = template["metadata"].pop("annotations", {})
        assert set(annotations) <= {"checksum/envoy"}
        pod = template["spec"]
        for container in [*pod.get("initContainers", ()), *pod["containers"]]:
            container["env"] = {each["name"]: each["value"] for each in container.get("env", ())}
        for volume in pod["volumes"]:
            if "configMap" in volume:
                volume["configMap"] = {"name": "envoy"}
    return item


def by_kind(items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {item["kind"]: plain(item) for item in items if item["kind"] != "ConfigMap"}


def with_images(folder: Path) -> list[dict[str, Any]]:
    """What kustomize makes of the names of images."""
    names = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))["images"]
    images = {each["name"]: f"{each.get('newName', each['name'])}:{each['newTag']}" for each in names}
    made = objects(folder)
    for item in made:
        if item["kind"] == "Deployment":
            pod = item["spec"]["template"]["spec"]
            for container in [*pod.get("initContainers", ()), *pod["containers"]]:
                container["image"] = images[container["image"]]
    return made


def envoys(made: list[dict[str, Any]]) -> dict[str, Any]:
    """Envoy's configuration among *made*."""
    (item,) = (item for item in made if item["kind"] == "ConfigMap")
    found: dict[str, Any] = yaml.safe_load(item["data"]["envoy.yaml"])
    return found


def said_by(config: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = placements.manager(config)["route_config"]["virtual_hosts"][0]
    return found


def test_lint() -> None:
    for mode in NAMES:
        done = run("lint", "--strict", str(CHART), "--set", f"mode={mode}")
        assert done.returncode == 0 and "0 chart(s) failed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_with_nothing_set_it_is_what_kustomize_makes(folder: Path, tmp_path: Path) -> None:
    made = rendered(tmp_path, folder.name)
    assert by_kind(made) == by_kind(with_images(folder))
    if folder.name == "socket":
        assert envoys(made) == yaml.safe_load((folder / "envoy.yaml").read_text("utf-8"))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("mode", sorted(NAMES))
def test_schemas(mode: str, version: str, tmp_path: Path) -> None:
    values = {
        "tls": {"secretName": "cert", "clientCA": True}, "keys": {"values": {"OPENAI_API_KEY": "k"}},
        "settings": {"max_request_bytes": 10_000_000, "log_level": "debug"},
        "env": [{"name": "HTTPS_PROXY", "value": "http://x"}],
        "imagePullSecrets": [{"name": "x"}], "podAnnotations": {"a": "b"}, "nodeSelector": {"a": "b"},
        "tolerations": [{"operator": "Exists"}], "affinity": {"nodeAffinity": {}},
        "autoscaling": {"enabled": False}, "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
    }  # fmt: skip
    made = rendered(tmp_path, mode, values)
    kinds = {item["kind"] for item in made}
    assert {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "Secret"} <= kinds
    assert "HorizontalPodAutoscaler" not in kinds
    for item in made:
        kubernetes_validate.validate(item, version, strict=True)
    (deployment,) = (item for item in made if item["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (ours,) = (each for each in [*pod.get("initContainers", ()), *pod["containers"]] if each["name"] == "extproc")
    env = {each["name"]: each["value"] for each in ours["env"]}
    assert env["EXTPROC_MAX_REQUEST_BYTES"] == "10000000" and env["HTTPS_PROXY"] == "http://x"
    assert deployment["spec"]["replicas"] == 2
    assert {"name": "keys", "secret": {"secretName": f"{NAMES[mode]}-keys", "defaultMode": 0o440}} in pod["volumes"]
    if mode == "service":
        assert env["EXTPROC_TRANSPORT"] == "grpcio" and env["EXTPROC_TLS_CLIENT_CA"] == "/run/tls/ca.crt"
        assert ours["readinessProbe"]["exec"] == {"command": ["extproc", "health"]}


def test_providers_prefixes_and_tls_are_in_envoys_configuration(tmp_path: Path) -> None:
    made = rendered(tmp_path, values=MORE | {"tls": {"secretName": "cert", "clientCA": True}})
    config = envoys(made)
    text = yaml.safe_dump(config)
    assert not [str(finding) for finding in check(text)]
    host, resources = said_by(config), config["static_resources"]
    said = host["metadata"]["filter_metadata"]["extproc"]
    assert set(said["routes"]) == {"openai", "anthropic", "deepseek", "vllm"}
    for name, provider in MORE["providers"].items():
        assert yaml.safe_load(said["routes"][name]) == provider["route"]
    models = yaml.safe_load(said["models"])
    assert models["deepseek-*"] == models["ds"] == {"route": "deepseek"} and models["qwen3-32b"] == {"route": "vllm"}
    assert "gpt-5" in models
    clusters = placements.clusters(config)
    assert "transport_socket" in clusters["deepseek"] and "transport_socket" not in clusters["vllm"]
    last = yaml.safe_load(host["routes"][-1]["metadata"]["filter_metadata"]["extproc"]["route"])
    assert last["losses"] == "report" and last["prefixes"] == {
        "root": "/llm", "anthropic_messages": "",
        **dict.fromkeys(("openai_chat", "openai_responses", "openai_embeddings", "openai_endpoints"), "/openai"),
    }  # fmt: skip
    socket = resources["listeners"][0]["filter_chains"][0]["transport_socket"]["typed_config"]
    assert socket["require_client_certificate"]


def test_envoy_takes_what_is_rendered(tmp_path: Path) -> None:
    file = tmp_path / "envoy.yaml"
    file.write_text(yaml.safe_dump(envoys(rendered(tmp_path, values=MORE))))
    command = [str(envoy_binary()), "--mode", "validate", "-c", str(file), "-l", "error"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_configuration_and_a_list_of_ones_own(tmp_path: Path) -> None:
    models = {"mine": {"route": "openai"}}
    host = said_by(envoys(rendered(tmp_path, values={"models": models})))
    assert yaml.safe_load(host["metadata"]["filter_metadata"]["extproc"]["models"]) == models
    own = rendered(tmp_path, values={"envoy": {"config": "node: {id: {{ .Release.Name }}}\n"}})
    assert envoys(own) == {"node": {"id": "llm-gateway"}}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replica": 3}, "replica"),
        ({"mode": "both"}, "mode"),
        ({"settings": {"workers": 4}}, "settings.workers, settings.listen"),
        ({"providers": {"x": {"route": {"provider": "openai"}}}}, "providers.x.host is needed"),
        ({"providers": {"x": {"host": "h"}}}, "providers.x.route is needed"),
        ({"providers": {"openai": {"host": "h"}}}, "providers.openai: its host is that of deploy/envoy.yaml"),
    ],
)
def test_values_that_cannot_be(values: dict[str, Any], said: str, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    done = run("template", "x", str(CHART), "-f", str(file), "--kube-version", "1.31.0")
    assert done.returncode != 0 and said in done.stderr, done.stderr
