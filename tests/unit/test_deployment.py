"""compose.yml and kubernetes.yml: known fields, and references that lead somewhere.

Neither Docker nor Kubernetes is here. The fields are those of their references that these files use: a misspelt one is
passed over in silence by some, and stops others.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from quantdesk_oracle.config.environment import Environment
from quantdesk_oracle.daemon import STOP_SECONDS

LOOPBACK = "127.0.0.1:"
SERVICE_KEYS = {
    "build", "image", "command", "environment", "ports", "volumes", "tmpfs", "read_only", "cap_drop", "security_opt",
    "mem_limit", "stop_grace_period", "restart", "depends_on", "shm_size", "healthcheck", "profiles", "configs",
}  # fmt: skip
HEALTHCHECK_KEYS = {"test", "interval", "timeout", "retries"}
# Fields of the Kubernetes API 1.30 by the kind of object; {}: any; what is a list has the fields of its items.
META: dict[str, Any] = {"name": None, "labels": {}}
PROBE: dict[str, Any] = {
    "httpGet": {"path": None, "port": None},
    "periodSeconds": None,
    "failureThreshold": None,
    "timeoutSeconds": None,
}
CONTAINER: dict[str, Any] = {
    "name": None,
    "image": None,
    "args": None,
    "envFrom": {"secretRef": {"name": None}},
    "ports": {"name": None, "containerPort": None},
    "securityContext": {
        "readOnlyRootFilesystem": None,
        "allowPrivilegeEscalation": None,
        "capabilities": {"drop": None},
    },
    "resources": {"requests": {"cpu": None, "memory": None}, "limits": {"cpu": None, "memory": None}},
    "volumeMounts": {"name": None, "mountPath": None},
    "startupProbe": PROBE,
    "livenessProbe": PROBE,
    "readinessProbe": PROBE,
}
POD: dict[str, Any] = {
    "terminationGracePeriodSeconds": None,
    "automountServiceAccountToken": None,
    "securityContext": {
        "runAsNonRoot": None,
        "runAsUser": None,
        "runAsGroup": None,
        "fsGroup": None,
        "seccompProfile": {"type": None},
    },
    "containers": CONTAINER,
    "volumes": {"name": None, "emptyDir": {}},
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "Service": (
        "v1",
        {
            "clusterIP": None,
            "publishNotReadyAddresses": None,
            "selector": {},
            "ports": {"name": None, "port": None, "targetPort": None},
        },
    ),
    "StatefulSet": (
        "apps/v1",
        {
            "serviceName": None,
            "replicas": None,
            "podManagementPolicy": None,
            "selector": {"matchLabels": {}},
            "template": {"metadata": META, "spec": POD},
            "volumeClaimTemplates": {
                "metadata": META,
                "spec": {"accessModes": None, "resources": {"requests": {"storage": None}}},
            },
        },
    ),
}


@pytest.fixture(scope="module")
def compose(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((root / "config/compose.yml").read_text())
    return found


@pytest.fixture(scope="module")
def kubernetes(root: Path) -> dict[str, dict[str, Any]]:
    """The objects of the manifest by their kind."""
    objects = list(yaml.safe_load_all((root / "config/kubernetes.yml").read_text()))
    assert len({each["kind"] for each in objects}) == len(objects)
    return {each["kind"]: each for each in objects}


@pytest.fixture(scope="module")
def dockerfile(root: Path) -> str:
    return (root / "Dockerfile").read_text()


def test_compose_has_known_fields_alone(compose: dict[str, Any]) -> None:
    assert set(compose) == {"name", "services", "configs", "volumes"}
    for name, service in compose["services"].items():
        assert set(service) <= SERVICE_KEYS, name
        assert set(service.get("healthcheck", ())) <= HEALTHCHECK_KEYS, name


def test_what_compose_refers_to_is_there(compose: dict[str, Any], root: Path) -> None:
    services = compose["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in services[other], f"{name} waits for the health of {other}, which has none"
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (root / "config" / source).exists(), f"{name} mounts {source}"
            else:
                assert source in compose["volumes"], f"{name} mounts {source}"
        for config in service.get("configs", ()):
            assert config["source"] in compose["configs"]
        if "build" in service:
            assert (root / "config" / service["build"] / "Dockerfile").is_file()


def test_compose_shows_nothing_beyond_loopback_and_pins_its_images(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert all(port.startswith(LOOPBACK) for port in service.get("ports", ())), name
        if "build" not in service:
            assert re.search(r":[\w.-]*\d", service["image"]), f"{name} has no version"


def test_composes_daemon_is_given_variables_that_it_knows(compose: dict[str, Any]) -> None:
    oracle = compose["services"]["oracle"]
    assert set(oracle["environment"]) <= set(Environment.model_fields)
    assert oracle["command"] == ["run"]
    assert (oracle["read_only"], oracle["cap_drop"]) == (True, ["ALL"])
    assert float(oracle["stop_grace_period"].removesuffix("s")) > STOP_SECONDS
    # The host of each URL is a service of this file.
    for url in ("DATABASE_URL", "SCHEMA_DATABASE_URL"):
        host = re.search(r"@(?:\$\{DATABASE_HOST:-)?(\w+)", oracle["environment"][url])
        assert host
        assert host[1] in compose["services"]


def test_composes_prometheus_scrapes_the_daemon_as_the_rules_want_it(
    compose: dict[str, Any], root: Path, tmp_path: Path
) -> None:
    content = compose["configs"]["prometheus"]["content"]
    ours = yaml.safe_load((root / "config/prometheus/prometheus.yml").read_text())
    theirs = yaml.safe_load(content)
    assert [job["job_name"] for job in theirs["scrape_configs"]] == [
        job["job_name"] for job in ours["scrape_configs"]
    ]
    ((target,),) = (
        [t for c in job["static_configs"] for t in c["targets"]] for job in theirs["scrape_configs"]
    )
    assert target == "oracle:9464"
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    shutil.copy(root / "config/prometheus/alerts.yml", tmp_path)
    (tmp_path / "prometheus.yml").write_text(content)
    done = subprocess.run(
        [promtool, "check", "config", tmp_path / "prometheus.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_asks_composes_prometheus(compose: dict[str, Any], root: Path) -> None:
    provisioned = yaml.safe_load(
        (root / "config/grafana/provisioning/datasources/prometheus.yml").read_text()
    )
    (source,) = provisioned["datasources"]
    host = re.search(r"//([\w-]+):9090", source["url"])
    assert host
    assert host[1] in compose["services"]
    folders = yaml.safe_load((root / "config/grafana/provisioning/dashboards/quantdesk.yml").read_text())
    (provider,) = folders["providers"]
    mounts = [volume.split(":")[1] for volume in compose["services"]["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounts


def unknown_fields(found: Any, known: Any, where: str) -> Iterator[str]:
    if isinstance(found, list):
        for each in found:
            yield from unknown_fields(each, known, where)
    elif isinstance(found, Mapping) and known:
        for key, value in found.items():
            if key not in known:
                yield f"{where}.{key}"
            elif known[key] is not None:
                yield from unknown_fields(value, known[key], f"{where}.{key}")


def test_kubernetes_has_known_fields_alone(kubernetes: dict[str, dict[str, Any]]) -> None:
    assert set(kubernetes) == set(KINDS)
    for kind, found in kubernetes.items():
        version, known = KINDS[kind]
        assert found["apiVersion"] == version
        whole = {"apiVersion": None, "kind": None, "metadata": META, "spec": known}
        assert list(unknown_fields(found, whole, kind)) == []


def test_what_kubernetes_refers_to_is_there(kubernetes: dict[str, dict[str, Any]]) -> None:
    stateful, service = kubernetes["StatefulSet"]["spec"], kubernetes["Service"]
    pod = stateful["template"]["spec"]
    labels = stateful["template"]["metadata"]["labels"]
    assert stateful["serviceName"] == service["metadata"]["name"]
    assert stateful["selector"]["matchLabels"].items() <= labels.items()
    assert service["spec"]["selector"].items() <= labels.items()
    (container,) = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= set(ports)
    volumes = {volume["name"] for volume in pod["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in stateful["volumeClaimTemplates"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["port"] in ports
        assert asked["path"] == ("/readyz" if probe == "readinessProbe" else "/livez")


def test_kubernetes_runs_the_dockerfiles_image(
    kubernetes: dict[str, dict[str, Any]], dockerfile: str
) -> None:
    stateful = kubernetes["StatefulSet"]["spec"]
    pod = stateful["template"]["spec"]
    (container,) = pod["containers"]
    uid = re.search(r"^USER (\d+):(\d+)$", dockerfile, re.MULTILINE)
    state = re.search(r"QUANTDESK_STATE_DIR=(\S+)", dockerfile)
    port = re.search(r"^EXPOSE (\d+)$", dockerfile, re.MULTILINE)
    assert uid
    assert state
    assert port
    context = pod["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"]) == (int(uid[1]), int(uid[2]))
    assert state[1] in [mount["mountPath"] for mount in container["volumeMounts"]]
    assert container["ports"] == [{"name": "http", "containerPort": int(port[1])}]
    assert pod["terminationGracePeriodSeconds"] > STOP_SECONDS
    assert stateful["replicas"] == 2
