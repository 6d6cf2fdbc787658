"""The orders that lists come in."""

from enum import Enum
from typing import Self

import strawberry

from services.collectives import directory
from services.core.pagination import Sort
from services.offers import offers
from services.orders import queries


@strawberry.enum(description="The order of a list of collectives.")
class CollectiveOrder(Enum):
    CREATED_AT_DESC = strawberry.enum_value("CREATED_AT_DESC", description="Newest first.")
    NAME_ASC = strawberry.enum_value("NAME_ASC", description="By name.")

    @classmethod
    def of(cls, given: Self | None) -> Sort:
        """Return the order given, or newest first."""
        return (given or cls.CREATED_AT_DESC).sort

    @property
    def sort(self) -> Sort:
        """Return the order as the services take it."""
        by_name = self is CollectiveOrder.NAME_ASC
        return directory.BY_NAME if by_name else directory.NEWEST_FIRST


@strawberry.enum(description="The order of a list of orders.")
class OrderOrder(Enum):
    CREATED_AT_DESC = strawberry.enum_value("CREATED_AT_DESC", description="Newest first.")
    CREATED_AT_ASC = strawberry.enum_value("CREATED_AT_ASC", description="Oldest first.")

    @classmethod
    def of(cls, given: Self | None) -> Sort:
        """Return the order given, or newest first."""
        return (given or cls.CREATED_AT_DESC).sort

    @property
    def sort(self) -> Sort:
        """Return the order as the services take it."""
        newest = self is OrderOrder.CREATED_AT_DESC
        return queries.ORDERS_NEWEST if newest else queries.ORDERS_OLDEST


@strawberry.enum(description="The order of a list of transactions.")
class TransactionOrder(Enum):
    CREATED_AT_DESC = strawberry.enum_value("CREATED_AT_DESC", description="Newest first.")
    CREATED_AT_ASC = strawberry.enum_value("CREATED_AT_ASC", description="Oldest first.")

    @classmethod
    def of(cls, given: Self | None) -> Sort:
        """Return the order given, or newest first."""
        return (given or cls.CREATED_AT_DESC).sort

    @property
    def sort(self) -> Sort:
        """Return the order as the services take it."""
        newest = self is TransactionOrder.CREATED_AT_DESC
        return queries.TRANSACTIONS_NEWEST if newest else queries.TRANSACTIONS_OLDEST


@strawberry.enum(description="The order of a list of offers.")
class OfferOrder(Enum):
    CREATED_AT_DESC = strawberry.enum_value("CREATED_AT_DESC", description="Newest first.")
    CREATED_AT_ASC = strawberry.enum_value("CREATED_AT_ASC", description="Oldest first.")
    FEATURED_FIRST = strawberry.enum_value(
        "FEATURED_FIRST", description="Those that the platform shows first, then the others; newest first."
    )

    @classmethod
    def of(cls, given: Self | None) -> Sort:
        """Return the order given, or newest first."""
        return (given or cls.CREATED_AT_DESC).sort

    @property
    def sort(self) -> Sort:
        """Return the order as the services take it."""
        return {
            OfferOrder.CREATED_AT_DESC: offers.NEWEST,
            OfferOrder.CREATED_AT_ASC: offers.OLDEST,
            OfferOrder.FEATURED_FIRST: offers.FEATURED_FIRST,
        }[self]
