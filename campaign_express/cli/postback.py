"""`postback`: what an advertiser is given, so that its server can report conversions."""

from __future__ import annotations

from typing import Annotated

import typer

from campaign_express import embedded
from campaign_express.cli.common import ConfigOption, settings_from


def postback(
    advertiser: Annotated[str, typer.Argument(help="Id of the advertiser.", show_default=False)],
    config: ConfigOption = None,
) -> None:
    """Print the URL by which ADVERTISER reports conversions. The token in it is a secret of that advertiser."""
    from campaign_express.gateway.conversions import is_advertiser
    from campaign_express.openrtb.notices import parse_keys
    from campaign_express.openrtb.postbacks import make_token

    if not is_advertiser(advertiser):
        raise typer.BadParameter(f"{advertiser!r} is no advertiser's id")
    settings = embedded.ensure(settings_from(config), only=("notice_keys",))  # made and kept where there is none yet
    token = make_token(parse_keys(settings.notice_keys), advertiser)
    base = settings.notice_base_url.rstrip("/")
    typer.echo(f"{base}/v1/conversion?advertiser={advertiser}&token={token}&click_id=CLICK_ID&order_id=ORDER_ID")
