"""From a document to points and back: what an operation reserves, gives back, and tells of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphql import OperationDefinitionNode, OperationType

from schema.documents.document_cache import Prepared
from schema.execution import cost
from services.access import rate_limits
from services.access.rate_limits import Buckets, Charge
from services.core.errors import CostLimitExceeded, Forbidden, Unauthenticated
from services.core.settings import Settings

UNREADABLE = 100
"""What a document costs that is refused: to read it may be as much work as a page of a list."""
CHARACTERS_A_POINT = 100
"""Of a document that is met for the first time."""


@dataclass
class Meter:
    """The points of one request."""

    settings: Settings
    buckets: Buckets | None
    """None counts nothing: what the server itself asks."""
    token: str | None
    address: str
    plan: cost.Plan | None = None
    requested: int = 0
    actual: int | None = None
    charge: Charge | None = None
    _key: str | None = None
    _reading: int = 0
    """What it cost to read the document."""

    async def check_before_reading(self) -> None:
        """Read nothing for those whose bucket was empty a moment ago.

        Raises:
            Refused: it was.
        """
        if self.buckets is None:
            return
        self._key = await self.buckets.key_of(token=self.token, address=self.address)
        if self._key is not None:
            try:
                self.buckets.check(self._key)
            except rate_limits.Refused as refused:
                self.charge = refused.charge
                raise

    async def refuse(self, *, points: int = UNREADABLE) -> None:
        """Take the points of a request that is refused.

        Raises:
            Refused: the bucket has too few.
        """
        await self._take(points)
        self.settle_in_full()

    async def reserve(
        self, prepared: Prepared, operation: OperationDefinitionNode, variables: Mapping[str, Any] | None
    ) -> None:
        """Take the points that an operation may cost at most, before it runs.

        Raises:
            CostLimitExceeded: more than one operation may cost.
            Forbidden, Unauthenticated: it reads the schema, which is not for this viewer.
            Refused: the bucket has too few.
        """
        if prepared.introspects:
            self._check_introspection()
        # Read once, and compiled once it is met again.
        is_query = operation.operation is OperationType.QUERY
        if not prepared.plans or (is_query and self.settings.compiled_queries and not prepared.programs):
            self._reading = prepared.characters // CHARACTERS_A_POINT
        self.plan = cost.plan(prepared, operation)
        self.requested = self.plan.requested(variables)
        if self.requested > self.settings.max_cost:
            await self.refuse(points=1 + self._reading)
            raise CostLimitExceeded(
                f"This may cost {self.requested} points, and an operation at most {self.settings.max_cost}: "
                "ask for shorter lists"
            )
        await self._take(self.requested + self._reading)

    def settle(self, data: Mapping[str, Any] | None, *, actual: int | None = None) -> None:
        """Give back what an answer did not use; who knows what it cost gives that as `actual`."""
        if self.plan is None or self.actual is not None:
            return
        if self.requested <= cost.SMALL + self.plan.flat:
            actual = self.requested
        elif actual is None:
            actual = self.plan.actual(data)
        # A list that no argument bounds may be longer than was assumed: that is not the client's loss.
        self.actual = min(actual, self.requested)
        if self.charge is not None:
            self.charge.settle(self.actual + self._reading)

    def settle_in_full(self) -> None:
        """Keep all that was reserved: the work was done, whatever came of it."""
        self.actual = self.requested
        if self.charge is not None:
            self.charge.settle(self.charge.cost)

    def told(self) -> dict[str, Any]:
        """Return what `extensions.cost` says."""
        told: dict[str, Any] = {"requestedQueryCost": self.requested, "actualQueryCost": self.actual}
        if self.charge is not None:
            told["throttleStatus"] = {
                "maximumAvailable": self.charge.limit,
                "currentlyAvailable": self.charge.remaining,
                "restoreRate": self.charge.restore,
            }
        return told

    async def _take(self, points: int) -> None:
        if self.buckets is not None and self._key is not None:
            try:
                self.charge = await self.buckets.reserve(self._key, points)
            except rate_limits.Refused as refused:
                self.charge = refused.charge
                raise

    def _check_introspection(self) -> None:
        if self.settings.introspection == "off":
            raise Forbidden("The schema is not told here")
        if self.settings.introspection == "authenticated" and self.token is None:
            raise Unauthenticated("Sign in to read the schema")


def headers(charge: Charge) -> list[tuple[bytes, bytes]]:
    """Return what each answer says of its bucket."""
    limit, left = charge.limit, charge.remaining
    return [
        (b"ratelimit-limit", b"%d" % limit),
        (b"ratelimit-remaining", b"%d" % left),
        (b"ratelimit-reset", b"%d" % charge.reset_seconds(left)),
    ]
