"""Each line of the guards of recurring gifts, tried alone in plain SQL."""

from collections.abc import Callable
from typing import Any

import pytest

from models import new_id
from tests.conftest import Database
from tests.models.guard_cases import assert_accepted, assert_refused
from tests.models.guard_world import GuardWorld
from tests.models.test_tier_guards import sold, tier

Attempt = Callable[[GuardWorld], Any]
START, NEXT = "2020-01-31", "2020-02-29"


def gift(world: GuardWorld, *, from_: str = "payer", to: str = "payee", **columns: Any) -> None:
    """Insert a gift of 1.00 a month from the payer to the payee."""
    world.ids["gift"] = new_id()
    values = {
        "from_id": world.ids[from_],
        "to_id": world.ids[to],
        "currency": "USD",
        "amount_minor": 100,
        "interval": "MONTH",
        "anchor_day": 31,
        "timezone": "UTC",
        "payment_method_kind": "BALANCE",
        "status": "ACTIVE",
        "starts_on": START,
        "next_charge_on": START,
        "due_at": "2020-01-31",
        "created_by_id": world.ids["admin"],
    }
    world.insert("subscription", id=world.ids["gift"], **(values | columns))


def period(world: GuardWorld, day: str = START, *, from_: str = "payer", **columns: Any) -> None:
    """Insert the order of a period."""
    values = {"status": "FAILED", "payment_method_kind": "BALANCE", "subscription_id": world.ids["gift"]}
    amount = columns.pop("amount", 100)
    world.order(f"period-{day}", "DONATION", from_, "payee", amount, period=day, **(values | columns))


def method(world: GuardWorld, *, host: str = "host") -> None:
    """Insert a way of paying by bank transfer to a host."""
    world.ids["method"] = new_id()
    values = {"kind": "MANUAL", "name": "Bank", "fee_bps": 0, "fee_fixed_minor": 0}
    sides = {"host_id": world.ids[host], "created_by_id": world.ids["admin"]}
    world.insert("payment_method", id=world.ids["method"], **values, **sides)


def change(columns: str) -> Attempt:
    """Return the change of columns of the gift."""
    return lambda world: world.run(f"UPDATE public.subscription SET {columns}")


def of_collective(name: str, columns: str) -> Attempt:
    """Return the change of columns of a collective."""
    return lambda world: world.run(f"UPDATE public.collective SET {columns} WHERE id = %s", world.ids[name])


def both(*attempts: Attempt) -> Attempt:
    """Return one attempt after the other."""

    def run(world: GuardWorld) -> None:
        for attempt in attempts:
            attempt(world)

    return run


PAUSED = "status = 'PAUSED', paused_by = 'PAYER', due_at = NULL"
ENDED = "status = 'CANCELLED', ended_at = now(), due_at = NULL"
UNHOSTED = "host_id = NULL, host_approved_at = NULL"
PAST_DUE = "status = 'PAST_DUE', failed_on = '2020-01-31', failures = 1"


def in_tier(world: GuardWorld, **columns: Any) -> None:
    """Insert a gift in a monthly tier."""
    tier(world, type="MEMBERSHIP", interval="MONTH", **columns)
    gift(world, tier_id=world.ids["tier"], quantity=1)


def paid(world: GuardWorld, status: str = "PENDING") -> None:
    """Insert a gift of which the first period has its order."""
    gift(world)
    period(world, status=status)
    world.run("UPDATE public.subscription SET next_charge_on = %s", NEXT)


