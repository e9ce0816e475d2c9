"""The only place where adapters are constructed: settings in, a ready bidder out. Imports no Ray."""

from __future__ import annotations

from pathlib import Path

from campaign_express.adapters.enrichment import LocalEnricher
from campaign_express.adapters.onnx import OnnxScorer, parse_options
from campaign_express.bidder import Bidder
from campaign_express.bidding.currency import load_rates
from campaign_express.bidding.model import Catalog
from campaign_express.bidding.privacy import PrivacyPolicy, gdpr_countries
from campaign_express.config import Settings
from campaign_express.openrtb.notices import NoticeSigner, parse_keys
from campaign_express.packaged import packaged, read_catalog, read_exchanges

__all__ = ["build_bidder", "read_catalog", "read_exchanges"]


def build_bidder(settings: Settings, catalog: Catalog | None = None) -> Bidder:
    """A warm bidder. `catalog`: what to bid with instead of the file (a published catalogue, say).

    Raises ConfigError, CatalogError or ModelError, each naming the file and place.
    """
    exchanges = read_exchanges(settings)
    bidder = Bidder(
        catalog=catalog if catalog is not None else read_catalog(settings, exchanges),
        exchanges={exchange.name: exchange for exchange in exchanges.exchanges},
        default_exchange=exchanges.default,
        rates=load_rates(Path(settings.rates_file) if settings.rates_file else None),
        scorer=OnnxScorer(
            Path(settings.model_file) if settings.model_file else packaged("models/seed.onnx"),
            settings.accelerator,
            settings.require_accelerator,
            provider_options=parse_options(settings.npu_options),
        ),
        enricher=LocalEnricher(
            geoip_file=settings.geoip_file,
            data_center_file=settings.data_center_file,
            crawler_file=settings.crawler_file,
            sellers_file=settings.sellers_file,
        ),
        privacy=PrivacyPolicy(settings.tcf_vendor_id, gdpr_countries(settings.gdpr_when_absent)),
        signer=NoticeSigner(parse_keys(settings.notice_keys), settings.notice_base_url),
        max_candidates=settings.max_candidates,
        max_decompressed_bytes=settings.max_decompressed_bytes,
        tmax_reserve_ms=settings.tmax_reserve_ms,
    )
    bidder.warm_up()
    return bidder
