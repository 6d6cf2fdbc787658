"""Sort orders of lists."""

from enum import Enum
from typing import Self

from schema.types.enums import publish_enum
from services.collectives import directory
from services.core.pagination import Sort
from services.offers import offers
from services.orders import queries


class _SortOrder(Enum):
    """Base of all sort orders, which default to `CREATED_AT_DESC`."""

    @classmethod
    def to_sort(cls, choice: Self | None) -> Sort:
        """Return the chosen sort order for the services, newest first by default."""
        return _SORTS[choice or cls["CREATED_AT_DESC"]]


class CollectiveSort(_SortOrder):
    """Sort order of a list of collectives."""

    CREATED_AT_DESC = "CREATED_AT_DESC"
    """Newest collectives first."""
    NAME_ASC = "NAME_ASC"
    """Alphabetically by name."""


class OrderSort(_SortOrder):
    """Sort order of a list of orders."""

    CREATED_AT_DESC = "CREATED_AT_DESC"
    """Newest orders first."""
    CREATED_AT_ASC = "CREATED_AT_ASC"
    """Oldest orders first."""


class TransactionSort(_SortOrder):
    """Sort order of a list of transactions."""

    CREATED_AT_DESC = "CREATED_AT_DESC"
    """Newest transactions first."""
    CREATED_AT_ASC = "CREATED_AT_ASC"
    """Oldest transactions first."""


class OfferSort(_SortOrder):
    """Sort order of a list of offers."""

    CREATED_AT_DESC = "CREATED_AT_DESC"
    """Newest offers first."""
    CREATED_AT_ASC = "CREATED_AT_ASC"
    """Oldest offers first."""
    FEATURED_FIRST = "FEATURED_FIRST"
    """Featured offers first, then all others; newest first within both."""


_SORTS: dict[Enum, Sort] = {
    CollectiveSort.CREATED_AT_DESC: directory.NEWEST_FIRST,
    CollectiveSort.NAME_ASC: directory.BY_NAME,
    OrderSort.CREATED_AT_DESC: queries.ORDERS_NEWEST,
    OrderSort.CREATED_AT_ASC: queries.ORDERS_OLDEST,
    TransactionSort.CREATED_AT_DESC: queries.TRANSACTIONS_NEWEST,
    TransactionSort.CREATED_AT_ASC: queries.TRANSACTIONS_OLDEST,
    OfferSort.CREATED_AT_DESC: offers.NEWEST,
    OfferSort.CREATED_AT_ASC: offers.OLDEST,
    OfferSort.FEATURED_FIRST: offers.FEATURED_FIRST,
}

for _sort_order in (CollectiveSort, OrderSort, TransactionSort, OfferSort):
    publish_enum(_sort_order)
