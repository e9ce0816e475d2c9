"""What is found in a large catalogue and a large request, made small: left out is whatever the fault does not need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import msgspec

from campaign_express.bidding.model import Campaign
from campaign_express.errors import InvalidRequest
from tests.support.oracle import World

Fault = Callable[[list[World], dict[str, Any]], str | None]


def smallest(worlds: list[World], body: dict[str, Any], fault: Fault) -> str:
    """The fault of a smallest example, and the example. `fault` says what is wrong, or None."""
    found = fault(worlds, body)
    smaller = True
    while smaller:
        smaller = False
        for other_worlds, other_body in _smaller(worlds, body):
            try:
                other = fault(other_worlds, other_body)
            except (InvalidRequest, KeyError):  # what was left out was needed
                continue
            if other is not None:
                worlds, body, found, smaller = other_worlds, other_body, other, True
                break
    world = worlds[0]
    shown = [found, msgspec.json.encode(body).decode()]
    shown += [str(msgspec.to_builtins(campaign)) for campaign in world.catalog.campaigns]
    return "\n".join([*map(str, shown), str(world.device), str(world.geo), f"at {world.wall_ms} ms"])


def _smaller(worlds: list[World], body: dict[str, Any]) -> Iterator[tuple[list[World], dict[str, Any]]]:
    campaigns = worlds[0].catalog.campaigns
    for at, campaign in enumerate(campaigns):
        for instead in _smaller_campaigns(campaign, alone=len(campaigns) == 1):
            others = (*campaigns[:at], *instead, *campaigns[at + 1 :])
            catalog = msgspec.structs.replace(worlds[0].catalog, campaigns=others)
            yield [replace(world, catalog=catalog) for world in worlds], body
    yield from ((worlds, other) for other in _smaller_values(body))


def _smaller_campaigns(campaign: Campaign, alone: bool) -> Iterator[tuple[Campaign, ...]]:
    if not alone:
        yield ()
    creatives = campaign.creatives
    for at in range(len(creatives) if len(creatives) > 1 else 0):
        yield (msgspec.structs.replace(campaign, creatives=(*creatives[:at], *creatives[at + 1 :])),)


def _smaller_values(value: Any) -> Iterator[Any]:
    """A JSON value with one key or member left out somewhere in it."""
    if isinstance(value, dict):
        for key in value:
            yield {k: v for k, v in value.items() if k != key}
            yield from ({**value, key: other} for other in _smaller_values(value[key]))
    elif isinstance(value, list | tuple):
        for at, member in enumerate(value):
            yield [*value[:at], *value[at + 1 :]]
            yield from ([*value[:at], other, *value[at + 1 :]] for other in _smaller_values(member))
