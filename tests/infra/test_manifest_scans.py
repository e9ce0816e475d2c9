"""checkov and trivy look at everything that is rendered; what stays has its reason in kuberay/scan-exceptions.yaml."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.rendered import (
    KUBERAY,
    NAMESPACE,
    RENDERS,
    ROOT,
    Object,
    groups,
    objects,
    output,
    parse,
    program,
    run,
)
from tools import programs

SERVICES = ("haproxy", "monitoring")  # folders of deploy/ without a RayService


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    where: str  # KIND/NAME
    says: str


def exceptions() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((KUBERAY / "scan-exceptions.yaml").read_text())
    return found


def scanned() -> list[Object]:
    """Every object once; the pods of RayServices, which no scanner knows, as pods."""
    found: dict[str, Object] = {}
    kubectl = program(programs.kubectl)
    services = [parse(output(kubectl, "kustomize", str(ROOT / "deploy" / name))) for name in SERVICES]
    for render in (*map(objects, RENDERS), *services):
        for item in render:
            parts = [item]
            if item["kind"] == "RayService":
                parts = [
                    {
                        "apiVersion": "v1",
                        "kind": "Pod",
                        "metadata": {**group["template"]["metadata"], "name": key, "namespace": NAMESPACE},
                        "spec": group["template"]["spec"],
                    }
                    for key, group in groups(item).items()
                ]
            for part in parts:
                found[json.dumps(part, sort_keys=True)] = part
    return list(found.values())


def write(items: list[Object], folder: Path) -> None:
    """A file an object: scanners number the objects of a file, and some drop one of two with the same name."""
    for number, item in enumerate(items):
        (folder / f"{number:03}.yaml").write_text(yaml.safe_dump(item))


def checkov(folder: Path) -> set[Finding]:
    options = ("--framework", "kubernetes", "--skip-download", "--compact", "--quiet", "--output", "json")
    ran = run(program(programs.checkov), "--directory", str(folder), *options, cwd=folder)
    report = json.loads(ran.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 0
    found = set()
    for failed in report["results"]["failed_checks"]:
        kind, *_, name = failed["resource"].split(".")
        found.add(Finding(failed["check_id"], f"{kind}/{name}", failed["check_name"]))
    return found


def trivy(folder: Path, items: list[Object]) -> set[Finding]:
    ran = run(program(programs.trivy), "config", "--skip-check-update", "--quiet", "--format", "json", str(folder))
    assert ran.returncode == 0, ran.stderr
    found = set()
    for result in json.loads(ran.stdout)["Results"]:
        item = items[int(Path(result["Target"]).stem)]
        for said in result.get("Misconfigurations", []):
            found.add(Finding(said["ID"], f"{item['kind']}/{item['metadata']['name']}", said["Message"]))
    return found


def unexplained(found: set[Finding]) -> list[Finding]:
    known = [(set(entry["checks"]), entry["in"]) for entry in exceptions()]
    return [f for f in found if not any(f.check in checks and re.fullmatch(where, f.where) for checks, where in known)]


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> set[Finding]:
    folder = tmp_path_factory.mktemp("scanned")
    items = scanned()
    write(items, folder)
    return checkov(folder) | trivy(folder, items)


def test_every_finding_has_its_reason(findings: set[Finding]) -> None:
    assert unexplained(findings) == []


def test_every_exception_is_of_something(findings: set[Finding]) -> None:
    for entry in exceptions():
        assert len(entry["reason"]) > 20
        for check in entry["checks"]:
            assert any(f.check == check and re.fullmatch(entry["in"], f.where) for f in findings), check


def test_a_pod_that_is_not_hardened_is_found(tmp_path: Path) -> None:
    item = next(item for item in scanned() if item["kind"] == "Pod" and item["metadata"]["name"] == "npu-bidders")
    broken = json.loads(json.dumps(item))
    broken["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    write([broken], tmp_path)
    assert {"CKV_K8S_16", "CKV_K8S_22"} <= {finding.check for finding in unexplained(checkov(tmp_path))}
    assert {"KSV-0017", "KSV-0014"} <= {finding.check for finding in unexplained(trivy(tmp_path, [broken]))}