REFUSED: dict[str, tuple[str, Attempt, Attempt]] = {
    "begun as paused": (
        "subscription_begins",
        lambda _: None,
        lambda w: gift(w, status="PAUSED", paused_by="PAYER"),
    ),
    "begun later": ("subscription_begins", lambda _: None, lambda w: gift(w, next_charge_on=NEXT)),
    "to an archived side": ("order_sides_open", lambda _: None, lambda w: gift(w, to="archived")),
    "to an event": ("order_sides_open", lambda _: None, lambda w: gift(w, to="event")),
    "from an unclaimed person": (
        "order_payer_claimed",
        lambda _: None,
        lambda w: gift(w, from_="unclaimed"),
    ),
    "to one without a host": (
        "order_hosted",
        of_collective("business", UNHOSTED),
        lambda w: gift(w, to="business"),
    ),
    "in another currency": ("order_currency", lambda _: None, lambda w: gift(w, currency="EUR")),
    "through a suspended host": (
        "host_suspended",
        of_collective("host", "host_suspended_at = now(), host_suspension_reason = 'x'"),
        gift,
    ),
    "ended and resumed": (
        "subscription_ended",
        both(gift, change(ENDED)),
        change("status = 'ACTIVE', ended_at = NULL, due_at = now()"),
    ),
    "another payee": (
        "subscription_terms",
        gift,
        lambda w: w.run("UPDATE public.subscription SET to_id = %s", w.ids["business"]),
    ),
    "another interval": ("subscription_terms", gift, change("interval = 'YEAR'")),
    "a notice on one that goes on": (
        "ck_subscription_notice_of_stopped",
        gift,
        change("notice = 'HOST_LEFT'"),
    ),
    "the day moved unnoticed": ("subscription_anchor", gift, change("anchor_day = 1")),
    "the day moved twice": (
        "subscription_anchor",
        both(gift, change("anchor_day = 1, is_anchor_changed = true")),
        change("anchor_day = 2, is_anchor_changed = true"),
    ),
    "the move forgotten": (
        "subscription_anchor",
        both(gift, change("anchor_day = 1, is_anchor_changed = true")),
        change("is_anchor_changed = false"),
    ),
    "a period again": ("subscription_period", paid, change("next_charge_on = '2020-01-31'")),
    "a period before a refused one": (
        "subscription_period",
        lambda w: paid(w, "FAILED"),
        change("next_charge_on = '2020-01-30'"),
    ),
    "resumed without a host": (
        "order_hosted",
        both(lambda w: gift(w, to="business"), change(PAUSED), of_collective("business", UNHOSTED)),
        change("status = 'ACTIVE', paused_by = NULL, due_at = now()"),
    ),
    "an order of a paused gift": ("subscription_goes_on", both(gift, change(PAUSED)), period),
    "an order of an ended gift": ("subscription_goes_on", both(gift, change(ENDED)), period),
    "an order on another day": ("subscription_period", gift, lambda w: period(w, "2020-01-30")),
    "an order after the last day": (
        "subscription_period",
        both(lambda w: gift(w, ends_after=NEXT), change("next_charge_on = '2020-03-31'")),
        lambda w: period(w, "2020-03-31"),
    ),
    "an order that is approved": (
        "subscription_period",
        gift,
        lambda w: period(w, status="EXPIRED"),
    ),
    "two orders a month": (
        "subscription_period",
        both(
            lambda w: gift(w, starts_on="2020-01-10", next_charge_on="2020-01-10"),
            lambda w: period(w, "2020-01-10"),
            change("next_charge_on = '2020-01-20'"),
        ),
        lambda w: period(w, "2020-01-20"),
    ),
    "an order before its day": (
        "subscription_due",
        both(gift, change("next_charge_on = current_date + 2")),
        lambda w: period(w, w.value("SELECT (current_date + 2)::text")),
    ),
    "an order of a transfer six days before": (
        "subscription_due",
        both(
            lambda w: gift(w, payment_method_kind="MANUAL"),
            change("next_charge_on = current_date + 7"),
        ),
        lambda w: period(w, w.value("SELECT (current_date + 7)::text"), payment_method_kind="MANUAL"),
    ),
    "one that ends before it comes again": (
        "subscription_repeats",
        lambda _: None,
        lambda w: gift(w, ends_after="2020-02-28"),
    ),
    "the method of another host": (
        "subscription_method",
        lambda w: method(w, host="other-host"),
        lambda w: gift(w, payment_method_id=w.ids["method"], payment_method_kind="MANUAL"),
    ),
    "a method of another kind": (
        "subscription_method",
        method,
        lambda w: gift(w, payment_method_id=w.ids["method"]),
    ),
    "changed to the method of another host": (
        "subscription_method",
        both(lambda w: method(w, host="other-host"), gift),
        lambda w: w.run(
            "UPDATE public.subscription SET payment_method_kind = 'MANUAL', payment_method_id = %s",
            w.ids["method"],
        ),
    ),
    "resumed with the method of the old host": (
        "subscription_method",
        both(
            method,
            lambda w: gift(w, to="business", payment_method_kind="MANUAL", payment_method_id=w.ids["method"]),
            change(PAUSED),
            lambda w: of_collective("business", f"host_id = '{w.ids['other-host']}'")(w),
        ),
        change("status = 'ACTIVE', paused_by = NULL, due_at = now()"),
    ),
    "a reason changed once it was told": (
        "subscription_ended",
        both(gift, change(ENDED)),
        change("ended_reason = 'x'"),
    ),
    "an order of another amount": ("subscription_order", gift, lambda w: period(w, amount=101)),
    "an order of another payer": ("subscription_order", gift, lambda w: period(w, from_="business")),
    "a retry of a paused gift": (
        "subscription_goes_on",
        both(gift, period, change(PAUSED)),
        lambda w: w.run("UPDATE public.\"order\" SET status = 'PENDING' WHERE subscription_id IS NOT NULL"),
    ),
    "a retry without a gift": (
        "order_status_transition",
        lambda w: w.order("failed", "DONATION", "payer", "payee", status="FAILED"),
        lambda w: w.run("UPDATE public.\"order\" SET status = 'PENDING' WHERE status = 'FAILED'"),
    ),
    "the order of another gift": (
        "order_terms",
        both(gift, period),
        lambda w: w.run("UPDATE public.\"order\" SET period = '2020-03-01' WHERE period IS NOT NULL"),
    ),
    "another method while it is pending": (
        "order_terms",
        both(gift, lambda w: period(w, status="PENDING")),
        lambda w: w.run(
            "UPDATE public.\"order\" SET payment_method_kind = 'MANUAL' WHERE subscription_id IS NOT NULL"
        ),
    ),
    "a transfer paid by nobody": (
        "decided_by_somebody",
        both(
            lambda w: gift(w, payment_method_kind="MANUAL"),
            lambda w: period(w, payment_method_kind="MANUAL", status="PENDING"),
        ),
        lambda w: step(w, "PAY"),
    ),
    "a balance approved by nobody": (
        "decided_by_somebody",
        both(gift, lambda w: period(w, status="PENDING")),
        lambda w: step(w, "APPROVE"),
    ),
    "given once in a tier that repeats": (
        "tier_interval",
        lambda w: tier(w, type="MEMBERSHIP", interval="MONTH"),
        lambda w: w.order("once", "DONATION", "payer", "payee", 100, tier_id=w.ids["tier"], quantity=1),
    ),
    "repeated in a tier that does not": (
        "tier_interval",
        lambda w: tier(w, type="PRODUCT"),
        lambda w: gift(w, tier_id=w.ids["tier"], quantity=1),
    ),
    "more places than there are": (
        "ck_tier_sold_within_capacity",
        lambda w: in_tier(w, capacity=1, max_per_person=None),
        lambda w: gift(w, tier_id=w.ids["tier"], quantity=1, from_="business"),
    ),
    "more places than one may have": (
        "tier_max_per_person",
        lambda w: in_tier(w, max_per_person=1),
        lambda w: gift(w, tier_id=w.ids["tier"], quantity=1),
    ),
    "an amount below the price": ("tier_price", in_tier, change("amount_minor = 99")),
    "a ticket that repeats": (
        "ck_tier_ticket_sold_once",
        lambda _: None,
        lambda w: tier(w, interval="MONTH"),
    ),
}


