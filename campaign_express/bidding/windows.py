"""Windows of frequency caps: since when do impressions count, in Unix milliseconds.

A sliding window of length L ends now and is half open, (now - L, now]: an impression exactly L ago is out of it. A
calendar window is the local hour, day or week (from Monday) of a time zone that now lies in. An hour that clocks
repeat in autumn is two hours; a day of a change of clocks has 23 or 25.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from campaign_express.bidding.model import CapPeriod

LENGTH_MS = {CapPeriod.HOUR: 3_600_000, CapPeriod.DAY: 86_400_000, CapPeriod.WEEK: 604_800_000}
EVER_MS = 1 << 62  # a sliding window that holds everything


def period_start(per: CapPeriod, zone: ZoneInfo, wall_ms: int) -> int:
    """Unix ms of the first moment of the local hour, day or week that `wall_ms` lies in; 0 for a lifetime.

    Where clocks skip midnight, the day begins with the first moment after the gap: PEP 495 gives a time within a gap
    (fold 0) the offset from before it.
    """
    if per is CapPeriod.LIFETIME:
        return 0
    local = datetime.fromtimestamp(wall_ms // 1000, zone)
    if per is CapPeriod.HOUR:  # keeps `fold`, so that the second 02:30 of an autumn night is in the second 02:00
        return _unix_ms(local.replace(minute=0, second=0))
    day = local.replace(hour=0, minute=0, second=0, fold=0)
    return _unix_ms(day if per is CapPeriod.DAY else day - timedelta(days=local.weekday()))


def _unix_ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000


class CalendarWindow:
    """The current period of one time zone. `since(now)` is remembered for the minute: offsets are whole minutes."""

    __slots__ = ("_known", "per", "zone")

    def __init__(self, per: CapPeriod, time_zone: str) -> None:
        self.per = per
        self.zone = ZoneInfo(time_zone)
        self._known = (-1, 0)  # (minute, since), replaced as one: two threads may ask

    def since(self, wall_ms: int) -> int:
        """The last millisecond that is not in the period of `wall_ms`: what is later counts."""
        minute = wall_ms // 60_000
        known = self._known
        if known[0] != minute:
            known = self._known = (minute, period_start(self.per, self.zone, wall_ms) - 1)
        return known[1]
