"""Publications and switches as events: what was added, removed or changed, and nothing else."""

from __future__ import annotations

from typing import Any

import msgspec

from campaign_express.bidding.changes import MAX_TEXT, catalog_changes, switch_change
from campaign_express.bidding.model import Budget, Catalog
from campaign_express.control import ALL, Stop, Switched
from campaign_express.events import ChangeEvent
from tests.support.bidders import BRAND, banner, campaign, catalog


def changes(before: Catalog | None, after: Catalog) -> list[ChangeEvent]:
    found = list(catalog_changes(before, after, 1000, "ann"))
    assert found[0].kind == "catalogue"
    assert {(one.time_ms, one.actor, one.catalog) for one in found} == {(1000, "ann", after.version)}
    assert len({one.id for one in found}) == len(found)
    return found[1:]


def told(found: list[ChangeEvent]) -> list[tuple[str, str, Any, Any]]:
    def read(text: str) -> Any:
        return msgspec.json.decode(text) if text else None

    return [(one.kind, one.campaign, read(one.before), read(one.after)) for one in found]


def version(number: int, of: Catalog) -> Catalog:
    return msgspec.structs.replace(of, version=number)


def test_the_first_publication_adds_everything() -> None:
    found = changes(None, version(1, catalog(campaign("a"))))
    assert [(one.kind, one.advertiser, one.campaign, one.before) for one in found] == [
        ("catalogue", BRAND.id, "", ""),
        ("campaign", BRAND.id, "a", ""),
    ]
    assert msgspec.json.decode(found[1].after)["id"] == "a"


def test_the_same_again_changes_nothing_but_the_version() -> None:
    one = catalog(campaign("a"), campaign("b"))
    assert changes(version(1, one), version(2, one)) == []
    (whole,) = catalog_changes(version(1, one), version(2, one), 1000, "ann")
    assert (whole.before, whole.after) == (
        '{"version":1,"advertisers":1,"campaigns":2}',
        '{"version":2,"advertisers":1,"campaigns":2}',
    )


def test_a_budget_is_an_event_of_its_own_and_fields_that_stayed_are_not_told() -> None:
    before = catalog(campaign("a", budget=Budget(daily=5)), campaign("b"), campaign("gone"))
    after = catalog(campaign("a", budget=Budget(daily=6), max_bid=7_000_000), campaign("b"), campaign("new"))
    found = told(changes(version(1, before), version(2, after)))
    assert [(kind, name) for kind, name, _, _ in found] == [
        ("budget", "a"),
        ("campaign", "a"),
        ("campaign", "new"),
        ("campaign", "gone"),
    ]
    assert (found[0][2]["budget"]["daily"], found[0][3]["budget"]["daily"]) == (5, 6)
    assert list(found[1][3]) == ["max_bid"]
    assert found[2][2] is None
    assert found[3][3] is None


def test_an_advertisers_budget_is_told_of_the_advertiser() -> None:
    richer = msgspec.structs.replace(BRAND, budget=Budget(daily=9))
    before, after = catalog(campaign("a")), catalog(campaign("a"), advertisers=(richer,))
    (event,) = changes(version(1, before), version(2, after))
    assert (event.kind, event.advertiser, event.campaign) == ("budget", BRAND.id, "")


def test_what_is_too_large_for_a_message_is_told_by_its_size() -> None:
    large = campaign("a", msgspec.structs.replace(banner(), html="<a href={CLICK_URL}>" + "x" * MAX_TEXT))
    found = changes(None, version(1, catalog(large)))
    assert msgspec.json.decode(found[1].after)["bytes"] > MAX_TEXT


def test_a_switch_names_what_it_stops() -> None:
    stop = Stop("wrong price", "operator ann", 5)
    event = switch_change(Switched("campaign", "a"), None, stop, 5, "ann")
    assert (event.kind, event.campaign, event.before) == ("switch", "a", "")
    assert msgspec.json.decode(event.after, type=Stop) == stop
    back = switch_change(ALL, stop, None, 6, "bob")
    assert (back.campaign, back.advertiser, back.exchange, back.after) == ("", "", "", "")
    assert back.id != event.id