def step(world: GuardWorld, kind: str) -> None:
    """Insert a step of the server in the history of the gift's order."""
    order_id = world.value('SELECT id FROM public."order" WHERE subscription_id IS NOT NULL')
    world.insert("order_action", id=new_id(), order_id=order_id, type=kind, to_status="PAID")


@pytest.mark.parametrize("case", REFUSED)
def test_a_guard_of_gifts_refuses(shared_database: Database, case: str) -> None:
    constraint, given, attempt = REFUSED[case]
    assert_refused(shared_database.owner_url, "origin", constraint, attempt, given=given)


def state(world: GuardWorld) -> tuple[str, str | None]:
    """Return status and notice of the gift."""
    row = world.run("SELECT status, notice FROM public.subscription WHERE id = %s", world.ids["gift"])
    return row[0], row[1]


STOPPED: dict[str, tuple[Attempt, tuple[str, str | None]]] = {
    "the payee archived": (of_collective("payee", "archived_at = now()"), ("CANCELLED", "ARCHIVED")),
    "the payer archived": (of_collective("payer", "archived_at = now()"), ("CANCELLED", "ARCHIVED")),
    "another archived": (of_collective("distant", "archived_at = now()"), ("ACTIVE", None)),
    "the payee left": (of_collective("business", UNHOSTED), ("PAUSED", "HOST_LEFT")),
    "the payer left": (of_collective("business", UNHOSTED), ("PAUSED", "HOST_LEFT")),
    "the host suspended": (
        of_collective("host", "host_suspended_at = now(), host_suspension_reason = 'x'"),
        ("PAUSED", "HOST_SUSPENDED"),
    ),
}


