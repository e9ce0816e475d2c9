"""Rule by rule, what is refused in a bid request and what is tolerated, with the reason and requests that show it.

One table for three uses: it is the section of docs/validation.md between the two marks (`python -m
campaign_express.openrtb.rules` prints it), its ids are the `rule` of every `InvalidRequest`, and the tests send every
example through the codec. The line drawn: a request is refused when it cannot be read, when an answer could not refer
to it, or when it says two things about what is for sale; whatever only makes one creative or one impression unfit is
tolerated, because the rest of the request is still worth bidding on.
"""

from __future__ import annotations

from campaign_express.openrtb.rule_examples import Rule
from campaign_express.openrtb.rules_refused import REFUSED
from campaign_express.openrtb.rules_tolerated import TOLERATED

RULES: tuple[Rule, ...] = REFUSED + TOLERATED
BY_ID: dict[str, Rule] = {rule.id: rule for rule in RULES}


def paths(rule: Rule) -> tuple[str, ...]:
    """Paths at which the rule's examples are refused, with any index, in order."""
    return tuple(dict.fromkeys(e.path.replace("[0]", "[i]").replace("[1]", "[i]") for e in rule.examples if e.path))


def markdown() -> str:
    """The table of docs/validation.md."""
    lines = ["| rule | what is sent | verdict | at | why |", "|---|---|---|---|---|"]
    for rule in RULES:
        verdict = rule.verdict.value
        if rule.reason is not None:
            verdict += f", no-bid `{rule.reason.value}`"
        at = ", ".join(f"`{path}`" for path in paths(rule))
        lines.append(f"| `{rule.id}` | {rule.sent} | {verdict} | {at} | {rule.why} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
