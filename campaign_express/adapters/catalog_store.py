"""The published catalogue in Redis: one document that every agent follows. Keys: docs/catalogue.md, "In Redis"."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from campaign_express.adapters.documents import Document, DocumentStore, Stored
from campaign_express.bidding.catalog import decode_catalog, encode_catalog
from campaign_express.bidding.model import Catalog
from campaign_express.errors import CatalogError, Unavailable

CATALOG = Document("catalogue", "{catalog}:current", "{catalog}:changed")
PUBLISH_ATTEMPTS = 100


class CatalogStore:
    """Publish and follow it. All methods but `watch` raise Unavailable when Redis does not answer."""

    def __init__(self, url: str) -> None:
        self.documents = DocumentStore(url)
        self.where = self.documents.where

    def publish(self, catalog: Catalog, base: int | None = None) -> int:
        """Make `catalog` the current one everywhere; returns its new version, one above the last.

        The catalogue's own `version` is not looked at. With `base`, the version that a change was made from, what
        somebody else has published since is not overwritten: raises CatalogError.
        """
        for _ in range(PUBLISH_ATTEMPTS):
            current = self.version()
            if base is not None and base != current:
                raise CatalogError(
                    "The catalogue is not published:",
                    [f"version: the change is based on {base}, and {current} is published"],
                )
            blob = encode_catalog(msgspec.structs.replace(catalog, version=current + 1))
            if self.documents.swap(CATALOG, current, blob):
                return current + 1
        raise Unavailable(f"other publishers were faster {PUBLISH_ATTEMPTS} times in a row")

    def latest(self) -> Catalog | None:
        """The current catalogue; None where none was ever published. Raises CatalogError when it does not decode."""
        found = self.documents.read(CATALOG)
        return None if found is None else _decode(found)

    def version(self) -> int:
        """Version of the current catalogue, 0 where none was ever published."""
        return self.documents.version(CATALOG)

    def watch(self, on_change: Callable[[Catalog], None], stop: threading.Event, known: int = 0) -> threading.Thread:
        """Start a thread that calls `on_change` with every newly published catalogue until `stop` is set; returns it.

        `known` is the version that the caller got from `latest` (0: none). See `DocumentStore.watch`; a catalogue that
        does not decode is logged once and left alone until another one is published.
        """
        return self.documents.watch({CATALOG: lambda found: on_change(_decode(found))}, stop, {CATALOG: known})

    def close(self) -> None:
        self.documents.close()


def _decode(found: Stored) -> Catalog:
    title = f"The catalogue in Redis, version {found.version}, is refused, and the last good one stays:"
    if not found.intact:
        raise CatalogError(title, [f"{CATALOG.key}: the blob is not the one that was published (its SHA-256 differs)"])
    catalog = decode_catalog(found.blob)
    if catalog.version != found.version:
        raise CatalogError(title, [f"{CATALOG.key}: the blob says version {catalog.version}"])
    return catalog
