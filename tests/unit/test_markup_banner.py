"""Banner HTML as a browser's parser sees it: the link leads through us, the pixel is there, nothing breaks out."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from campaign_express.bidding.markup import compile_markup
from campaign_express.bidding.model import Advertiser, Creative, Exchange, Media
from campaign_express.openrtb.notices import NoticeSigner, NoticeUrls

SIGNER = NoticeSigner([("k", bytes(32))], "https://bid.example")
ADVERTISER = Advertiser(id="acme", name='Acme "Shoes" & <Sons>', domain="acme.example")
EXCHANGE = Exchange(name="default", price_notice="impression", price_macro="${AUCTION_PRICE}'\"<")
HOSTILE = "\"><script>alert('{CLICK_URL}')</script>&lt;]]>"


class Page(HTMLParser):
    """Tags in order, with their attributes, and the text of scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def urls(request_id: str = HOSTILE) -> NoticeUrls:
    consent = "&gdpr=1&gdpr_consent=C"
    return SIGNER.urls(EXCHANGE, "acme", "c", "cr", request_id, HOSTILE, "b", 1, 2, consent, False)


def click(found: NoticeUrls, landing: str = "https://acme.example/?a=b&c='\"") -> str:
    return found.click + SIGNER.sign_landing(landing, "acme", "cr")


def creative(**changes: Any) -> Creative:
    values = {"w": 300, "h": 250, "landing": "https://acme.example/?a=b&c='\"", **changes}
    return Creative(id="cr", media=Media.BANNER, **values)


def render(found: NoticeUrls, slot: tuple[int, int] = (0, 0), **changes: Any) -> str:
    return compile_markup(creative(**changes), ADVERTISER, SIGNER).render(found, *slot, None)


def test_an_image_links_through_us_and_counts_the_impression() -> None:
    found = urls()
    page = Page(render(found, image='https://cdn.example/a.png?x=1&y="'))
    assert [tag for tag, _ in page.tags] == ["a", "img", "img"]
    link, image, pixel = (attributes for _, attributes in page.tags)
    assert link["href"] == click(found)
    assert link["target"] == "_blank"
    assert image["src"] == 'https://cdn.example/a.png?x=1&y="'
    assert (image["width"], image["height"]) == ("300", "250")
    assert image["alt"] == ADVERTISER.name
    assert pixel["src"] == found.impression
    assert (pixel["width"], pixel["height"]) == ("1", "1")


def test_an_image_without_a_size_takes_the_slots() -> None:
    page = Page(render(urls(), (320, 50), image="https://cdn.example/a.png", w=0, h=0))
    assert (page.all("img")[0]["width"], page.all("img")[0]["height"]) == ("320", "50")


def test_every_click_url_of_html_is_filled_in() -> None:
    found = urls()
    html = "<div><a href=\"{CLICK_URL}\">one</a><a href='{CLICK_URL}'>two</a>{W}{IMPRESSION} 100% %s</div>"
    adm = render(found, html=html)
    page = Page(adm)
    assert [a["href"] for a in page.all("a")] == [click(found)] * 2
    assert [i["src"] for i in page.all("img")] == [found.impression]
    assert "{W}{IMPRESSION} 100% %s" in adm
    assert "{CLICK_URL}" not in adm


def test_in_a_script_the_url_is_not_escaped() -> None:
    found = urls()
    html = '<SCRIPT src="x.js">go("{CLICK_URL}")</script><a href="{CLICK_URL}" onclick="go(\'{CLICK_URL}\')">x</a>'
    page = Page(render(found, html=html))
    assert page.scripts == [f'go("{click(found)}")']
    assert page.all("a")[0]["href"] == click(found)
    assert page.all("a")[0]["onclick"] == f"go('{click(found)}')"


def test_the_pixel_stands_inside_a_body() -> None:
    found = urls()
    adm = render(found, html='<html><body>İ<a href="{CLICK_URL}">x</a></BODY></html>')
    assert adm.endswith("</BODY></html>")
    assert "İ<a" in adm
    assert [i["src"] for i in Page(adm).all("img")] == [found.impression]


def test_html_without_a_placeholder_becomes_a_link_unless_it_handles_clicks() -> None:
    found = urls()
    page = Page(render(found, html="<p>Shoes</p>"))
    assert [a["href"] for a in page.all("a")] == [click(found)]
    own = '<a href="https://elsewhere.example">x</a>'
    page = Page(render(found, html=own))
    assert [a["href"] for a in page.all("a")] == ["https://elsewhere.example"]
    assert len(page.all("img")) == 1


@pytest.mark.parametrize("kind", [{"image": "https://cdn.example/a.png"}, {"html": '<a href="{CLICK_URL}">x</a>'}])
def test_nothing_from_a_request_breaks_out(kind: dict[str, str]) -> None:
    plain = Page(render(urls("plain"), **kind))
    hostile = Page(render(urls(HOSTILE), **kind))
    shapes = [[(tag, sorted(attributes)) for tag, attributes in page.tags] for page in (plain, hostile)]
    assert shapes[0] == shapes[1]


def test_markup_is_reused_without_remembering() -> None:
    markup = compile_markup(creative(html='<a href="{CLICK_URL}">x</a>'), ADVERTISER, SIGNER)
    first, second = urls("one"), urls("two")
    assert markup.render(first, 0, 0, None) != markup.render(second, 0, 0, None)
    assert first.impression.replace("&", "&amp;") in markup.render(first, 0, 0, None)
