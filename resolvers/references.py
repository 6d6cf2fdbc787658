"""Collectives that a query or a subscription names by id or slug."""

from collections.abc import Mapping

import models
from resolvers.context import Info
from services.access.collective_refs import CollectiveKey, require_collective, resolve

_PREFIX = "input"
"""Clients know the errors of these references under `input`, as those of a mutation's references."""


async def load_referenced(
    info: Info, keys: Mapping[str, CollectiveKey | None]
) -> dict[str, models.Collective]:
    """Load the collectives that arguments or filter fields name, by the field; one statement or none.

    Raises:
        Invalid: an id is of another type.
        NotFound: there is none that the viewer may see.
    """
    refs = {f"{_PREFIX}.{name}": key for name, key in keys.items() if key is not None}
    if not refs:
        return {}
    parties = await info.context.run(resolve, refs=refs)
    return {name.removeprefix(f"{_PREFIX}."): require_collective(party) for name, party in parties.items()}


async def load_one_referenced(info: Info, key: CollectiveKey, *, name: str) -> models.Collective:
    """Load the collective that the argument or filter field `name` names, as `load_referenced`."""
    return (await load_referenced(info, {name: key}))[name]
