"""What one impression accepts: builders of functions (slot, lines left) → mask of lines that pass.

A rule of one media kind lets the lines of all other kinds pass; `media` runs first and removes the kinds not offered,
so a multi-format impression is one pass. A builder gives None when the catalogue cannot break its rule.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from campaign_express.bidding.bitmaps import Memo, OneValue, bits
from campaign_express.bidding.impression import AUDIO, BANNER, NATIVE, VIDEO, Slot, video_placement
from campaign_express.bidding.lines import Line, Lines
from campaign_express.bidding.markup import native_fits
from campaign_express.bidding.model import Campaign, Media
from campaign_express.errors import InvalidRequest
from campaign_express.openrtb.native import NativeRequest, parse_native_request
from campaign_express.openrtb.request import Audio, Video

AllowSlot = Callable[[Slot, int], int]
KIND = {Media.BANNER: BANNER, Media.VIDEO: VIDEO, Media.AUDIO: AUDIO, Media.NATIVE: NATIVE}


def _kinds(lines: Lines) -> dict[int, int]:
    found = lines.by(lambda line: (KIND[line.creative.media],))
    return {kind: found.get(kind, 0) for kind in KIND.values()}


def media(lines: Lines) -> AllowSlot:
    """Kinds offered by the impression and wanted by the campaign."""
    masks = lines.by(
        lambda line: (
            (KIND[line.creative.media],)
            if not line.campaign.targeting.media or line.creative.media in line.campaign.targeting.media
            else ()
        )
    )
    offered = [sum(masks.get(kind, 0) for kind in KIND.values() if kinds & kind) for kinds in range(16)]
    return lambda s, m: offered[s.kinds]


def secure(lines: Lines) -> AllowSlot | None:
    safe = lines.where(lambda line: line.creative.secure)
    everything = lines.everything
    return (lambda s, m: safe if s.secure else everything) if safe != everything else None


def _size_rule(campaign: Campaign) -> tuple[list[str], list[str]]:
    match = campaign.targeting.size
    return [v.lower() for v in match.include], [v.lower() for v in match.exclude]


def size(lines: Lines) -> AllowSlot:
    """Banners fit an offered size exactly (or a flexible one by its ratio and least width); video and audio scale.

    A campaign's size targeting speaks of the size shown: a banner's own, a video slot's.
    """
    kinds = _kinds(lines)
    others = lines.everything & ~kinds[BANNER]
    wanted = OneValue(lines.everything, lines.rules(_size_rule))
    sized: dict[tuple[int, int], int] = {}
    for (w, h), mask in lines.by(
        lambda line: ((line.creative.w, line.creative.h),) if line.creative.media is Media.BANNER else ()
    ).items():
        sized[w, h] = mask & wanted.allow.get(f"{w}x{h}", wanted.default)
    video_of_other_shape: Memo[int] = Memo(lines.count)
    shapes = lines.by(lambda line: ((line.creative.w, line.creative.h),) if line.creative.media is Media.VIDEO else ())
    get = sized.get

    def allow(s: Slot, m: int) -> int:
        kinds_offered = s.kinds
        mask = others
        if kinds_offered & BANNER:
            for offered in s.sizes:
                mask |= get(offered, 0)
            formats = s.imp.banner.format if s.imp.banner is not None else None
            for f in formats or ():
                if f.wratio and f.hratio:
                    for (w, h), having_it in sized.items():
                        if w * f.hratio == h * f.wratio and w >= (f.wmin or 0):
                            mask |= having_it
        video = s.imp.video
        if video is not None:
            if wanted.used:
                shown = f"{video.w}x{video.h}"
                mask &= ~kinds[VIDEO] | wanted.allow.get(shown, wanted.default)
            if video.boxingallowed == 0 and video.w and video.h:
                key = (video.w, video.h)
                other = video_of_other_shape.get(key)
                if other is None:
                    other = 0
                    for (w, h), having_it in shapes.items():
                        if abs(w * video.h - h * video.w) > 0.01 * w * video.h:
                            other |= having_it
                    video_of_other_shape.put(key, other)
                mask &= ~other
        if wanted.used and kinds_offered & (AUDIO | NATIVE):
            mask &= ~(kinds[AUDIO] | kinds[NATIVE]) | wanted.default
        return mask

    return allow


def blocked_attribute(lines: Lines) -> AllowSlot | None:
    """battr of the media object against the creative's attributes (AdCOM "Creative Attributes")."""
    having = lines.by(lambda line: [(KIND[line.creative.media], attribute) for attribute in line.attr])
    if not having:
        return None
    everything = lines.everything

    def allow(s: Slot, m: int) -> int:
        mask = everything
        imp = s.imp
        if imp.banner is not None and imp.banner.battr:
            for attribute in imp.banner.battr:
                mask &= ~having.get((BANNER, attribute), 0)
        if imp.video is not None and imp.video.battr:
            for attribute in imp.video.battr:
                mask &= ~having.get((VIDEO, attribute), 0)
        if imp.audio is not None and imp.audio.battr:
            for attribute in imp.audio.battr:
                mask &= ~having.get((AUDIO, attribute), 0)
        if imp.native is not None and imp.native.battr:
            for attribute in imp.native.battr:
                mask &= ~having.get((NATIVE, attribute), 0)
        return mask

    return allow


