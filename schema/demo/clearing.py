"""The demo's clearing: limits between its hosts, and a settlement."""

from schema.demo.driver import Demo

_ADMINS = {"opensource": "opensource-admin", "wwcode": "wwcode-admin", "commonweal": "platform-admin"}


async def set_limits(demo: Demo) -> None:
    """Let the hosts owe each other money; the platform is one of them, which holds its users' money."""
    for host, admin in _ADMINS.items():
        for counterpart in _ADMINS:
            if counterpart != host:
                await demo.mutate(
                    admin,
                    "setClearingLimit",
                    "",
                    host={"slug": host},
                    counterpart={"slug": counterpart},
                    amount={"value": "2000.00", "currency": "USD"},
                )


async def settle(demo: Demo) -> None:
    """Settle most of what the gift to WWCode Berlin left owing."""
    settlement = await demo.mutate_order(
        "opensource-admin",
        "settleHosts",
        **{"from": {"slug": "opensource"}},
        to={"slug": "wwcode"},
        amount={"value": "100.00", "currency": "USD"},
        reference="OSC-2026-0001",
        description="For the gift to WWCode Berlin",
    )
    await demo.mutate_order("wwcode-admin", "approveOrder", id=settlement)
