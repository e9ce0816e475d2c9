"""Files that ship inside the package, below `data/`: what is used where a setting names no file."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from campaign_express.bidding.catalog import decode_catalog, encode_catalog, load_catalog
from campaign_express.bidding.exchanges import load_exchanges
from campaign_express.bidding.model import Catalog, Exchanges
from campaign_express.config import Settings


def packaged(name: str) -> Path:
    return Path(str(files("campaign_express").joinpath("data", name)))


def read_exchanges(settings: Settings) -> Exchanges:
    """The exchanges of the settings' file. Raises ConfigError."""
    return load_exchanges(
        Path(settings.exchanges_file) if settings.exchanges_file else packaged("examples/exchanges.yaml")
    )


def read_catalog(settings: Settings, exchanges: Exchanges) -> Catalog:
    """The catalogue of the settings' file. Raises CatalogError.

    Copied through its encoded form: what was parsed lies scattered between what parsing threw away, and would keep a
    third more memory in use.
    """
    path = Path(settings.catalog_file) if settings.catalog_file else packaged("examples/catalog.yaml")
    return decode_catalog(encode_catalog(load_catalog(path, exchanges)))
