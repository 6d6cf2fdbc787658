"""Recurring gifts by pretended card: begun and paid, made due today, and charged as the worker's jobs do."""

from typing import Any, TypeAlias
from uuid import UUID

import psycopg

from models import RecurringGift
from services.core import public_ids
from services.payments import charges, fake_payments
from services.payments.fake_payments import Outcome
from services.providers import fake
from services.providers.fake import SUCCEEDS, FakeProvider
from services.providers.offered import Providers, offered
from services.providers.protocol import Charged, ChargeRequest, CollectRequest, Started
from services.recurring import charging
from tests.donation_world import decode_order_id
from tests.payment_world import CardScene, payment_of
from tests.stripe_world import StripeScene

SUBSCRIPTION = """subscription { id status nextChargeOn failures retriesAt endedReason paymentMethodType
    card { brand last4 expiresOn } }"""
GIFT = f"order {{ id status period }} {SUBSCRIPTION} clientSecret"
ORDERS = """SELECT array_agg(status ORDER BY period) FROM "order" WHERE subscription_id IS NOT NULL"""
AnyScene: TypeAlias = CardScene | StripeScene
_SHIFTED = {
    "subscription": "starts_on = (starts_on - interval '1 month')::date,"
    " next_charge_on = (next_charge_on - interval '1 month')::date, due_at = due_at - interval '1 month'",
    '"order"': "period = (period - interval '1 month')::date",
}
_GUARDS = {"subscription": "subscription_update_guard", '"order"': "order_terms_guard"}


async def give(scene: CardScene, value: str = "10.00", **more: Any) -> dict[str, Any]:
    """Give to babel by card every month; return the payload."""
    return await scene.give(value, fields=GIFT, interval="MONTH", **more)


async def begun(scene: CardScene, number: str = SUCCEEDS, **more: Any) -> tuple[str, str]:
    """Begin a gift and pay it with a card; return its id and that of its first order."""
    payload = await give(scene, **more)
    assert payload["errors"] == [], payload
    order = str(payload["order"]["id"])
    for event in fake.events_of_card(
        number, account=scene.account, payment=payment_of(order), order_id=decode_order_id(order)
    ):
        await scene.tell(event)
    return str(payload["subscription"]["id"]), order


async def due(scene: CardScene, number: str = SUCCEEDS, **more: Any) -> str:
    """Begin a gift a month ago, so that a charge is due today; return its id."""
    gift, _ = await begun(scene, number, **more)
    make_due(scene)
    return gift


def run_as_owner(scene: AnyScene, *statements: str) -> None:
    """Run statements as the owner of the tables."""
    with psycopg.connect(scene.world.settings.owner_database_url, autocommit=True) as owner:
        for statement in statements:
            owner.execute(statement.encode())


def make_due(scene: AnyScene) -> None:
    """Let all gifts have begun a month earlier: as the owner, without the guards of what never changes."""
    for table, columns in _SHIFTED.items():
        run_as_owner(
            scene,
            f"ALTER TABLE {table} DISABLE TRIGGER {_GUARDS[table]}",
            f"UPDATE {table} SET {columns} WHERE {'starts_on' if table == 'subscription' else 'period'}"
            " IS NOT NULL",
            f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {_GUARDS[table]}",
        )


async def ask(scene: AnyScene) -> list[UUID]:
    """Let the worker find what is due; return the orders whose cards it charges next."""
    await charging.charge_due(scene.world.sessions)
    found = await scene.world.scalar(
        "SELECT array_agg(args ->> 'order_id' ORDER BY id) FROM jobs.procrastinate_jobs"
        " WHERE task_name = 'charge_card' AND status = 'todo'"
    )
    run_as_owner(scene, "UPDATE jobs.procrastinate_jobs SET status = 'succeeded'")
    return [UUID(order_id) for order_id in found or ()]


async def charge(scene: AnyScene, providers: Providers | None = None) -> None:
    """Let the worker charge what is due; what the provider tells of it is not processed."""
    for order_id in await ask(scene):
        await charges.charge(
            scene.world.sessions, providers or offered(scene.world.settings), order_id=order_id
        )


async def charge_and_hear(scene: CardScene) -> None:
    """Let the worker charge what is due, and do what the provider tells of it."""
    await charge(scene)
    await scene.process_all()


async def load(scene: AnyScene, gift: str) -> RecurringGift:
    """Load a gift as it is now."""
    async with scene.world.sessions() as session:
        return await session.get_one(RecurringGift, public_ids.decode("RecurringGift", gift, field="id"))


async def orders(scene: AnyScene) -> list[str]:
    """Return the statuses of all orders of gifts, by period."""
    return list(await scene.world.scalar(ORDERS) or ())


async def pay(scene: CardScene, secret: str, number: str = SUCCEEDS, *, is_heard: bool = True) -> Outcome:
    """Pay what waits for its giver, as their page does; if `is_heard`, do what the provider tells of it."""
    provider = next(iter(offered(scene.world.settings).values()))
    async with scene.world.sessions.begin() as session:
        outcome = await fake_payments.pay(
            session, provider, client_secret=secret, number=number, is_step_done=True
        )
    if is_heard:
        await scene.process_all()
    return outcome


async def waiting_payment(scene: CardScene, order: str, by: Any) -> Any:
    """Return what a viewer sees of a payment that waits."""
    query = "query($id: ID!) { order(id: $id) { waitingPayment { provider account clientSecret } } }"
    found = (await scene.world.query(query, by=by, id=order))["order"]
    return found["waitingPayment"] if found else None


async def change(scene: CardScene, mutation: str, gift: str, **more: Any) -> Any:
    """Run a mutation of a gift as its giver; return the payload."""
    return await scene.world.mutate(mutation, SUBSCRIPTION, by=scene.giver, id=gift, **more)


async def last_order(scene: CardScene) -> Any:
    """Return the id of the last period's order."""
    last = 'SELECT id FROM "order" WHERE subscription_id IS NOT NULL ORDER BY period DESC LIMIT 1'
    return await scene.world.scalar(last)


class ForgetfulProvider(FakeProvider):
    """A provider that charges, and whose answer is lost the first time: the worker is killed."""

    def __init__(self) -> None:
        """Charge nothing yet."""
        self.keys, self.begun = list[str](), list[str]()

    async def start(self, request: CollectRequest) -> Started:
        """Begin a payment."""
        self.begun.append(request.key)
        return await super().start(request)

    async def charge(self, request: ChargeRequest, /) -> Charged:
        """Charge, once for each key."""
        self.keys.append(request.key)
        if len(self.keys) == 1:
            raise KeyboardInterrupt
        return await super().charge(request)
