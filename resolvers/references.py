"""Collectives that a query or a subscription names by id or slug."""

from collections.abc import Mapping

import models
from resolvers.context import Info
from services.access.collective_refs import CollectiveKey, require_collective, resolve

FILTER = "filter."
"""Prefix of the names of a filter's fields in errors."""


async def load_referenced(
    info: Info, keys: Mapping[str, CollectiveKey | None], *, within: str = ""
) -> dict[str, models.Collective]:
    """Load the collectives that arguments name, or the fields `within` one; one statement or none.

    Raises:
        Invalid: an id is of another type.
        NotFound: there is none that the viewer may see.
    """
    refs = {f"{within}{name}": key for name, key in keys.items() if key is not None}
    if not refs:
        return {}
    parties = await info.context.run(resolve, refs=refs)
    return {name.removeprefix(within): require_collective(party) for name, party in parties.items()}


async def load_one_referenced(
    info: Info, key: CollectiveKey, *, name: str, within: str = ""
) -> models.Collective:
    """Load the collective that one argument or filter field names, as `load_referenced`."""
    return (await load_referenced(info, {name: key}, within=within))[name]
