"""The files of deploy/: they parse, name only existing settings and commands, and give few rights."""

import configparser
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from schema.__main__ import main
from services.core.settings import Settings

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
UNITS = sorted((DEPLOY / "systemd").iterdir())
SETTINGS = {f"COMMONWEAL_{entry.name.upper()}" for entry in fields(Settings)}


def documents() -> list[dict[str, Any]]:
    """Return all Kubernetes objects."""
    return [each for path in MANIFESTS for each in yaml.safe_load_all(path.read_text()) if each]


def pod_specs() -> list[dict[str, Any]]:
    """Return the specification of each kind of pod."""
    specs = []
    for document in documents():
        spec = document.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            specs.append(spec["template"]["spec"])
    return specs


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_only_settings_that_exist_are_named(path: Path) -> None:
    assert set(re.findall(r"\bCOMMONWEAL_[A-Z_]+", path.read_text())) <= SETTINGS


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_only_commands_that_exist_are_run(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    known = set(re.findall(r"^    ([a-z-]+) ", capsys.readouterr().out, re.MULTILINE))
    ran = set(re.findall(r"(?:bin/commonweal|[\"']commonweal) ([a-z-]+)", path.read_text()))
    assert ran <= known, ran - known


def test_kubernetes_objects_are_complete() -> None:
    kinds = {document["kind"] for document in documents()}
    assert {"Deployment", "Service", "ConfigMap", "CronJob", "PodDisruptionBudget"} <= kinds
    assert all({"apiVersion", "kind", "metadata"} <= document.keys() for document in documents())
    names = {(document["kind"], document["metadata"]["name"]) for document in documents()}
    assert len(names) == len(documents())


@pytest.mark.parametrize("number", range(len(pod_specs())))
def test_pods_have_no_rights_and_find_what_they_mount(number: int) -> None:
    spec = pod_specs()[number]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    volumes = {volume["name"] for volume in spec["volumes"]}
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def test_a_server_has_time_to_drain_before_it_is_killed() -> None:
    (settings,) = (each["data"] for each in documents() if each["kind"] == "ConfigMap")
    (deployment,) = (each for each in documents() if each["kind"] == "Deployment")
    spec = deployment["spec"]["template"]["spec"]
    probe = spec["containers"][0]["readinessProbe"]
    assert int(settings["COMMONWEAL_DRAIN_SECONDS"]) >= 2 * probe["periodSeconds"]
    assert spec["terminationGracePeriodSeconds"] > int(settings["COMMONWEAL_DRAIN_SECONDS"]) + 20
    assert deployment["spec"]["selector"]["matchLabels"].items() <= (
        deployment["spec"]["template"]["metadata"]["labels"].items()
    )


def test_the_composed_services_exist_and_are_read_only() -> None:
    composed = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = composed["services"]
    assert {"database", "pooler", "migrate", "server", "proxy"} <= services.keys()
    for service in services.values():
        assert set(service.get("depends_on", ())) <= services.keys()
    for name in ("server", "migrate"):
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]
    assert "COMMONWEAL_OWNER_DATABASE_URL" not in services["server"]["environment"]


def test_the_image_is_not_run_by_root_and_copies_what_exists() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    assert "USER 10001" in lines
    assert any(line.startswith("HEALTHCHECK") for line in lines)
    sources = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
    assert all((ROOT / name).exists() for name in sources if not name.startswith(("--", "/")))
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert all(f"!{name}" in ignored for name in sources if not name.startswith(("--", "/")))


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_parse_and_timers_have_a_service(path: Path) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(path.read_text())
    assert unit["Unit"]["Description"]
    if path.suffix == ".timer":
        assert path.with_suffix(".service").exists()
        assert unit["Timer"]["OnCalendar"]
    else:
        assert unit["Service"]["User"] == "commonweal"
        assert unit["Service"]["NoNewPrivileges"] == "yes"
        assert unit["Service"]["ProtectSystem"] == "strict"


def test_backups_by_pgbackrest_are_encrypted_with_a_passphrase_that_is_elsewhere() -> None:
    path = DEPLOY / "pgbackrest" / "pgbackrest.conf"
    configuration = configparser.ConfigParser(interpolation=None)
    configuration.read_string(path.read_text())
    general = configuration["global"]
    assert general["repo1-cipher-type"] == "aes-256-cbc"
    assert "repo1-cipher-pass" not in general
    assert int(general["repo1-retention-full"]) >= 2
    stanzas = set(configuration.sections()) - {"global"}
    guide = (ROOT / "docs" / "operations.md").read_text()
    assert stanzas == set(re.findall(r"--stanza=(\w+)", guide)) == {"commonweal"}


def read_pins(path: Path) -> set[str]:
    return {line.split()[0] for line in path.read_text().splitlines() if "==" in line}


def test_the_image_has_the_locked_packages_without_the_tools_of_development() -> None:
    pins, all_pins = read_pins(DEPLOY / "requirements.lock"), read_pins(ROOT / "requirements.lock")
    assert pins < all_pins
    names = {pin.partition("==")[0] for pin in pins}
    assert {"obstore", "opentelemetry-sdk", "starlette", "stripe"} <= names
    assert not names & {"localstripe", "moto", "mypy", "pytest", "ruff"}
