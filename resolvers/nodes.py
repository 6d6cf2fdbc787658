"""Objects of any type by public id, through the same loaders as every other path."""

import asyncio
from typing import Any
from uuid import UUID

from dataloaders import LoaderField, Loaders
from resolvers.context import Info
from services.collectives import hosting, invitations
from services.core import public_ids as id_codec
from services.core.errors import Invalid
from services.identity import access_tokens

MAX_IDS = 100
_LOADERS: dict[str, LoaderField[UUID, Any]] = {
    "Collective": Loaders.collective,
    "Order": Loaders.order,
    "Transaction": Loaders.transaction,
    "Member": Loaders.member,
    "Offer": Loaders.offer,
    "Tier": Loaders.tier,
    "RecurringGift": Loaders.recurring_gift,
    "PaymentMethod": Loaders.payment_method,
    "PayoutMethod": Loaders.payout_method,
    "LedgerAccount": Loaders.ledger_account,
}


async def load_node(info: Info, *, public_id: str, argument: str = "id") -> Any:
    """Load the object that an id names, or None if there is none that the viewer may see.

    Raises:
        Invalid: it is not an id.
    """
    return await load_of_type(
        info, object_type=_require_type(public_id, argument), public_id=public_id, argument=argument
    )


def _require_type(public_id: str, argument: str) -> str:
    if (object_type := id_codec.object_type_of(public_id)) is None:
        raise Invalid(f"{public_id[:40]!r} is not an id", field=argument)
    return object_type


async def load_nodes(info: Info, *, public_ids: list[str]) -> list[Any]:
    """Load the objects that ids name, in their order.

    Raises:
        Invalid: more than 100, or one is not an id.
    """
    if len(public_ids) > MAX_IDS:
        raise Invalid(f"At most {MAX_IDS} ids", field="ids")
    # Check every id before the first read: a read begun earlier would outlive the failed operation.
    for public_id in public_ids:
        id_codec.decode(_require_type(public_id, "ids"), public_id, field="ids")
    return await asyncio.gather(*(load_node(info, public_id=i, argument="ids") for i in public_ids))


async def load_of_type(info: Info, *, object_type: str, public_id: str, argument: str = "id") -> Any:
    """Load the object of one type, or None if there is none that the viewer may see.

    Raises:
        Invalid: it is the id of another type.
    """
    row_id = id_codec.decode(object_type, public_id, field=argument)
    if (field := _LOADERS.get(object_type)) is not None:
        return await field.of(info.context.loaders).load(row_id)
    match object_type:
        case "Invitation":
            return (await info.context.run(invitations.load_invitations, row_ids=[row_id])).get(row_id)
        case "HostApplication":
            return (await info.context.run(hosting.load_applications, row_ids=[row_id])).get(row_id)
        case "AccessToken":
            own = await info.context.run(access_tokens.list_access_tokens)
            return next((token for token in own if token.id == row_id), None)
        case _:
            return None
