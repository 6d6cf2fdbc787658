"""A query for each field of the schema that lists rows, over a long history."""

from typing import Any
from uuid import UUID

from bench.long_history import RARE, LongHistory, row_id
from services.core import public_ids

PAGE = 20
_REF = '{{slug: "{}"}}'


def field_queries(history: LongHistory, account: int) -> dict[str, str]:
    """Return queries by "Type.field" or "Type.field filter": every list of the schema, each filter once."""
    busy = history.busy.slug
    order = public_ids.encode("Order", row_id(1, 3 * RARE))
    transaction = public_ids.encode("Transaction", row_id(2, 3 * RARE))
    inside = {
        f"Collective.{name}": f'{{ collective(slug: "{busy}") {{ {text} }} }}'
        for name, text in _OF_COLLECTIVE.items()
    }
    inside |= {
        f"Order.{name}": f'{{ order(id: "{order}") {{ {name} {{ {fields} }} }} }}'
        for name, fields in _OF_ORDER.items()
    }
    inside |= {
        f"Transaction.{name}": f'{{ transaction(id: "{transaction}") {{ {name} {{ {fields} }} }} }}'
        for name, fields in (("postings", "amount { value }"), ("refundedBy", "id"))
    }
    return inside | _filtered(history) | _of_others(history, account)


def _filtered(history: LongHistory) -> dict[str, str]:
    rows = {
        "busy": history.busy,
        "host": history.host,
        "event": history.event,
        "shop": history.business,
    }
    words: dict[str, Any] = {name: _REF.format(row.slug) for name, row in rows.items()}
    words |= {
        "tier": f'"{public_ids.encode("Tier", history.tier.id)}"',
        "gift": f'"{public_ids.encode("RecurringGift", row_id(1, 3 * RARE))}"',
        "offer": f'"{public_ids.encode("Offer", history.offer.id)}"',
        "order": f'"{public_ids.encode("Order", row_id(1, 3 * RARE))}"',
        "group": f'"{public_ids.encode("Group", row_id(1, 3 * RARE))}"',
        "viewer": _REF.format(history.viewer.slug),
    }
    queries = {}
    for field, filters in FILTERS.items():
        for name, value in filters.items():
            argument = f"filter: {{{name}: {value.format(**words)}}}" if name else ""
            text = f"{field}({argument + ', ' if argument else ''}first: {PAGE}) {{ nodes {{ id }} }}"
            queries[f"Query.{field} {name}".strip()] = f"{{ {text} }}"
            if field in {"orders", "transactions"}:
                queries[f"Collective.{field} {name}".strip()] = (
                    f'{{ collective(slug: "{history.busy.slug}") {{ {text} }} }}'
                )
    return queries


FILTERS: dict[str, dict[str, str]] = {
    "orders": {
        "": "",
        "type": "[EXPENSE]",
        "status": "[PENDING]",
        "from": "{busy}",
        "to": "{busy}",
        "event": "{event}",
        "addressedTo": "{viewer}",
        "claimedGiver": "{viewer}",
        "offer": "{offer}",
        "tier": "{tier}",
        "subscription": "{gift}",
        "createdFrom": '"2020-01-02T00:00:00Z"',
        "createdUntil": '"2020-01-02T00:00:00Z"',
    },
    "transactions": {
        "": "",
        "kind": "[REFUND]",
        "from": "{busy}",
        "to": "{busy}",
        "order": "{order}",
        "group": "{group}",
        "atFrom": '"2020-01-02T00:00:00Z"',
        "atUntil": '"2020-01-02T00:00:00Z"',
    },
    "collectives": {
        "": "",
        "type": "[COMMUNITY]",
        "host": "{host}",
        "search": '"long"',
        "tag": '"long"',
        "isArchived": "true",
    },
    "offers": {
        "": "",
        "business": "{shop}",
        "isMaster": "true",
        "isFeatured": "true",
        "isActive": "false",
        "search": '"tea"',
    },
}
"""A value for each filter of each list; "" is the list without one."""

_OF_COLLECTIVE = {
    "balances": "balances { available { value } }",
    "tiers": "tiers { name raised { value } }",
    "goals": "goals { kind reached { value } }",
    "subscriptions": f"subscriptions(first: {PAGE}) {{ nodes {{ id }} }}",
    "members": f"members(first: {PAGE}) {{ nodes {{ role }} }}",
    "memberOf": f"memberOf(first: {PAGE}) {{ nodes {{ role }} }}",
    "events": f"events(first: {PAGE}) {{ nodes {{ slug }} }}",
    "auditLog": f"auditLog(first: {PAGE}) {{ nodes {{ id }} }}",
    "approvalPolicies": "approvalPolicies { createdAt }",
    "payoutMethods": "payoutMethods { id }",
}
_OF_HOST = {
    "ledgerAccounts": "ledgerAccounts { balance { value } }",
    "exchangePosition": "exchangePosition { value }",
    "hostApplications": "hostApplications { id }",
    "paymentMethods": "paymentMethods { id }",
    "hoursToApprove": f"hoursToApprove(first: {PAGE}) {{ week volunteer {{ slug }} orders {{ id }} }}",
    "issuanceCaps": "issuanceCaps { period }",
}
_OF_ORDER = {"items": "description", "approvals": "createdAt", "actions": "type", "transactions": "id"}


def _of_others(history: LongHistory, account: int) -> dict[str, str]:
    host = f'collective(slug: "{history.host.slug}")'
    queries = {
        f"Nonprofit.{name}": f"{{ {host} {{ ... on Nonprofit {{ {text} }} }} }}"
        for name, text in _OF_HOST.items()
    }
    queries["Event.attendances"] = (
        f'{{ collective(slug: "{history.event.slug}") {{ ... on Event {{ attendances(first: {PAGE})'
        " { nodes { checkedInAt } } } } }"
    )
    account_id = public_ids.encode("LedgerAccount", UUID(int=account))
    queries["LedgerAccount.postings"] = (
        f'{{ node(id: "{account_id}") {{ ... on LedgerAccount {{ postings(first: {PAGE})'
        " { nodes { amount { value } } } } } }"
    )
    queries["User.securityLog"] = f"{{ me {{ securityLog(first: {PAGE}) {{ nodes {{ id }} }} }} }}"
    queries["User.identities"] = "{ me { identities { issuer } } }"
    queries |= {f"Query.{name}": f"{{ {text} }}" for name, text in _OF_QUERY.items()}
    return queries


_OF_QUERY = {
    "auditLog": f"auditLog(first: {PAGE}) {{ nodes {{ id }} }}",
    "jobs": f"jobs(first: {PAGE}) {{ nodes {{ id }} }}",
    "search": f'search(query: "long", first: {PAGE}) {{ nodes {{ __typename }} }}',
    "tags": f"tags(first: {PAGE}) {{ __typename }}",
    "platformPolicies": "platformPolicies { validFrom }",
    "passkeys": "passkeys { id }",
    "signInProviders": "signInProviders { name }",
    "currencies": "currencies { code }",
    "myInvitations": "myInvitations { id }",
    "sentInvitations": "sentInvitations { id }",
    "sentHostApplications": "sentHostApplications { id }",
    "applicationsAsHost": "applicationsAsHost { id }",
    "sessions": "sessions { id }",
    "myAccessTokens": "myAccessTokens { id }",
}
