"""What an agent remembers of persons: their token and their profile, never their counts.

Bounded by entries and by bytes. Two generations: entries are written to the young one, which becomes the old one when
it is half of the bound; what is not asked for while it is old is forgotten. An entry that is not fresh keeps its token
and has its profile read again. Persons without a profile are remembered like others.
"""

from __future__ import annotations

from campaign_express.adapters.redis_batch import slot_of
from campaign_express.adapters.redis_link import pack
from campaign_express.adapters.users_keys import counts_key, profile_key, tokens_of

Ids = tuple[str, ...]
_OWN_BYTES = 1200  # of an entry without ids and segments, measured


class Known:
    """One person, as a request names them."""

    __slots__ = (
        "absent",
        "first_seen_ms",
        "fresh_until",
        "give",
        "interests",
        "others",
        "profile",
        "read",
        "segments",
        "size",
        "slot",
        "token",
        "tokens",
        "valid_until_ms",
    )

    def __init__(self, ids: Ids) -> None:
        self.tokens = tokens_of(ids)
        self.size = _OWN_BYTES + sum(map(len, ids)) + 80 * len(ids)
        self.fresh_until = 0.0  # monotonic seconds: until then the profile is not read again
        self.valid_until_ms = 0  # wall clock: then the profile has ended
        self.first_seen_ms = 0
        self.segments: tuple[str, ...] = ()
        self.interests: tuple[float, ...] = ()
        self.rename(self.tokens[0])
        self.others = self.tokens[1:]  # tokens of whom is not known yet whether they lead here
        self.absent: list[str] = []  # of whom nothing is known: they become aliases with a bid

    def rename(self, token: str) -> None:
        """The canonical token is this one."""
        self.token = token
        key = counts_key(token)
        self.slot = slot_of(key)
        # Commands as far as they are the same for every request: what stands before the name of a pending weight, what
        # reads the counts, what reads the profile.
        self.give = b"*4\r\n$4\r\nHSET\r\n$%d\r\n%b\r\n$13\r\nn" % (len(key), key)
        self.read = pack(b"HGETALL", key) + b"*4\r\n$7\r\nPEXPIRE\r\n$%d\r\n%b\r\n" % (len(key), key)
        self.profile = pack(b"GET", profile_key(token))

    def doubt(self) -> None:
        """Look again at where the other tokens lead."""
        self.others = [token for token in self.tokens if token != self.token]
        self.absent = []


class KnownPersons:
    """By the ids that a request holds. Not for several threads."""

    def __init__(self, entries: int, most_bytes: int) -> None:
        self._entries = max(entries // 2, 1)  # of one generation
        self._bytes = max(most_bytes // 2, 1)
        self._young: dict[Ids, Known] = {}
        self._old: dict[Ids, Known] = {}
        self._held = 0  # bytes of the young generation

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, ids: Ids) -> Known:
        """The entry of `ids`, a new one where there is none."""
        known = self._young.get(ids)
        if known is None:
            known = self._old.pop(ids, None) or Known(ids)
            self._put(ids, known)
        return known

    def grown(self, known: Known, more: int) -> None:
        """Count `more` bytes that an entry has come to hold."""
        known.size += more
        self._held += more

    def _put(self, ids: Ids, known: Known) -> None:
        if len(self._young) >= self._entries or self._held + known.size > self._bytes:
            self._old, self._young, self._held = self._young, {}, 0
        self._young[ids] = known
        self._held += known.size
