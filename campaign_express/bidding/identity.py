"""Which ids a request tells of a person, for profiles and frequency caps. Empty without consent to identify."""

from __future__ import annotations

from campaign_express.bidding.context import Context

MAX_IDS = 8  # of one request: a person's ids beyond these say nothing new
MAX_ID = 256  # characters
_LOWER_VALUES = frozenset({"ifa"})  # kinds whose values are the same in capitals
_NOBODY = frozenset(
    {"", "0", "00000000-0000-0000-0000-000000000000"}
)  # what devices send once tracking is switched off


def normal(written: str) -> str:
    """An id as it was written by somebody (`kind:value`), in the form in which requests tell it.

    Names of exchanges are kept as they are; all other kinds are sources, in which case means nothing.
    """
    kind, _, value = written.partition(":")
    if "@" not in kind:
        kind = kind.lower()
    return f"{kind}:{value.lower() if kind in _LOWER_VALUES else value}"


def ids_of(context: Context) -> tuple[str, ...]:
    """`kind:value`, the most lasting first: the device's advertising id, ours at the exchange, shared ids, the site's.

    Ids that only an exchange knows are told apart by its name.
    """
    if context.consent.contextual:
        return ()
    request = context.request
    device, user = request.device, request.user
    found: list[str] = []
    if device is not None and device.ifa:
        found.append(f"ifa:{device.ifa.lower()}")
    if user is not None:
        exchange = context.exchange_name
        if user.buyeruid:
            found.append(f"buyeruid@{exchange}:{user.buyeruid}")
        eids = user.eids or (user.ext.eids if user.ext is not None else None)
        for eid in eids or ():
            if eid.source:
                found += [f"{eid.source.lower()}:{uid.id}" for uid in eid.uids or () if uid.id]
        if user.id:
            found.append(f"user@{exchange}:{user.id}")
    if not found:
        return ()
    known = [one for one in found if len(one) <= MAX_ID and one.partition(":")[2] not in _NOBODY]
    return tuple(known[:MAX_IDS])
