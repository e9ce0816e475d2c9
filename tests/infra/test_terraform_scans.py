"""Terraform's source has one format; checkov and trivy find nothing without a written reason, and none is idle."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import absent
from tests.support.terraform import MODULES, module
from tests.support.terraform_format import formatted
from tools import programs

SKIP = re.compile(r"#checkov:skip=(\w+)(?:: (.*))?|#trivy:ignore:([\w-]+)(?: (.*))?")


def checkov(place: Path) -> dict[Path, set[str]]:
    """Checks that failed, by directory below a place. One run for all of them: starting takes longest."""
    try:
        program = programs.checkov()
    except programs.Unavailable as problem:
        absent(str(problem))
    options = ("--framework", "terraform", "--skip-download", "--quiet", "--output", "json")
    ran = subprocess.run([program, "--directory", place, *options], capture_output=True, text=True, check=False)
    report = json.loads(ran.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 500
    failed: dict[Path, set[str]] = {}
    for each in report["results"]["failed_checks"]:
        failed.setdefault(Path(each["file_abs_path"]).parent, set()).add(each["check_id"])
    return failed


def trivy(place: Path) -> set[str]:
    try:
        program = programs.trivy()
    except programs.Unavailable as problem:
        absent(str(problem))
    options = ("config", "--skip-check-update", "--quiet", "--format", "json", place)
    ran = subprocess.run([program, *options], capture_output=True, text=True, check=True)
    results = json.loads(ran.stdout).get("Results", ())
    assert any(each["MisconfSummary"]["Successes"] for each in results if "MisconfSummary" in each)
    return {each["ID"] for result in results for each in result.get("Misconfigurations", ())}


@pytest.mark.parametrize("name", MODULES)
def test_exceptions_have_reasons(name: str) -> None:
    for match in SKIP.finditer("\n".join(module(name).files.values())):
        check, reason = (match[1], match[2]) if match[1] else (match[3], match[4])
        assert len((reason or "").split()) > 1, check


def test_scanners_find_nothing_and_no_exception_is_idle(tmp_path: Path) -> None:
    """Without its exceptions a module fails exactly the checks that they name."""
    by_checkov, by_trivy = dict[Path, set[str]](), dict[Path, set[str]]()
    for name in MODULES:
        whole, bare = tmp_path / "whole" / name, tmp_path / "bare" / name
        for place, dropped in ((whole, "(?!)"), (bare, r" *#(checkov|trivy):.*\n")):
            place.mkdir(parents=True)
            for file, content in module(name).files.items():
                (place / file).write_text(re.sub(dropped, "", content), encoding="utf-8")
        named = SKIP.findall("\n".join(module(name).files.values()))
        by_checkov[bare] = {match[0] for match in named if match[0]}
        by_trivy |= {whole: set(), bare: {match[2] for match in named if match[2]}}
    assert {place: trivy(place) for place in by_trivy} == by_trivy
    assert checkov(tmp_path) == by_checkov


@pytest.mark.parametrize("name", MODULES)
def test_source_has_the_one_format(name: str) -> None:
    for file, content in module(name).files.items():
        assert formatted(content) == content, file
    if program := shutil.which("terraform"):
        subprocess.run([program, "fmt", "-check", "-diff", MODULES[name]], check=True)


def test_the_format_is_that_of_terraform() -> None:
    crooked = 'a "b" {\nname = "x=1"\n  longer_name    = { k = 1 }\n# why\n  z = foo({\n  k = 1\n})\n\n\n  }\n'
    straight = (
        'a "b" {\n  name        = "x=1"\n  longer_name = { k = 1 }\n  # why\n  z = foo({\n    k = 1\n  })\n\n\n}\n'
    )
    assert formatted(crooked) == straight
    assert formatted(straight) == straight
