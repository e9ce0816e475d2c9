"""What commands change goes into the event log, after it is in force: a log that is away holds no change up."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from campaign_express import embedded
from campaign_express.cli.common import stderr
from campaign_express.config import Settings
from campaign_express.errors import CampaignExpressError

if TYPE_CHECKING:
    from campaign_express.events import ChangeEvent


def log_changes(settings: Settings, changes: Iterable[ChangeEvent]) -> None:
    """Publish them; where that cannot be done, say so. An embedded server is held until `embedded.release`."""
    from campaign_express.adapters.changes import ChangeLog

    try:
        ready = embedded.ensure(settings, only=("nats_url",))
        ChangeLog.from_settings(ready, "campaign-express command").publish(changes)
    except CampaignExpressError as error:
        stderr.print(f"warning: it is in force, but not in the event log: {error}", markup=False)


def user() -> str:
    """Who gives the command: a name, or a number where the system has no name for it (in containers)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
