"""Mail preferences: users can mute topics, but not mails that secure their account."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sqlalchemy import Select, Text, delete, func, literal_column, select
from sqlalchemy.dialects.postgresql import aggregate_order_by, array, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import MutedTopic
from models.enums import OrderType, Topic
from services.access.actor import Actor
from services.access.permissions import Action, require
from services.messaging.account_templates import ACCOUNT_TEMPLATES
from services.messaging.event_templates import EVENT_TEMPLATES
from services.messaging.gift_templates import GIFT_TEMPLATES
from services.messaging.redemption_templates import REDEMPTION_TEMPLATES
from services.messaging.settlement_templates import SETTLEMENT_TEMPLATES

SECURITY_TEMPLATES = frozenset(ACCOUNT_TEMPLATES)
"""Mails that secure an account; they cannot be muted."""

# The topic of each other template.
TOPIC_BY_TEMPLATE: Mapping[str, Topic] = MappingProxyType(
    {
        "invitation": Topic.MEMBERS,
        "organization_created": Topic.MEMBERS,
        "host_application": Topic.MEMBERS,
        "host_move": Topic.MEMBERS,
        "host_moved": Topic.MEMBERS,
        "host_decision": Topic.MEMBERS,
        "host_requested": Topic.MEMBERS,
        "host_approval": Topic.MEMBERS,
        "host_suspended": Topic.MEMBERS,
        "host_left": Topic.MEMBERS,
        "issuer_decision": Topic.MEMBERS,
        "donation_expected": Topic.MONEY,
        "guest_gift": Topic.MONEY,
        "payment_disputed": Topic.MONEY,
        "refund_failed_late": Topic.MONEY,
        "stray_refund_failed": Topic.MONEY,
        "provider_away": Topic.MONEY,
        "provider_back": Topic.MONEY,
        "donation_confirmation": Topic.MONEY,
        "money_received": Topic.MONEY,
        "contribution_claimed": Topic.MONEY,
        "contribution_answered": Topic.MONEY,
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
        **dict.fromkeys(SETTLEMENT_TEMPLATES, Topic.MONEY),
        **dict.fromkeys(GIFT_TEMPLATES, Topic.MONEY),
    }
)


# MONEY templates that serve all types of orders have the topic of the order's type.
_TOPIC_BY_ORDER_TYPE: Mapping[str, Topic] = MappingProxyType(
    {
        OrderType.HOURS: Topic.HOURS,
        OrderType.REDEMPTION: Topic.REDEMPTIONS,
        OrderType.CASH_OUT: Topic.REDEMPTIONS,
    }
)


def find_topic(template: str, *, order_type: str | None = None) -> Topic | None:
    """Return the topic that mutes a template's mails for an order type, or None."""
    topic = TOPIC_BY_TEMPLATE.get(template)
    return _TOPIC_BY_ORDER_TYPE.get(order_type or "", topic) if topic is Topic.MONEY else topic


async def set_muted_topics(session: AsyncSession, actor: Actor, *, topics: Sequence[Topic]) -> list[Topic]:
    """Mute exactly these topics from now on and return them; queued mails are still sent."""
    require(actor, Action.MUTE_TOPICS)
    assert actor.user is not None
    chosen = sorted(set(topics), key=list(Topic).index)
    await session.execute(
        delete(MutedTopic).where(
            col(MutedTopic.user_id) == actor.user.id, col(MutedTopic.topic).not_in(chosen)
        )
    )
    if chosen:
        rows = [MutedTopic(user_id=actor.user.id, topic=topic).model_dump() for topic in chosen]
        await session.execute(insert(MutedTopic).values(rows).on_conflict_do_nothing())
    return chosen


def select_muted_topics(user: Any) -> Select[Any]:
    """Select the list of topics that a user, whose columns are given, has muted, in their order."""
    order = func.array_position(
        array([literal_column(f"'{topic}'", Text) for topic in Topic]), MutedTopic.topic
    )
    muted = func.array_agg(aggregate_order_by(col(MutedTopic.topic), order))
    topics = func.coalesce(muted, literal_column("'{}'"))
    return select(topics.label("topics")).where(col(MutedTopic.user_id) == user.id)


async def list_muted_topics(session: AsyncSession, actor: Actor) -> list[Topic]:
    """List the topics that the actor has muted."""
    statement = select(col(MutedTopic.topic)).where(col(MutedTopic.user_id) == actor.id)
    muted = {Topic(topic) for topic in (await session.execute(statement)).scalars()}
    return [topic for topic in Topic if topic in muted]
