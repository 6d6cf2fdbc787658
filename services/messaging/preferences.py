"""Which mails a person wants: topics can be muted; what secures an account cannot."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import MutedTopic
from models.enums import OrderType, Topic
from services.access.actor import Actor
from services.access.permissions import Action, require
from services.messaging.account_templates import ACCOUNT_TEMPLATES
from services.messaging.event_templates import EVENT_TEMPLATES
from services.messaging.redemption_templates import REDEMPTION_TEMPLATES

ALWAYS = frozenset(ACCOUNT_TEMPLATES)
"""Mails that secure an account."""

# What each other template is about.
TOPICS: Mapping[str, Topic] = MappingProxyType(
    {
        "invitation": Topic.MEMBERS,
        "organization_created": Topic.MEMBERS,
        "host_application": Topic.MEMBERS,
        "host_decision": Topic.MEMBERS,
        "issuer_decision": Topic.MEMBERS,
        "donation_expected": Topic.MONEY,
        "donation_confirmation": Topic.MONEY,
        "money_received": Topic.MONEY,
        "expense_submitted": Topic.MONEY,
        "expense_approved": Topic.MONEY,
        "order_closed": Topic.MONEY,
        "order_refunded": Topic.MONEY,
        "hours_requested": Topic.HOURS,
        "hours_for_coordinator": Topic.HOURS,
        "hours_approved": Topic.HOURS,
        "nomination": Topic.HOURS,
        "nonprofit_nominated": Topic.HOURS,
        "cash_out_requested": Topic.REDEMPTIONS,
        "cash_out_approved": Topic.REDEMPTIONS,
        **dict.fromkeys(EVENT_TEMPLATES, Topic.EVENTS),
        **dict.fromkeys(REDEMPTION_TEMPLATES, Topic.REDEMPTIONS),
    }
)


# Mails about any kind of order have the topic of that kind.
_OF_ORDERS: Mapping[str, Topic] = MappingProxyType(
    {
        OrderType.HOURS: Topic.HOURS,
        OrderType.REDEMPTION: Topic.REDEMPTIONS,
        OrderType.CASH_OUT: Topic.REDEMPTIONS,
    }
)


def topic_of(template: str, *, order_type: str | None = None) -> Topic | None:
    """Return the topic that silences a template's mails about an order of a type; None: they always go."""
    topic = TOPICS.get(template)
    return _OF_ORDERS.get(order_type or "", topic) if topic is Topic.MONEY else topic


async def mute(session: AsyncSession, actor: Actor, *, topics: Sequence[Topic]) -> list[Topic]:
    """Want no mail about exactly these topics from now on; return them. Mails queued before still go."""
    require(actor, Action.MUTE_TOPICS)
    assert actor.user is not None
    wanted = sorted(set(topics), key=list(Topic).index)
    await session.execute(
        delete(MutedTopic).where(
            col(MutedTopic.user_id) == actor.user.id, col(MutedTopic.topic).not_in(wanted)
        )
    )
    if wanted:
        rows = [MutedTopic(user_id=actor.user.id, topic=topic).model_dump() for topic in wanted]
        await session.execute(insert(MutedTopic).values(rows).on_conflict_do_nothing())
    return wanted


async def muted(session: AsyncSession, actor: Actor) -> list[Topic]:
    """Return the topics that the actor has muted."""
    statement = select(col(MutedTopic.topic)).where(col(MutedTopic.user_id) == actor.id)
    found = {Topic(topic) for topic in (await session.execute(statement)).scalars()}
    return [topic for topic in Topic if topic in found]
