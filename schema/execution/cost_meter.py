"""The point meter: reserve an operation's cost, refund what it did not use, and report both."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphql import OperationDefinitionNode, OperationType

from schema.documents.document_cache import CachedDocument
from schema.execution import cost
from schema.execution.input_lists import ITEMS_PER_POINT
from schema.plan.cost_weights import SMALL_COST
from services.access import rate_limits
from services.access.rate_limits import Buckets, Charge
from services.core.errors import CostLimitExceeded, Forbidden, Unauthenticated
from services.core.settings import Settings

REFUSED_DOCUMENT_POINTS = 100
"""Cost of a refused document: reading it may take as much work as a page of a list."""
CHARACTERS_PER_POINT = 100
"""Charged for reading a document that is not in the cache."""


@dataclass
class Meter:
    """The points of one request."""

    settings: Settings
    buckets: Buckets | None
    """None for the server's own requests, which are not charged."""
    token: str | None
    address: str
    plan: cost.CostPlan | None = None
    requested: int = 0
    actual: int | None = None
    charge: Charge | None = None
    _key: str | None = None
    _reading_cost: int = 0
    """Points for reading the document."""

    async def check_before_reading(self) -> None:
        """Require that the bucket was not empty a moment ago, before any work is done.

        Raises:
            InsufficientPoints: it was empty.
        """
        if self.buckets is None:
            return
        self._key = await self.buckets.bucket_key(token=self.token, address=self.address)
        if self._key is not None:
            try:
                self.buckets.raise_if_empty(self._key)
            except rate_limits.InsufficientPoints as refused:
                self.charge = refused.charge
                raise

    async def charge_refusal(self, *, points: int = REFUSED_DOCUMENT_POINTS) -> None:
        """Charge for a refused request.

        Raises:
            InsufficientPoints: the bucket has too few points.
        """
        await self._reserve_points(points)
        self.keep_all()

    async def reserve(
        self,
        cached: CachedDocument,
        operation: OperationDefinitionNode,
        variables: Mapping[str, Any] | None,
        *,
        input_items: int = 0,
    ) -> None:
        """Reserve the most points that an operation with so many values in lists may cost, before it runs.

        Raises:
            CostLimitExceeded: it may cost more than any operation is allowed to.
            Forbidden, Unauthenticated: it reads the schema, which this viewer may not.
            InsufficientPoints: the bucket has too few points.
        """
        if cached.uses_introspection:
            self._check_introspection()
        # A document is parsed on its first use and compiled on its second; both are charged.
        is_query = operation.operation is OperationType.QUERY
        if not cached.cost_plans or (is_query and self.settings.compiled_queries and not cached.plans):
            self._reading_cost = cached.characters // CHARACTERS_PER_POINT
        self._reading_cost += input_items // ITEMS_PER_POINT
        self.plan = cost.plan_cost(cached, operation)
        self.requested = self.plan.requested_cost(variables)
        if self.requested > self.settings.max_cost:
            await self.charge_refusal(points=1 + self._reading_cost)
            raise CostLimitExceeded(
                f"This may cost {self.requested} points, and an operation at most {self.settings.max_cost}: "
                "ask for shorter lists"
            )
        await self._reserve_points(self.requested + self._reading_cost)

    def refund_unused(self, data: Mapping[str, Any] | None, *, actual: int | None = None) -> None:
        """Refund what the response did not use; pass `actual` if its cost is already known."""
        if self.plan is None or self.actual is not None:
            return
        if self.requested <= SMALL_COST + self.plan.base_cost:
            actual = self.requested
        elif actual is None:
            actual = self.plan.actual_cost(data)
        # A list without a size argument may be longer than assumed; the client does not pay for that.
        self.actual = min(actual, self.requested)
        if self.charge is not None:
            self.charge.refund_unused(self.actual + self._reading_cost)

    def keep_all(self) -> None:
        """Keep all reserved points, because the work was done whatever its outcome."""
        self.actual = self.requested
        if self.charge is not None:
            self.charge.refund_unused(self.charge.cost)

    def cost_extension(self) -> dict[str, Any]:
        """Return the content of `extensions.cost`."""
        extension: dict[str, Any] = {"requestedQueryCost": self.requested, "actualQueryCost": self.actual}
        if self.charge is not None:
            extension["throttleStatus"] = {
                "maximumAvailable": self.charge.limit,
                "currentlyAvailable": self.charge.remaining,
                "restoreRate": self.charge.restore_per_second,
            }
        return extension

    async def reserve_answers(self, count: int) -> None:
        """Reserve points of further answers of a subscription; waits while the bucket has too few.

        Nothing is lost meanwhile: the events that arrive are read again from the database.
        """
        while True:
            self.actual = None
            try:
                await self._reserve_points(count * self.requested)
            except rate_limits.InsufficientPoints as refused:
                await asyncio.sleep(refused.retry_after_seconds)
            else:
                return

    def refund_answers(self, actual: int) -> None:
        """Refund what further answers did not use."""
        if self.charge is not None:
            self.charge.refund_unused(actual)

    async def _reserve_points(self, points: int) -> None:
        if self.buckets is not None and self._key is not None:
            try:
                self.charge = await self.buckets.reserve(self._key, points)
            except rate_limits.InsufficientPoints as refused:
                self.charge = refused.charge
                raise

    def _check_introspection(self) -> None:
        if self.settings.introspection == "off":
            raise Forbidden("Introspection is turned off on this server")
        if self.settings.introspection == "authenticated" and self.token is None:
            raise Unauthenticated("Sign in to read the schema")


def rate_limit_headers(charge: Charge) -> list[tuple[bytes, bytes]]:
    """Return the RateLimit-* headers for a bucket."""
    limit, remaining = charge.limit, charge.remaining
    return [
        (b"ratelimit-limit", b"%d" % limit),
        (b"ratelimit-remaining", b"%d" % remaining),
        (b"ratelimit-reset", b"%d" % charge.reset_seconds(remaining)),
    ]
