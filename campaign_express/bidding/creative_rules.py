"""What a creative needs to be served, by its media kind. Problems are (key path, what is wrong)."""

from __future__ import annotations

import re
from collections.abc import Callable

from campaign_express.bidding.model import Creative, Media
from campaign_express.bidding.shape import join, show
from campaign_express.bidding.targeting_rules import VENDOR, Found, language_problem

MAX_HTML = 65_536  # characters: adm beyond it would be refused by most exchanges anyway
ATTRIBUTES = range(1, 19)  # List: Creative Attributes
API_FRAMEWORKS = range(1, 10)  # List: API Frameworks

_URL = re.compile(r"^https?://[^\s/]+")
_MIME = re.compile(r"^(video|audio)/[a-z0-9.+-]+$")
_INSECURE = re.compile(r"""(?:\b(?:src|srcset|data|poster)\s*=\s*|\burl\(\s*)["']?http://""", re.IGNORECASE)

_A = {"banner": "a banner", "video": "a video", "audio": "an audio ad", "native": "a native ad"}


def creative_problems(creative: Creative, path: str) -> Found:
    """Problems of one creative: fields that its media needs, and resources that are not https though it says secure."""
    if not _URL.match(creative.landing):
        yield join(path, "landing"), f"{show(creative.landing)} is not a URL"
    yield from _MEDIA_RULES[creative.media](creative, path)
    for index, number in enumerate(creative.attr):
        if number not in ATTRIBUTES and number < VENDOR:
            yield (
                join(join(path, "attr"), index),
                f"{number} is not a creative attribute (1 to 18, or a vendor's from 500)",
            )
    for index, number in enumerate(creative.api):
        if number not in API_FRAMEWORKS and number < VENDOR:
            yield join(join(path, "api"), index), f"{number} is not an API framework (1 to 9, or a vendor's from 500)"
    if creative.language and (wrong := language_problem(creative.language)):
        yield join(path, "language"), f"{show(creative.language)} {wrong}"
    if creative.secure:
        yield from _insecure(creative, path)


def _size_problems(creative: Creative, path: str) -> Found:
    for side in ("w", "h"):
        if getattr(creative, side) == 0:
            yield join(path, side), f"is missing: {_A[creative.media.value]} has a size"


def _url_problems(path: str, url: str, needed_by: str) -> Found:
    if not url:
        yield path, f"is missing: {_A[needed_by]} needs it"
    elif not _URL.match(url):
        yield path, f"{show(url)} is not a URL"


def _banner(creative: Creative, path: str) -> Found:
    yield from _size_problems(creative, path)
    if not creative.html and not creative.image:
        yield join(path, "html"), "is missing: a banner has html or an image"
    if len(creative.html) > MAX_HTML:
        yield join(path, "html"), f"has {len(creative.html):,} characters; the most is {MAX_HTML:,}"
    if creative.image:
        yield from _url_problems(join(path, "image"), creative.image, "banner")


def _stream(creative: Creative, path: str) -> Found:
    kind = creative.media.value
    yield from _url_problems(join(path, "asset"), creative.asset, kind)
    match = _MIME.match(creative.mime)
    if not creative.mime:
        yield join(path, "mime"), f"is missing: {_A[kind]} needs it"
    elif match is None or match[1] != kind:
        yield join(path, "mime"), f"{show(creative.mime)} is not the MIME type of a {kind} file"
    if creative.duration == 0:
        yield join(path, "duration"), f"is missing: {_A[kind]} has a length in seconds"
    elif creative.skippable and not 0 <= creative.skip_after < creative.duration:
        yield (
            join(path, "skip_after"),
            f"{creative.skip_after} is not within the duration of {creative.duration} seconds",
        )


def _video(creative: Creative, path: str) -> Found:
    yield from _size_problems(creative, path)
    yield from _stream(creative, path)


def _native(creative: Creative, path: str) -> Found:
    content, where = creative.native, join(path, "native")
    if content is None:
        yield where, "is missing: a native creative has its assets there"
        return
    if not content.title.strip():
        yield join(where, "title"), "is empty"
    for name in ("image", "icon"):
        if url := getattr(content, name):
            yield from _url_problems(join(where, name), url, "native")
            for side in ("w", "h"):
                if getattr(content, f"{name}_{side}") <= 0:
                    yield join(where, f"{name}_{side}"), f"is missing: {name} has a size"
    if content.rating and not re.fullmatch(r"[0-4](?:\.[0-9])?|5(?:\.0)?", content.rating):
        yield join(where, "rating"), f'{show(content.rating)} is not a rating from "0" to "5"'


_MEDIA_RULES: dict[Media, Callable[[Creative, str], Found]] = {
    Media.BANNER: _banner,
    Media.VIDEO: _video,
    Media.AUDIO: _stream,
    Media.NATIVE: _native,
}


def _insecure(creative: Creative, path: str) -> Found:
    resources = {"image": creative.image, "asset": creative.asset}
    if creative.native:
        resources |= {"native.image": creative.native.image, "native.icon": creative.native.icon}
    for name, url in resources.items():
        if url.lower().startswith("http://"):
            yield join(path, name), f"{show(url)} is not https, and the creative says that it is secure"
    if _INSECURE.search(creative.html):
        yield join(path, "html"), "loads something over http://, and the creative says that it is secure"
