"""Figures of tiers and goals."""

from collections.abc import Sequence

import models
from resolvers.context import Info
from services.collectives import goals as goal_service
from services.core.money import Money


async def load_raised(tiers: Sequence[models.Tier], info: Info) -> list[Money]:
    """Load what the gifts in each tier amount to."""
    sums = await info.context.loaders.raised_in_tier.load_many([tier.id for tier in tiers])
    return [Money(raised or 0, tier.currency) for tier, raised in zip(tiers, sums, strict=True)]


async def load_reached(goals: Sequence[models.Goal], info: Info) -> list[Money]:
    """Load how much of each goal is there."""
    reached = await info.context.run_without_viewer(goal_service.load_reached, goals=goals)
    return [Money(reached.get(goal.id, 0), goal.currency) for goal in goals]
