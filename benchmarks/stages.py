"""Where the core's time goes: its functions timed from outside, each stage without the stages inside it.

The product carries no such timers; they are put around its functions here, for a run of their own. Each call of a timer
costs a fraction of a microsecond, so the sum is above the figure that is measured without them: read the shares.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

# Stage -> functions, as module:name or module:Class.name, where the caller looks them up.
STAGES: dict[str, tuple[str, ...]] = {
    "decode": ("campaign_express.bidder:decode_request",),
    "facts and consent": ("campaign_express.bidder:build_context", "campaign_express.bidder:Bidder.refuse"),
    "match": (
        "campaign_express.bidding.eligibility:Matcher.requests",
        "campaign_express.bidding.eligibility:Matcher.slot",
        "campaign_express.bidding.eligibility:Matcher.fit",
        "campaign_express.bidding.pipeline:place_slot",
    ),
    "candidates": ("campaign_express.bidding.pipeline:candidates",),
    "features": ("campaign_express.bidding.pipeline:request_part", "campaign_express.bidding.pipeline:slot_part"),
    "score": ("campaign_express.timed_scorer:TimedScorer.score",),
    "price": ("campaign_express.bidding.pipeline:price",),
    "award": ("campaign_express.bidding.pipeline:Pipeline._award",),
    "sign, render, build": ("campaign_express.bidder:build_response",),
    "encode": ("campaign_express.bidder:encode_response",),
}
REST = "the rest"


def _owner(place: str) -> tuple[Any, str]:
    module, _, path = place.partition(":")
    owner: Any = import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    return owner, name


@contextmanager
def timed() -> Iterator[Counter[str]]:
    """Nanoseconds of each stage, filled while the block runs. Raises AttributeError for a function that is gone."""
    spent: Counter[str] = Counter()
    inner = [0]  # time of the stages inside each stage under way, outermost first

    def wrap(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timer(*args: Any, **kwargs: Any) -> Any:
            inner.append(0)
            start = time.perf_counter_ns()
            try:
                return function(*args, **kwargs)
            finally:
                took = time.perf_counter_ns() - start
                spent[stage] += took - inner.pop()
                inner[-1] += took

        return timer

    replaced: list[tuple[Any, str, Any]] = []
    try:
        for stage, places in STAGES.items():
            for place in places:
                owner, name = _owner(place)
                replaced.append((owner, name, getattr(owner, name)))
                setattr(owner, name, wrap(stage, getattr(owner, name)))
        yield spent
    finally:
        for owner, name, function in replaced:
            setattr(owner, name, function)
