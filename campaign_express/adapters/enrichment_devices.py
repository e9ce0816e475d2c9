"""What a user agent string tells: kind of device, operating system, browser, maker, and whether it is a crawler.

ua-parser with its Rust resolver names the families; this module turns them into OpenRTB's and AdCOM's values. Crawlers
are known by the crawler-user-agents list and by the operator's own file, both matched by the same Rust engine, which
filters 1,500 expressions in about 5 µs where the library's own matching takes 150. Expressions are therefore of the
Rust regex dialect: no look-around, no back-references.
"""

from __future__ import annotations

from pathlib import Path

import crawleruseragents
import ua_parser_rs
from ua_parser import OS, Device, Domain, PartialResult
from ua_parser.loaders import load_lazy_builtins
from ua_parser.regex import Resolver

from campaign_express.adapters.enrichment_files import read_text
from campaign_express.ports import DeviceFacts

# AdCOM "Device Types".
MOBILE_OR_TABLET, PC, CONNECTED_TV, PHONE, TABLET, CONNECTED_DEVICE, SET_TOP_BOX = range(1, 8)

# ua-parser's family → the name exchanges use in device.os, lower case. Others: the family in lower case.
_OS_NAMES = {
    "Mac OS X": "macos",
    "Chrome OS": "chromeos",
    "ATV OS X": "tvos",
    "Web0S": "webos",
    "webOS": "webos",
    "Chromecast": "chromecast",
    "Chromecast Android": "chromecast",
    "Chromecast Fuchsia": "chromecast",
    "Chromecast Linux": "chromecast",
    "Chromecast SmartSpeaker": "chromecast",
    "BlackBerry OS": "blackberry",
    "BlackBerry Tablet OS": "blackberry",
    "Windows Mobile": "windows phone",
    **dict.fromkeys(
        ("Ubuntu", "Debian", "Fedora", "Red Hat", "CentOS", "Gentoo", "SUSE", "openSUSE", "Arch Linux", "Linux Mint"),
        "linux",
    ),
}
_PC_SYSTEMS = frozenset({"windows", "macos", "linux", "chromeos", "freebsd", "openbsd", "netbsd", "solaris"})
_PHONE_SYSTEMS = frozenset({"windows phone", "kaios", "blackberry", "symbian os", "firefox os", "bada", "harmonyos"})
_TV_SYSTEMS = frozenset({"webos", "tizen", "google tv"})
_BOX_SYSTEMS = frozenset({"tvos", "roku", "chromecast", "fire os"})
_CONSOLE_WORDS = ("PlayStation", "Xbox", "Nintendo")
# Words that only televisions put into their user agents, and those of boxes and sticks plugged into one.
_TV_WORDS = (
    "SmartTV",
    "SMART-TV",
    "Smart TV",
    "HbbTV",
    "GoogleTV",
    "Android TV",
    "NetCast",
    "BRAVIA",
    "VIZIO",
    "TV Safari",
)
_BOX_WORDS = ("AppleTV", "Apple TV", "Roku/", "CrKey", "; AFT", "SetTopBox", "STB")
_NO_MAKER = frozenset({"", "generic", "spider", "generic_android", "generic_android_tablet", "generic_inettv"})


class DeviceParser:
    """Parses user agent strings. Construction takes about 0.7 s and 40 MB; one string 50 to 300 µs, so cache the
    result."""

    def __init__(self, crawler_file: str, problems: list[str]) -> None:
        """Reads `crawler_file` ("" for none); what is wrong with it is added to `problems`."""
        self._resolve = Resolver(load_lazy_builtins())
        patterns = [str(entry["pattern"]) for entry in crawleruseragents.CRAWLER_USER_AGENTS_DATA]
        if crawler_file:
            patterns += _read_patterns(crawler_file, problems)
        self._crawlers = _matcher(patterns)

    def parse(self, user_agent: str) -> DeviceFacts:
        """Facts of one string; unknown fields are "" and 0. Never raises."""
        if not user_agent:
            return DeviceFacts()
        found: PartialResult = self._resolve(user_agent, Domain.ALL)
        os = _os_name(found.os)
        device = found.device
        brand = device.brand.lower() if device and device.brand else ""
        crawler = self._crawlers.extract(user_agent) is not None or (device is not None and device.family == "Spider")
        return DeviceFacts(
            device_type=0 if crawler else _device_type(user_agent, os, device),
            os=os,
            os_version=_version(found.os),
            browser=found.user_agent.family.lower() if found.user_agent else "",
            make="" if brand in _NO_MAKER else brand,
            crawler=crawler,
        )


def _matcher(patterns: list[str]) -> ua_parser_rs.UserAgentExtractor:
    """One matcher for all; what it would extract does not matter, only whether anything matches."""
    return ua_parser_rs.UserAgentExtractor([(pattern, "crawler", None, None, None, None) for pattern in patterns])


def _read_patterns(file: str, problems: list[str]) -> list[str]:
    """Regular expressions, one a line; empty lines and lines that begin with "#" are skipped."""
    patterns = []
    for number, raw in enumerate(read_text(Path(file), "crawler_file", problems).splitlines(), start=1):
        pattern = raw.strip()
        if not pattern or pattern.startswith("#"):
            continue
        try:
            _matcher([pattern])
        except ValueError as error:
            reason = " ".join(str(error).split())
            problems.append(f"crawler_file: {file}:{number}: not a regular expression: {reason}")
            continue
        patterns.append(pattern)
    return patterns


def _os_name(os: OS | None) -> str:
    if os is None or os.family == "Other":
        return ""
    return _OS_NAMES.get(os.family) or os.family.lower()


def _version(os: OS | None) -> str:
    """ "17.4" from its parts; names such as Windows "Vista" stay as they are."""
    if os is None:
        return ""
    parts = []
    for part in (os.major, os.minor, os.patch):
        if not part:
            break
        parts.append(part)
    return ".".join(parts)


def _device_type(user_agent: str, os: str, device: Device | None) -> int:
    """AdCOM device type, 0 unknown. Boxes before televisions before phones: each also carries the words of the next."""
    family = device.family if device else ""
    if any(word in user_agent for word in _CONSOLE_WORDS):
        return SET_TOP_BOX
    if os in _BOX_SYSTEMS or any(word in user_agent for word in _BOX_WORDS):
        return SET_TOP_BOX
    if any(word in user_agent for word in _TV_WORDS) or (os in _TV_SYSTEMS and "Mobile" not in user_agent):
        return CONNECTED_TV
    if os == "watchos" or family == "Apple Watch":
        return CONNECTED_DEVICE
    if os == "ios":
        if family.startswith("iPad"):
            return TABLET
        return PHONE if family.startswith(("iPhone", "iPod")) else MOBILE_OR_TABLET
    if os == "android":
        return _android_type(user_agent, family)
    if os in _PHONE_SYSTEMS or (os == "tizen" and "Mobile" in user_agent):
        return PHONE
    return PC if os in _PC_SYSTEMS else 0


def _android_type(user_agent: str, family: str) -> int:
    """Browsers of Android phones say "Mobile" and those of tablets do not; apps (Dalvik, okhttp) say neither."""
    if family.startswith("Kindle") or "Tablet" in user_agent:
        return TABLET
    if "Mobile" in user_agent:
        return PHONE
    return TABLET if user_agent.startswith("Mozilla/") else MOBILE_OR_TABLET