@pytest.mark.parametrize("case", STOPPED)
def test_a_change_of_a_side_stops_its_gifts(shared_database: Database, case: str) -> None:
    attempt, expected = STOPPED[case]

    def stop(world: GuardWorld) -> None:
        sides = {"the payee left": {"to": "business"}, "the payer left": {"from_": "business"}}
        gift(world, **sides.get(case, {}))
        world.run(f"UPDATE public.subscription SET {PAST_DUE}")
        if expected[0] == "ACTIVE":
            world.run("UPDATE public.subscription SET status = 'ACTIVE', failed_on = NULL")
        attempt(world)
        assert state(world) == expected

    assert_accepted(shared_database.owner_url, stop)


def test_a_payee_that_moves_keeps_gifts_from_balances_alone(shared_database: Database) -> None:
    def move(world: GuardWorld) -> None:
        for kind, expected in (("BALANCE", ("ACTIVE", None)), ("MANUAL", ("PAUSED", "HOST_LEFT"))):
            business = world.ids["business"]
            gift(world, to="business", payment_method_kind=kind)
            host = world.value("SELECT host_id FROM public.collective WHERE id = %s", business)
            other = world.ids["other-host" if host == world.ids["host"] else "host"]
            world.run("UPDATE public.collective SET host_id = %s WHERE id = %s", other, business)
            assert state(world) == expected

    assert_accepted(shared_database.owner_url, move)


def test_a_person_who_is_suspended_gives_nothing(shared_database: Database) -> None:
    def suspend(world: GuardWorld) -> None:
        gift(world, from_="volunteer")
        world.insert(
            "suspension",
            id=new_id(),
            user_id=world.ids["volunteer"],
            by_id=world.ids["admin"],
            reason="x",
        )
        assert state(world) == ("PAUSED", "USER_SUSPENDED")

    assert_accepted(shared_database.owner_url, suspend)


def test_places_are_those_of_gifts_that_go_on(shared_database: Database) -> None:
    def count(world: GuardWorld) -> None:
        in_tier(world)
        period(world, tier_id=world.ids["tier"], quantity=1, status="PENDING")
        assert sold(world) == 1
        world.run("UPDATE public.\"order\" SET status = 'EXPIRED' WHERE subscription_id IS NOT NULL")
        assert sold(world) == 1
        world.run("UPDATE public.subscription SET quantity = 2, amount_minor = 200")
        assert sold(world) == 2
        world.run(f"UPDATE public.subscription SET {ENDED}")
        assert sold(world) == 0

    assert_accepted(shared_database.owner_url, count)


def test_the_server_pays_a_gift_from_a_balance(shared_database: Database) -> None:
    def pay(world: GuardWorld) -> None:
        gift(world)
        period(world, status="PENDING")
        step(world, "PAY")

    assert_accepted(shared_database.owner_url, pay)


def test_what_could_not_be_told_of_an_ended_gift_is_told_later(shared_database: Database) -> None:
    def put_off(world: GuardWorld) -> None:
        gift(world)
        world.run(f"UPDATE public.subscription SET {ENDED}, notice = 'ARCHIVED'")
        world.run("UPDATE public.subscription SET delays = 1, due_at = now()")

    assert_accepted(shared_database.owner_url, put_off)