_IMAGE_TYPES = {"png": "image/png", "gif": "image/gif", "webp": "image/webp", "svg": "image/svg+xml"}


def banner_mimes(line: Line) -> tuple[str, ...]:
    """MIME types under which a banner can be shown: our markup is HTML; a plain image also goes where images do."""
    creative = line.creative
    if creative.html:
        return ("text/html",)
    ending = creative.image.partition("?")[0].rpartition(".")[2].lower()
    return ("text/html", _IMAGE_TYPES.get(ending, "image/jpeg"))


# Names in use for types that have another registered name (IANA).
_MIME_ALIASES = {"image/jpg": "image/jpeg", "audio/mp3": "audio/mpeg", "audio/x-mpeg": "audio/mpeg"}


def _mime(name: str) -> str:
    name = name.partition(";")[0].strip().lower()
    return _MIME_ALIASES.get(name, name)


def mime(lines: Lines) -> AllowSlot:
    kinds = _kinds(lines)

    def mimes(line: Line) -> list[tuple[int, str]]:
        kind = KIND[line.creative.media]
        names = banner_mimes(line) if kind == BANNER else (line.creative.mime,) if kind in (VIDEO, AUDIO) else ()
        return [(kind, _mime(name)) for name in names]

    having = lines.by(mimes)
    everything = lines.everything

    def allow(s: Slot, m: int) -> int:
        mask = everything
        imp = s.imp
        for kind, media_object in ((BANNER, imp.banner), (VIDEO, imp.video), (AUDIO, imp.audio)):
            if media_object is not None and media_object.mimes:
                fits = ~kinds[kind]
                for name in media_object.mimes:
                    fits |= having.get((kind, _mime(name)), 0)
                mask &= fits
        return mask

    return allow


def _timed(s: Slot) -> list[tuple[int, Video | Audio]]:
    """The video and audio objects of a slot, with their kind."""
    found: list[tuple[int, Video | Audio]] = []
    if s.imp.video is not None:
        found.append((VIDEO, s.imp.video))
    if s.imp.audio is not None:
        found.append((AUDIO, s.imp.audio))
    return found


def offered_protocols(media_object: Video | Audio) -> tuple[int, ...]:
    """`protocols`, or the older single `protocol`; empty = any."""
    if media_object.protocols:
        return media_object.protocols
    single = media_object.protocol if isinstance(media_object, Video) else None
    return (single,) if single else ()


def protocol(lines: Lines) -> AllowSlot | None:
    having = lines.by(lambda line: [(KIND[line.creative.media], p) for p in line.protocols])
    if not having:
        return None
    kinds = _kinds(lines)
    everything = lines.everything

    def allow(s: Slot, m: int) -> int:
        mask = everything
        if s.kinds & (VIDEO | AUDIO):
            for kind, media_object in _timed(s):
                offered = offered_protocols(media_object)
                if offered:
                    fits = ~kinds[kind]
                    for name in offered:
                        fits |= having.get((kind, name), 0)
                    mask &= fits
        return mask

    return allow


