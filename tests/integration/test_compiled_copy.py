"""The hot path as machine code decides as the same source does in Python: built once, unoptimised, in a copy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from campaign_express import compiled
from tests.conftest import ROOT, absent
from tools.compiled_copy import compiled_copy, missing

pytestmark = pytest.mark.timeout(600)

SUITE = (
    *("golden", "oracle", "pipeline", "eligibility", "bidder", "bidder_state", "standing", "frequency", "features"),
    *("context", "purse", "codec", "bitmaps", "notices", "onnx", "stripping", "decision_log", "gateway_batching"),
    *("markup_banner", "markup_native", "markup_vast", "privacy_assess", "privacy_tcf", "privacy_gpp", "windows"),
)
OVER_SOCKETS = ("users", "redis_batch", "agent_state")
# What a compiled module does not offer to tests: its own names replaced from outside, and objects of other classes.
PURE_ONLY = (
    "unit/test_bidder.py::test_a_fault_of_ours_is_a_no_bid_in_the_way_the_exchange_wants",
    "unit/test_bidder_state.py::test_a_response_that_cannot_be_built_gives_back_what_was_held",
    "unit/test_context.py::test_without_consent_nothing_finer_than_a_region_is_left_of_the_place",
    "unit/test_eligibility.py::test_a_remembered_filter_names_what_it_reads",
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if wanted := missing():
        absent(" and ".join(wanted))
    folder = compiled_copy(tmp_path_factory.mktemp("compiled"), level=0)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__", "e2e"))
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copytree(ROOT / "tools", folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def python(folder: Path, *arguments: str, beside: str = "") -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": beside, "TEST_COMPILED": "1"}
    environment.setdefault("CAMPAIGN_EXPRESS_SHARED", str(ROOT.parent / "shared"))  # beside the checkout, not the copy
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_the_suite_of_the_core_passes_on_machine_code(copy: Path) -> None:
    files = [f"tests/unit/test_{name}.py" for name in SUITE] + [f"tests/integration/test_{n}.py" for n in OVER_SOCKETS]
    away = [f"--deselect=tests/{name}" for name in PURE_ONLY]
    done = python(copy, "-m", "pytest", "-W", "ignore", "-p", "no:cacheprovider", *files, *away)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]


def test_every_answer_is_the_same_to_the_byte(copy: Path) -> None:
    def answers(folder: Path) -> dict[str, Any]:
        done = python(folder, "-m", "tests.support.answers", beside=str(ROOT))
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    ours, theirs = answers(ROOT), answers(copy)
    assert (ours.pop("compiled"), theirs.pop("compiled")) == (False, True)
    assert ours == theirs
    assert ours["bids"] > 1000


def test_machine_code_of_another_source_is_refused(copy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(copy, folder, ignore=shutil.ignore_patterns("tests", "build", ".mypy_cache"))
    assert python(folder, "-m", "campaign_express.compiled").returncode == 0
    changed = folder / compiled.PACKAGE / "bidding" / "money.py"
    changed.write_text(changed.read_text() + "# changed\n")
    refused = python(folder, "-m", "campaign_express.compiled")
    assert refused.returncode == 1
    assert "bidding/money.py: has changed since" in refused.stderr
    assert "make compile" in refused.stderr
    build = "from campaign_express import bootstrap, config; bootstrap.build_bidder(config.load({}))"
    started = python(folder, "-c", build)
    assert started.returncode == 1
    assert "bidding/money.py: has changed since" in started.stderr
