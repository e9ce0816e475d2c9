"""docs/autoscaling.md names every rule with its default."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from campaign_express.serving.autoscaling import Rules

PAGE = Path(__file__).resolve().parents[2] / "docs" / "autoscaling.md"


def test_every_rule_is_documented_with_its_default() -> None:
    documented: dict[str, str] = {}
    for names, defaults in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ([\d., ]+) \|", PAGE.read_text(), re.MULTILINE):
        documented |= dict(zip(re.findall(r"\w+", names), defaults.split(", "), strict=True))
    assert documented == {field.name: str(field.default) for field in fields(Rules)}
