"""Writes what was measured: latest.json for programs, latest.md for people. The same content in both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import PROMISES, Figure

RESULTS = Path(__file__).resolve().parent / "results"


def document(figures: Sequence[Figure], machine: dict[str, Any], setup: dict[str, Any]) -> dict[str, Any]:
    """The JSON document. Promised figures are keys of the top level too, by their median, for simple readers."""
    found = {figure.name: figure for figure in figures}
    return {
        **{promise.name: _round(found[promise.name].value) for promise in PROMISES if promise.name in found},
        "passed": all(figure.kept is not False for figure in figures),
        "complete": all(promise.name in found for promise in PROMISES),
        "figures": {figure.name: _entry(figure) for figure in figures},
        "setup": setup,
        "machine": machine,
    }


def _entry(figure: Figure) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "median": _round(figure.value),
        "unit": figure.unit,
        "runs": [_round(run) for run in figure.runs],
    }
    if figure.promise is not None:
        entry["threshold"] = f"{figure.promise.bound.value} {figure.promise.threshold:g}"
        entry["passed"] = figure.kept
    return entry


def _round(value: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{value:.4g}")


def shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def markdown(content: dict[str, Any]) -> str:
    """The same as a page."""
    machine, setup, figures = content["machine"], content["setup"], content["figures"]
    lines = [
        "# Benchmark results",
        "",
        "Written by `make bench`; what each figure means and how it is taken: docs/benchmarks.md.",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, Linux {machine['kernel']}, "
        f"Python {machine['python']}, revision {machine['revision']}"
        + (" with uncommitted changes" if machine["uncommitted_changes"] else "")
        + f", {machine['taken_at']}",
        "",
        "| figure | median | must be | | runs |",
        "|---|---|---|---|---|",
    ]
    promised = [(promise.name, promise) for promise in PROMISES if promise.name in figures]
    for name, promise in promised:
        entry = figures[name]
        verdict = "pass" if entry["passed"] else "**miss**"
        lines.append(
            f"| `{name}`: {promise.meaning} | {shown(entry['median'])} {promise.unit} "
            f"| {promise.bound.value} {promise.threshold:g} | {verdict} | {_runs(entry)} |"
        )
    missing = [promise.name for promise in PROMISES if promise.name not in figures]
    if missing:
        lines += ["", "Not measured in this run: " + ", ".join(f"`{name}`" for name in missing) + "."]
    lines += ["", "| beside them | median | runs |", "|---|---|---|"]
    names = {name for name, _ in promised}
    for name, entry in figures.items():
        if name not in names:
            lines.append(f"| `{name}` | {shown(entry['median'])} {entry['unit']} | {_runs(entry)} |")
    lines += ["", "| setting | value |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in setup.items()]
    return "\n".join(lines) + "\n"


def _runs(entry: dict[str, Any]) -> str:
    return ", ".join(shown(run) for run in entry["runs"])


def write(content: dict[str, Any], folder: Path = RESULTS) -> tuple[Path, Path]:
    """latest.json and latest.md in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    as_json, as_page = folder / "latest.json", folder / "latest.md"
    as_json.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    as_page.write_text(markdown(content))
    return as_json, as_page