def duration(lines: Lines) -> AllowSlot | None:
    """minduration and maxduration (default none) and one of rqddurs. Section 3.2.7 lets these exclude each other; where
    both are sent, obeying both breaks neither."""
    lasting = lines.by(
        lambda line: (
            ((KIND[line.creative.media], line.creative.duration),)
            if line.creative.media in (Media.VIDEO, Media.AUDIO)
            else ()
        )
    )
    if not lasting:
        return None
    kinds = _kinds(lines)
    known: Memo[int] = Memo(lines.count)
    everything = lines.everything

    def allow(s: Slot, m: int) -> int:
        mask = everything
        if s.kinds & (VIDEO | AUDIO):
            for kind, timed in _timed(s):
                key = (kind, timed.minduration, timed.maxduration, timed.rqddurs)
                fits = known.get(key)
                if fits is None:
                    low = timed.minduration or 0
                    high = 1 << 31 if timed.maxduration is None else timed.maxduration
                    fits = everything & ~kinds[kind]
                    for (of, seconds), having_it in lasting.items():
                        if of == kind and low <= seconds <= high and (not timed.rqddurs or seconds in timed.rqddurs):
                            fits |= having_it
                    known.put(key, fits)
                mask &= fits
        return mask

    return allow


def skippable(lines: Lines) -> AllowSlot | None:
    """video.skip = 0 refuses skippable creatives; linearity 2 (overlay) refuses ours, which are all linear."""
    skips = lines.where(lambda line: line.creative.media is Media.VIDEO and line.creative.skippable)
    linear = _kinds(lines)[VIDEO]
    if not linear:
        return None
    everything = lines.everything

    def allow(s: Slot, m: int) -> int:
        video = s.imp.video
        if video is None:
            return everything
        mask = everything
        if video.skip == 0:
            mask &= ~skips
        if video.linearity == 2:
            mask &= ~linear
        return mask

    return allow


def placement(lines: Lines) -> AllowSlot | None:
    index = OneValue(
        lines.everything, lines.rules(lambda c: (c.targeting.placement.include, c.targeting.placement.exclude))
    )
    if not index.used:
        return None
    others = lines.everything & ~_kinds(lines)[VIDEO]
    return lambda s, m: others | index.allow.get(video_placement(s.imp), index.default)


def api(lines: Lines) -> AllowSlot | None:
    """A creative needs every API framework that it names."""
    needing = lines.by(lambda line: [(KIND[line.creative.media], name) for name in line.creative.api])
    if not needing:
        return None
    everything = lines.everything

    def allow(s: Slot, m: int) -> int:
        imp = s.imp
        offered: defaultdict[int, tuple[int, ...]] = defaultdict(tuple)
        for kind, media_object in ((BANNER, imp.banner), (VIDEO, imp.video), (AUDIO, imp.audio), (NATIVE, imp.native)):
            if media_object is not None and media_object.api:
                offered[kind] = media_object.api
        mask = everything
        for (kind, name), having_it in needing.items():
            if name not in offered[kind]:
                mask &= ~having_it
        return mask

    return allow


def native_request(s: Slot) -> NativeRequest | None:
    """The parsed native request of a slot, None when it has none or a broken one."""
    native = s.imp.native
    if native is None or not native.request:
        return None
    try:
        return parse_native_request(native.request)
    except InvalidRequest:
        return None


def native_asset(lines: Lines) -> AllowSlot | None:
    """Every required asset can be filled.

    Tested only on lines that are left, and remembered by the request's own text.
    """
    native = _kinds(lines)[NATIVE]
    if not native:
        return None
    everything, others = lines.everything, lines.everything & ~native
    known: Memo[tuple[int, int]] = Memo(2 * lines.count)  # text → (lines tested, lines that fit)

    def allow(s: Slot, m: int) -> int:
        offered = s.imp.native
        if offered is None:
            return everything
        text = offered.request or ""
        tested, fit = known.get(text, (0, 0))
        new = m & native & ~tested
        if new:
            request = native_request(s)
            if request is not None:
                for bit in bits(new):
                    if native_fits(lines.lines[bit].creative, request):
                        fit |= 1 << bit
            known.put(text, (tested | new, fit), 2 * len(text))
        return others | fit

    return allow


def position(lines: Lines) -> AllowSlot | None:
    index = OneValue(
        lines.everything, lines.rules(lambda c: (c.targeting.position.include, c.targeting.position.exclude))
    )
    return (lambda s, m: index.allow.get(s.position, index.default)) if index.used else None


def _yes_no(field: str, of: Callable[[Slot], bool]) -> Callable[[Lines], AllowSlot | None]:
    def build(lines: Lines) -> AllowSlot | None:
        index: OneValue[bool] = OneValue(
            lines.everything,
            lines.rules(lambda c: ((), () if (w := getattr(c.targeting, field)) is None else (not w,))),
        )
        return (lambda s, m: index.allow.get(of(s), index.default)) if index.used else None

    return build


interstitial = _yes_no("interstitial", lambda s: s.interstitial)
rewarded = _yes_no("rewarded", lambda s: s.rewarded)
