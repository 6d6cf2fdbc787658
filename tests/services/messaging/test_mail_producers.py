"""Every producer of mail is listed here with its kind, so that none is forgotten by the budgets."""

import ast
from collections import defaultdict
from pathlib import Path

import psycopg
import pytest

from services.messaging import budgets, delivery
from services.messaging.account_templates import ACCOUNT_TEMPLATES
from services.messaging.budgets import MailKind
from services.messaging.templates import TEMPLATES
from tests.conftest import Database

SERVICES = Path(delivery.__file__).parents[1]

# Whose recipients a person chooses, or to whom a person writes. Whatever else is mailed reports an act to
# those whom it concerns, or secures an account.
CHOSEN = {
    "collectives/invitations.py": {"invitation": MailKind.INVITATION},
    "messaging/event_notifications.py": {
        "invite_volunteer_event_existing": MailKind.INVITATION,
        "invite_volunteer_event_new": MailKind.INVITATION,
        "change_event_coordinator": MailKind.INVITATION,
        "coordinator_messaged": MailKind.MESSAGE,
        "volunteer_messaged": MailKind.MESSAGE,
        "volunteer_registered": MailKind.MESSAGE,
    },
    "volunteering/hour_requests.py": {"hours_for_coordinator": MailKind.INVITATION},
    "volunteering/nonprofit_referrals.py": {"nonprofit_nominated": MailKind.INVITATION},
}
NOTICES = {
    "approvals/bulk_hours.py": {"hours_approved"},
    "approvals/decisions.py": {"order_closed"},
    "approvals/money_orders.py": {"expense_approved"},
    "collectives/collectives.py": {"host_requested", "organization_created"},
    "collectives/host_approvals.py": {"host_approval", "host_suspended"},
    "collectives/hosting.py": {"host_application", "host_decision"},
    "collectives/leaving.py": {"host_left", "host_move"},
    "collectives/moving.py": {"host_moved"},
    "messaging/event_notifications.py": {
        "edit_event",
        "event_cancelled",
        "event_place_free",
        "volunteer_confirmation",
    },
    "offers/offers.py": {"offer_posted"},
    "offers/redemption_requests.py": {"redemption_requested"},
    "offers/redemptions.py": {"redemption_approved", "redemption_paid"},
    "orders/cash_outs.py": {"cash_out_approved", "cash_out_requested"},
    "orders/claimed_givers.py": {"contribution_answered"},
    "orders/contributions.py": {"contribution_claimed"},
    "orders/donations.py": {"donation_expected"},
    "orders/expense_edits.py": {"expense_submitted"},
    "orders/expenses.py": {"expense_submitted"},
    "orders/guest_receipts.py": {"guest_gift"},
    "orders/monthly_settlements.py": {"settlement_due"},
    "orders/refund_postings.py": {"order_refunded"},
    "orders/settlements.py": {"settlement_expected", "settlement_received"},
    "orders/settling.py": {"donation_confirmation", "money_received"},
    "payments/away.py": {"provider_away", "provider_back"},
    "payments/disputes.py": {"payment_disputed"},
    "payments/endings.py": {"order_closed"},
    "payments/returned.py": {"refund_failed_late", "stray_refund_failed"},
    "recurring/changes.py": {"gift_ended", "gift_paused", "gift_resumed"},
    "recurring/card_charges.py": {"gift_ended", "gift_skipped"},
    "recurring/charge_methods.py": {"donation_expected", "gift_skipped"},
    "recurring/charging.py": {"gift_ended", "gift_paused", "gift_skipped"},
    "recurring/gift_mails.py": {"gift_card_refused", "gift_refused", "gift_step_needed", "gift_transfer_due"},
    "recurring/refusals.py": {"gift_delayed", "gift_ended", "gift_paused"},
    "volunteering/hour_requests.py": {"hours_requested"},
    "volunteering/hours.py": {"hours_approved"},
    "volunteering/issuers.py": {"issuer_decision"},
    "volunteering/nonprofit_referrals.py": {"nomination"},
}


def produced() -> dict[str, set[str]]:
    """Return the templates that each module of the services queues."""
    templates: dict[str, set[str]] = defaultdict(set)
    for path in sorted(SERVICES.rglob("*.py")):
        if path.name == "outbox.py":
            continue
        module = ast.parse(path.read_text())
        for call in ast.walk(module):
            for named in [k.value for k in getattr(call, "keywords", ()) if k.arg == "template"]:
                # A template passed on in a variable is named elsewhere in the module, or by its callers.
                templates[str(path.relative_to(SERVICES))] |= _templates_in(named) or _templates_in(module)
    return templates


def _templates_in(tree: ast.AST) -> set[str]:
    constants = [str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return {text for text in constants if text in TEMPLATES}


def test_every_producer_is_listed_with_its_kind() -> None:
    others = {
        path: names - set(ACCOUNT_TEMPLATES) - set(CHOSEN.get(path, {})) for path, names in produced().items()
    }
    assert {path: names for path, names in others.items() if names} == NOTICES
    for path, kinds in CHOSEN.items():
        assert set(kinds) <= produced()[path]
        assert {name: budgets.find_kind(name) for name in kinds} == kinds


def test_every_template_is_produced_by_a_listed_module() -> None:
    listed = set.union(*NOTICES.values()) | {name for kinds in CHOSEN.values() for name in kinds}
    assert set(TEMPLATES) == listed | set(ACCOUNT_TEMPLATES)
    assert {budgets.find_kind(name) for name in ACCOUNT_TEMPLATES} == {MailKind.ACCOUNT}
    assert {budgets.find_kind(n) for n in set.union(*NOTICES.values())} == {MailKind.NOTICE}


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO outbox (id, template, recipient) VALUES (gen_random_uuid(), 'invitation', 'a@b.test')",
        "UPDATE outbox SET recipient = 'a@b.test'",
        "SELECT mail_count('x', 1, 1)",
    ],
)
def test_the_application_cannot_go_round_the_budgets(shared_database: Database, change: str) -> None:
    with (
        psycopg.connect(shared_database.app_url) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(change.encode())
