"""What each campaign may spend today: its own budgets, and its part of what its account may spend.

The goal of a campaign is the day's part that its budgets grant (what the ledger lends in all, so without the headroom).
Where an account's daily budget is less than the goals of its campaigns together, all are cut in proportion, those that
have no budget of their own standing with the whole of the account's. A campaign with a total budget alone, and no end
of its flight, has its total for today's goal: there is no telling over how many days to spread it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

from campaign_express.adapters.ledger_terms import Spent
from campaign_express.bidding.budget import Accounts
from campaign_express.bidding.model import Campaign, Catalog, Status


def goals_of_today(
    catalog: Catalog,
    accounts: Accounts,
    spent: Mapping[str, Spent],
    share: Callable[[Campaign], float],
) -> dict[str, float]:
    """Micros by campaign id, of those that are active and limited, whatever their pacing.

    `share`: today's part of what is left of a campaign's total (`plan.today_of_total`).
    """
    goals: dict[str, float] = {}
    wanted: dict[str, float] = defaultdict(float)
    for campaign in catalog.campaigns:
        account = accounts.campaigns.get(campaign.id)  # None: the ledger has another catalogue already
        if account is None or campaign.status is not Status.ACTIVE or not account.limited:
            continue
        total, daily, _ = account.limits.grantable
        goal = float("inf") if daily is None else float(daily)
        if total is not None:
            had = spent.get(campaign.id, Spent())
            goal = min(goal, max(total - (had.total - had.today), 0) * share(campaign))
        of_account = account.account_limits.grantable[1]
        if of_account is not None:
            goal = min(goal, float(of_account))
        if goal == float("inf"):
            continue  # an account's total or hour alone: the ledger keeps to it, there is no day to spread over
        goals[campaign.id] = goal
        wanted[campaign.advertiser] += goal
    for name in goals:
        account = accounts.campaigns[name]
        of_account = account.account_limits.grantable[1]
        if of_account is not None and wanted[account.advertiser] > of_account:
            goals[name] *= of_account / wanted[account.advertiser]
    return goals
