"""ads.txt, app-ads.txt and sellers.json lists, in one file and as a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from campaign_express.adapters.enrichment_sellers import Sellers

FILE = """\
[exchanges]
alpha = SSP.example   # ads.txt calls it so
[News.example]
ssp.example, pub-1, DIRECT, abc
OTHER.example, 77, reseller
CONTACT=ads@news.example
[com.example.game]
ssp.example, pub-2, DIRECT
[closed.example]
"""


def read(path: Path) -> tuple[Sellers, list[str]]:
    problems: list[str] = []
    return Sellers(str(path), problems), [problem.replace(f"{path}", "FILE") for problem in problems]


@pytest.fixture
def one_file(tmp_path: Path) -> Sellers:
    (tmp_path / "sellers.txt").write_text(FILE)
    sellers, problems = read(tmp_path / "sellers.txt")
    assert problems == []
    return sellers


@pytest.mark.parametrize(
    ("name", "exchange", "publisher", "verdict"),
    [
        ("news.example", "alpha", "pub-1", True),
        ("NEWS.example", "alpha", "pub-1", True),
        ("sport.news.example", "alpha", "pub-1", True),
        ("news.example", "alpha", "pub-2", False),
        ("news.example", "alpha", "PUB-1", False),  # account ids are compared as they are
        ("news.example", "other.example", "77", True),  # known by its domain
        ("news.example", "third.example", "77", False),
        ("news.example", "unheard-of", "77", None),
        ("news.example", "alpha", "", None),
        ("com.example.game", "alpha", "pub-2", True),
        ("closed.example", "alpha", "pub-1", False),  # sells through nobody
        ("else.example", "alpha", "pub-1", None),
        ("example", "alpha", "pub-1", None),
        ("", "alpha", "pub-1", None),
    ],
)
def test_one_file(one_file: Sellers, name: str, exchange: str, publisher: str, verdict: bool | None) -> None:
    assert one_file.authorised(name, exchange, publisher) is verdict


def test_one_file_with_problems(tmp_path: Path) -> None:
    (tmp_path / "s").write_text(
        "ssp.example, 1, DIRECT\n[]\n[exchanges]\nalpha\nbeta = x\n[a.example]\nssp, 1, DIRECT\nok.example, 1, BROKER\n"
    )
    _, problems = read(tmp_path / "s")
    assert [problem.split(": ")[1] for problem in problems] == [f"FILE:{line}" for line in (1, 2, 4, 5, 7, 8)]
    assert all(problem.startswith("sellers_file: ") for problem in problems)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "exchanges.txt").write_text("alpha = ssp.example\nbeta = other.example\n")
    (tmp_path / "news.example.ads.txt").write_text(
        "\ufeff# ours\nssp.example, 1, DIRECT\nthis is no record\nother.example,9,RESELLER\n"
    )
    (tmp_path / "com.example.game.app-ads.txt").write_text("ssp.example, 2, DIRECT; trailing\n")
    (tmp_path / "ssp.example.sellers.json").write_text(
        '{"version": "1.0", "sellers": [{"seller_id": "1", "seller_type": "PUBLISHER"}, {"seller_id": 3}]}'
    )
    return tmp_path


@pytest.mark.parametrize(
    ("name", "exchange", "publisher", "verdict"),
    [
        ("news.example", "alpha", "1", True),  # on both lists
        ("news.example", "beta", "9", True),  # beta has no sellers.json
        ("news.example", "beta", "8", False),
        ("com.example.game", "alpha", "2", False),  # the exchange does not know its seller
        ("unlisted.example", "alpha", "3", True),  # only sellers.json covers it
        ("unlisted.example", "alpha", "4", False),
        ("unlisted.example", "beta", "9", None),
        ("www.news.example", "alpha", "3", False),  # known to the exchange, not to the site
    ],
)
def test_folder(folder: Path, name: str, exchange: str, publisher: str, verdict: bool | None) -> None:
    sellers, problems = read(folder)
    assert problems == []
    assert sellers.authorised(name, exchange, publisher) is verdict


def test_folder_with_problems(folder: Path) -> None:
    (folder / "empty.example.ads.txt").write_text("# sells nothing\n")
    (folder / "page.example.ads.txt").write_text("<html>not found</html>\n")
    (folder / "bad.example.sellers.json").write_text('{"sellers": [{"seller_id": null}]}')
    (folder / "worse.example.sellers.json").write_text("{")
    (folder / "readme.md").write_text("?")
    (folder / ".hidden").write_text("?")
    _, problems = read(folder)
    assert [problem.split(": ")[1] for problem in problems] == [
        "FILE/bad.example.sellers.json",
        "FILE/page.example.ads.txt:1",
        "FILE/readme.md",
        "FILE/worse.example.sellers.json",
    ]
    assert "$.sellers[0].seller_id" in problems[0]
