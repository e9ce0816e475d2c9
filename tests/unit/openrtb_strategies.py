"""Hypothesis strategies for bid requests, derived from the wire structs so that a new field is generated at once."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from msgspec import inspect, json

from campaign_express.openrtb.codec import decode_request
from campaign_express.openrtb.request import BidRequest

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def _value(kind: Any) -> st.SearchStrategy[Any]:
    """JSON values that the type accepts."""
    match kind:
        case inspect.UnionType():
            return st.one_of([_value(option) for option in kind.types])
        case inspect.NoneType():
            return st.none()
        case inspect.BoolType():
            return st.booleans()
        case inspect.StrType():
            return text if not kind.min_length else text.filter(bool)
        case inspect.IntType():
            return st.integers(kind.ge if kind.ge is not None else -(2**31), kind.le)
        case inspect.FloatType():
            return st.floats(kind.ge, kind.le, allow_nan=False)
        case inspect.VarTupleType():
            return st.lists(_value(kind.item_type), min_size=kind.min_length or 0, max_size=2)
        case inspect.StructType():
            return _struct(kind)
    raise NotImplementedError(kind)


def _struct(kind: inspect.StructType) -> st.SearchStrategy[dict[str, Any]]:
    fields = {field.encode_name: st.deferred(lambda t=field.type: _value(t)) for field in kind.fields}
    required = {field.encode_name for field in kind.fields if field.required}
    return st.fixed_dictionaries(
        {name: value for name, value in fields.items() if name in required},
        optional={name: value for name, value in fields.items() if name not in required},
    )


def _obeying_rules_across_fields(draft: dict[str, Any]) -> dict[str, Any]:
    for index, imp in enumerate(draft["imp"]):
        imp["id"] = f"{index}{imp['id']}"
        if all(imp.get(kind) is None for kind in ("banner", "video", "audio", "native")):
            imp["banner"] = {"w": 300, "h": 250}
    given = [place for place in ("site", "app", "dooh") if draft.get(place) is not None]
    for place in given[1:]:
        del draft[place]
    return draft


bodies: st.SearchStrategy[bytes] = (
    _value(inspect.type_info(BidRequest)).map(_obeying_rules_across_fields).map(json.encode)
)
"""JSON bodies of valid requests."""

requests: st.SearchStrategy[BidRequest] = bodies.map(decode_request)
"""Valid requests, decoded."""
