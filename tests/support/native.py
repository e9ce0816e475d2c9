"""Does this native markup answer that native request? Native Ads 1.2 section 5, checked the slow and obvious way.

Works on the request's own JSON, not on the types under test.
"""

from __future__ import annotations

import json
from typing import Any

KINDS = ("title", "img", "video", "data")


def check_native(adm: str, request_text: str) -> dict[str, Any]:
    """The markup's native object. Raises AssertionError saying what does not fit the request (`imp.native.request`)."""
    request = json.loads(request_text)
    answer = json.loads(adm)
    assert ("native" in request) == ("native" in answer), "root object differs from the request's"
    request, answer = request.get("native") or request, answer.get("native", answer)
    wanted = request["assets"]
    by_id = {asset.get("id", index): asset for index, asset in enumerate(wanted)}
    given = {asset["id"]: asset for asset in answer["assets"]}
    assert len(given) == len(answer["assets"]), "an asset is answered twice"
    assert given or any(asset.get("required") == 1 for asset in wanted), "no asset at all"
    for asset_id, asset in by_id.items():
        if asset.get("required") == 1:
            assert asset_id in given, f"required asset {asset_id} is missing"
    for asset_id, asset in given.items():
        assert asset_id in by_id, f"asset {asset_id} was not asked for"
        _check_asset(asset, by_id[asset_id])
    assert _is_url(answer["link"]["url"])
    impressions = answer.get("imptrackers", []) + [
        tracker["url"] for tracker in answer.get("eventtrackers", []) if (tracker["event"], tracker["method"]) == (1, 1)
    ]
    assert len(impressions) == 1, f"{len(impressions)} impression trackers"
    assert _is_url(impressions[0])
    for tracker in answer.get("eventtrackers", []):
        allowed = [t for t in request.get("eventtrackers") or () if t.get("event") == tracker["event"]]
        assert any(tracker["method"] in t["methods"] for t in allowed), "an event tracker that was not offered"
    return answer  # type: ignore[no-any-return]


def impression_of(answer: dict[str, Any]) -> str:
    """The one impression tracker of a checked answer."""
    trackers = [*answer.get("imptrackers", []), *(t["url"] for t in answer.get("eventtrackers", []))]
    return str(trackers[0])


def _check_asset(asset: dict[str, Any], wanted: dict[str, Any]) -> None:
    kind = next(k for k in KINDS if wanted.get(k) is not None)
    assert [k for k in KINDS if k in asset] == [kind], f"answered with another kind than {kind}"
    limits = wanted[kind]
    if kind == "title":
        assert 0 < len(asset["title"]["text"]) <= limits["len"]
    elif kind == "data":
        assert 0 < len(asset["data"]["value"]) <= (10**9 if limits.get("len") is None else limits["len"])
    elif kind == "img":
        assert _is_url(asset["img"]["url"])
        for side in ("w", "h"):
            least, exact = limits.get(f"{side}min"), limits.get(side)
            if least:
                assert asset["img"][side] >= least
            elif exact:
                assert asset["img"][side] == exact


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://")) and not any(c in text for c in ' "\\<>\n')
