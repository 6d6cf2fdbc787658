"""Anything by its public id, through the same loaders as every other path."""

import asyncio
from typing import Any

from resolvers.context import Info
from services.collectives import hosting, members
from services.core import public_ids as id_codec
from services.core.errors import Invalid
from services.identity import access_tokens

MAX_IDS = 100


async def one(info: Info, *, public_id: str, path: str = "id") -> Any:
    """Return what an id names, or None where there is none that the viewer may see.

    Raises:
        Invalid: it is no id.
    """
    return await of_kind(info, kind=_kind(public_id, path), public_id=public_id, path=path)


def _kind(public_id: str, path: str) -> str:
    if (kind := id_codec.kind_of(public_id)) is None:
        raise Invalid(f"{public_id[:40]!r} is not an id", path=[path])
    return kind


async def many(info: Info, *, public_ids: list[str]) -> list[Any]:
    """Return what the ids name, in their order.

    Raises:
        Invalid: more than 100, or one is no id.
    """
    if len(public_ids) > MAX_IDS:
        raise Invalid(f"At most {MAX_IDS} ids", path=["ids"])
    # Nothing is read before all are known to be ids: what was begun would go on when the operation has ended.
    for public_id in public_ids:
        id_codec.decode(_kind(public_id, "ids"), public_id, path=["ids"])
    return await asyncio.gather(*(one(info, public_id=i, path="ids") for i in public_ids))


_LOADERS = {
    "Collective": "collective",
    "Order": "order",
    "Transaction": "transaction",
    "Member": "member",
    "Offer": "offer",
    "PaymentMethod": "payment_method",
    "PayoutMethod": "payout_method",
}


async def of_kind(info: Info, *, kind: str, public_id: str, path: str = "id") -> Any:
    """Return the row of one type, or None.

    Raises:
        Invalid: it is the id of another type.
    """
    row_id = id_codec.decode(kind, public_id, path=[path])
    if (loader := _LOADERS.get(kind)) is not None:
        return await info.context.loaders.of(loader).load(row_id)
    match kind:
        case "Invitation":
            return (await info.context.run(members.invitations_by_ids, row_ids=[row_id])).get(row_id)
        case "HostApplication":
            return (await info.context.run(hosting.by_ids, row_ids=[row_id])).get(row_id)
        case "AccessToken":
            own = await info.context.run(access_tokens.access_tokens)
            return next((token for token in own if token.id == row_id), None)
        case _:
            return None
