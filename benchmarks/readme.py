"""The figures in README.md, from benchmarks/results/latest.json: `python -m benchmarks.readme`, run by `make bench`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.figures import PROMISES
from benchmarks.machine import ROOT
from benchmarks.report import RESULTS, shown

BEGIN = (
    "<!-- figures: begin. From benchmarks/results/latest.json, written by `make bench`; "
    "nothing here is typed by hand. -->"
)
END = "<!-- figures: end -->"
BESIDE = ("echo_rps", "cell_rps", "in_process_rps", "serve_default_rps", "serve_haproxy_rps")


def section(content: dict[str, Any]) -> str:
    """Table of the promised figures and the throughputs behind them."""
    figures, machine = content["figures"], content["machine"]
    where = (
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, the load generator on the same cores"
    )
    lines = [
        f"{where}; revision {machine['revision']}.",
        "",
        "| figure | measured | promised | |",
        "|---|---|---|---|",
    ]
    for promise in PROMISES:
        found = figures.get(promise.name)
        if found is not None:
            kept = "" if found["passed"] else "**missed**"
            measured = f"{shown(found['median'])} {found['unit']}"
            lines.append(f"| {promise.meaning} (`{promise.name}`) | {measured} | {found['threshold']} | {kept} |")
    lines += [
        f"| `{name}`, 64 connections | {shown(figures[name]['median'])} {figures[name]['unit']} | | |"
        for name in BESIDE
        if name in figures
    ]
    return "\n".join(lines)


def filled(readme: str, content: dict[str, Any]) -> str:
    """`readme` with its section of figures renewed. Raises ValueError where its marks are gone."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if not pattern.search(readme):
        raise ValueError("README.md has lost the marks of its figures")
    return pattern.sub(lambda _: f"{BEGIN}\n{section(content)}\n{END}", readme)


def main(readme: Path = ROOT / "README.md", results: Path = RESULTS / "latest.json") -> None:
    content = json.loads(results.read_text(encoding="utf-8"))
    readme.write_text(filled(readme.read_text(encoding="utf-8"), content), encoding="utf-8")


if __name__ == "__main__":
    main()
