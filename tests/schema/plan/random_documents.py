"""Random queries of what clients ask for: pages, details, lists in lists, filters by variables."""

import random
import re
from typing import Any

AMOUNTS = ["value", "currency", "minorUnits", "exponent", "__typename"]
PLAIN = {
    "Collective": [
        "id",
        "slug",
        "type",
        "name",
        "description",
        "website",
        "timezone",
        "imageUrl",
        "tags",
        "isArchived",
        "location",
        "legalName",
        "currency",
        "hostFeeBps",
        "hostApprovedAt",
        "createdAt",
        "updatedAt",
        "__typename",
    ],
    "Transaction": ["id", "kind", "description", "createdAt", "recordedAt", "group", "fxRate", "__typename"],
    "Order": [
        "id",
        "type",
        "status",
        "description",
        "paymentMethodType",
        "payoutMethodType",
        "feesPayer",
        "hostFeeBps",
        "platformFeeBps",
        "expiresAt",
        "createdAt",
        "updatedAt",
        "startsAt",
        "endsAt",
        "quantity",
        "privateMessage",
        "receipts",
        "giverStatus",
        "place",
        "receiptText",
        "caps",
        "approvalsNeeded",
        "approvalsMissing",
        "__typename",
    ],
    "Tier": [
        "id",
        "type",
        "name",
        "pricing",
        "currency",
        "capacity",
        "sold",
        "left",
        "isArchived",
        "position",
    ],
    "Act": [
        "id",
        "at",
        "kind",
        "change",
        "mutation",
        "network",
        "sessionId",
        "accessTokenId",
        "databaseRole",
    ],
    "ActValue": ["field", "old", "new", "isHidden", "__typename"],
    "SearchResult": ["__typename"],
    "Highlight": ["field", "__typename"],
    "HighlightPart": ["text", "isMatch", "__typename"],
    "Goal": ["kind", "__typename"],
    "OrderItem": ["description", "__typename"],
    "OrderAction": ["type", "at", "fromStatus", "toStatus", "reason", "__typename"],
    "Approval": ["createdAt", "__typename"],
    "PaymentMethod": ["id", "type", "name", "feeBps", "__typename"],
    "PayoutMethod": ["id", "type", "name", "createdAt", "__typename"],
    "Member": ["id", "role", "since", "__typename"],
    "Offer": [
        "id",
        "item",
        "description",
        "currentsSharePercent",
        "monthlyLimit",
        "isMaster",
        "isActive",
        "remainingThisMonth",
        "redemptionCount",
    ],
    "RecurringGift": ["id", "status", "interval", "startsOn", "nextChargeOn", "retriesAt", "__typename"],
    "Card": ["brand", "last4", "expiresOn"],
    "Settlement": ["reference", "covers", "month", "__typename"],
    "WaitingPayment": ["provider", "account", "clientSecret", "redirectUrl"],
    "PlatformPolicy": ["platformFeeBps", "usdPerCurrent", "validFrom", "__typename"],
    "ApprovalPolicy": ["validFrom", "createdAt", "__typename"],
    "Attendance": ["checkedInAt", "checkedOutAt", "__typename"],
    "HostApplication": ["id", "status", "message", "expiresAt"],
    "IssuanceCap": ["period", "validFrom", "__typename"],
    "LinkedIdentity": ["id", "issuer", "email"],
    "LedgerAccount": ["id", "kind", "currency", "__typename"],
    "AccountStatement": ["postingCount", "__typename"],
    "Posting": ["seq", "at", "__typename"],
    "Nonprofit": ["isIssuer", "__typename"],
    "CommunityStats": ["period", "activeVolunteers", "__typename"],
    "LeaderboardEntry": ["rank", "__typename"],
    "WaitingHours": ["week", "__typename"],
    "HoursSum": ["period", "requestedCount", "approvedCount", "__typename"],
    "Event": [
        "id",
        "slug",
        "name",
        "startsAt",
        "endsAt",
        "capacity",
        "isPublic",
        "creditPolicy",
        "isCancelled",
        "cancelledAt",
        "hoursCredit",
        "registrationCount",
        "waitingCount",
        "__typename",
    ],
}
OBJECTS = {
    "Collective": {
        "host": "Collective",
        "parent": "Collective",
        "members": "Member page",
        "memberOf": "Member page",
        "orders": "Order page",
        "transactions": "Transaction page",
        "events": "Event page",
        "balance": "balance",
        "balances": "balance",
        "tiers": "Tier",
        "goals": "Goal",
        "payoutMethods": "PayoutMethod",
        "subscriptions": "RecurringGift page",
        "approvalPolicies": "ApprovalPolicy",
        "auditLog": "Act page",
        "... on User": "User",
        "... on Nonprofit": "Nonprofit",
        "... on Organization": "Organization",
        "... on Event": "Event",
        "... on Business": "business",
    },
    "User": {
        "host": "Collective",
        "memberOf": "Member page",
        "orders": "Order page",
        "identities": "LinkedIdentity",
        "securityLog": "Act page",
    },
    "Event": {"parent": "Collective", "coordinator": "User", "attendances": "Attendance page"},
    "Nonprofit": {
        "issuanceCaps": "IssuanceCap",
        "hoursToApprove": "WaitingHours",
        "hoursReport": "HoursSum",
    },
    "WaitingHours": {"amount": "amount", "volunteer": "User", "orders": "Order"},
    "HoursSum": {"requested": "amount", "approved": "amount", "collective": "Collective"},
    "Transaction": {
        "order": "Order",
        "refundOf": "Transaction",
        "refundedBy": "Transaction",
        "fromCollective": "Collective",
        "toCollective": "Collective",
        "fromHost": "Collective",
        "toHost": "Collective",
        "postings": "Posting",
        "amount": "amount",
        "fromCollectiveAmount": "amount",
        "fromHostAmount": "amount",
        "toHostAmount": "amount",
        "toCollectiveAmount": "amount",
        "paymentProcessorFeeInHostCurrency": "amount",
        "hostFeeInHostCurrency": "amount",
        "platformFeeInHostCurrency": "amount",
    },
    "Order": {
        "from": "Collective",
        "to": "Collective",
        "createdBy": "User",
        "event": "Event",
        "transactions": "Transaction",
        "amount": "amount",
        "approvedAmount": "amount",
        "refundedAmount": "amount",
        "items": "OrderItem",
        "actions": "OrderAction",
        "approvals": "Approval",
        "paymentMethod": "PaymentMethod",
        "payoutMethod": "PayoutMethod",
        "addressedTo": "User",
        "claimedGiver": "Collective",
        "tier": "Tier",
        "subscription": "RecurringGift",
        "settlement": "Settlement",
        "waitingPayment": "WaitingPayment",
        "policy": "PlatformPolicy",
        "price": "amount",
        "approvedPrice": "amount",
        "payout": "amount",
        "payoutFee": "amount",
    },
    "Organization": {
        "paymentMethods": "PaymentMethod",
        "hostApplications": "HostApplication",
        "ledgerAccounts": "LedgerAccount",
        "exchangePosition": "amount",
    },
    "Tier": {
        "collective": "Collective",
        "amount": "amount",
        "goal": "amount",
        "raised": "amount",
        "presets": "amount",
    },
    "RecurringGift": {
        "from": "Collective",
        "to": "Collective",
        "tier": "Tier",
        "card": "Card",
        "amount": "amount",
        "createdBy": "User",
    },
    "Card": {},
    "Settlement": {"paid": "amount", "fees": "amount", "tips": "amount"},
    "WaitingPayment": {"amount": "amount"},
    "PlatformPolicy": {"signupBonus": "amount", "confirmAbove": "amount", "createdBy": "User"},
    "ApprovalPolicy": {"amount": "amount", "createdBy": "User"},
    "Attendance": {"user": "User", "checkedInBy": "User", "order": "Order"},
    "HostApplication": {"collective": "Collective", "host": "Collective"},
    "IssuanceCap": {"amount": "amount"},
    "LinkedIdentity": {},
    "LedgerAccount": {
        "balance": "amount",
        "book": "Collective",
        "owner": "Collective",
        "postings": "Posting page",
        "statement": "AccountStatement",
    },
    "AccountStatement": {
        "openingBalance": "amount",
        "closingBalance": "amount",
        "credits": "amount",
        "debits": "amount",
    },
    "Posting": {
        "amount": "amount",
        "balanceAfter": "amount",
        "account": "LedgerAccount",
        "transaction": "Transaction",
    },
    "CommunityStats": {"issued": "amount", "accepted": "amount"},
    "LeaderboardEntry": {"amount": "amount", "collective": "Collective"},
    "Act": {"values": "ActValue", "actor": "User", "collective": "Collective", "other": "Collective"},
    "ActValue": {},
    "SearchResult": {"item": "found", "highlights": "Highlight"},
    "Highlight": {"parts": "HighlightPart"},
    "HighlightPart": {},
    "Goal": {"amount": "amount", "reached": "amount"},
    "OrderItem": {"amount": "amount"},
    "OrderAction": {"amount": "amount", "actor": "Collective"},
    "Approval": {"amount": "amount", "approver": "User"},
    "PaymentMethod": {"feeFixed": "amount", "host": "Collective"},
    "PayoutMethod": {},
    "Member": {"collective": "Collective", "member": "Collective"},
    "Offer": {"business": "Business"},
    "Business": {"host": "Collective", "members": "Member page"},
}
PLAIN |= {
    "User": [*PLAIN["Collective"], "isClaimed", "email", "pendingEmail", "locale", "mutedTopics"],
    "Business": PLAIN["Collective"],
    "Organization": ["isHostSuspended", "__typename"],
}
ROOTS = [
    ("collective(slug: $slug)", "Collective"),
    ('collective(slug: "shop")', "Collective"),
    ("me", "User"),
    ("node(id: $id)", "node"),
    ("nodes(ids: $ids)", "node"),
    ("collectives(first: {n})", "Collective page"),
    ("collectives(first: {n}, orderBy: NAME_ASC, filter: {{type: [COMMUNITY, EVENT]}})", "Collective page"),
    ("collectives(first: {n}, filter: {{isArchived: null, type: $types}})", "Collective page"),
    ("collectives(first: {n}, filter: {{host: {{slug: $host}}, search: $text}})", "Collective page"),
    ("transactions(first: {n})", "Transaction page"),
    ("transactions(first: {n}, orderBy: CREATED_AT_ASC)", "Transaction page"),
    ("transactions(first: {n}, filter: {{to: {{slug: $slug}}, kind: $kinds}})", "Transaction page"),
    ("transactions(first: {n}, filter: {{from: {{slug: $slug}}, atFrom: $at}})", "Transaction page"),
    ("orders(first: {n})", "Order page"),
    ("orders(last: {n})", "Order page"),
    ("collectives(last: {n}, orderBy: NAME_ASC)", "Collective page"),
    ("orders(first: $n, filter: {{to: {{slug: $slug}}, status: [PAID, APPROVED]}})", "Order page"),
    ("orders(filter: {{from: {{slug: $slug}}, createdUntil: $at}}, orderBy: CREATED_AT_ASC)", "Order page"),
    ("offers(filter: {{business: {{slug: $host}}}}, orderBy: FEATURED_FIRST)", "Offer page"),
    ("offers(filter: {{isActive: null, search: $text}})", "Offer page"),
    ("communityStats(period: $period)", "CommunityStats"),
    ("leaderboard(by: VOLUNTEER, period: $period, first: $n)", "LeaderboardEntry"),
    ("leaderboard(by: BUSINESS)", "LeaderboardEntry"),
    ("auditLog(first: {n})", "Act page"),
    ("auditLog(last: $n)", "Act page"),
    ("search(query: $words, first: {n})", "SearchResult page"),
    ('search(query: "e p", last: {n}, types: $found)', "SearchResult page"),
]
VARIABLES = {
    "$c": '$c: CurrencyCode! = "EUR"',
    "$n": "$n: Int = 3",
    "$slug": '$slug: String! = "giver"',
    "$host": '$host: String! = "shop"',
    "$text": '$text: String = "o"',
    "$words": '$words: String! = "g"',
    "$found": "$found: [SearchType!] = [OFFER, EVENT]",
    "$types": "$types: [CollectiveType!] = [USER, BUSINESS]",
    "$kinds": "$kinds: [TransactionKind!]",
    "$period": "$period: Period = MONTH",
    "$at": '$at: DateTime = "2030-01-01T00:00:00Z"',
    "$id": "$id: ID!",
    "$ids": "$ids: [ID!]!",
}
ARGUMENTS = {
    "balance": ['(currency: "USD")', '(currency: "CUR")', "(currency: $c)", "(currency: $c, asOf: $at)"],
    "balances": ["", "(asOf: $at)", '(asOf: "2020-01-01T00:00:00Z")'],
    "members": ["", "(first: 2)", "(last: 2)", "(role: [ADMIN, BACKER])", "(first: $n, role: MEMBER)"],
    "memberOf": ["", "(first: 2)", "(first: $n, role: MEMBER)"],
    "orders": ["(first: 2)", "(first: $n, filter: {status: PAID})", "(filter: {to: {slug: $slug}})"],
    "transactions": ["(last: 1)", "(first: $n, filter: {atUntil: $at})", "(filter: {from: {slug: $slug}})"],
    "subscriptions": ["", "(first: 1)", "(direction: RECEIVED)", "(last: 2, status: [ACTIVE, PAUSED])"],
    "auditLog": ["", "(first: 1)", "(last: $n)"],
    "securityLog": ["", "(first: $n)", "(last: 1)"],
    "attendances": ["", "(first: 1)", "(last: $n)"],
    "ledgerAccounts": ["", "(kind: [CASH])"],
    "postings": ["", "(first: 2)", "(last: 1)", '(from: "2020-01-01T00:00:00Z", until: $at)'],
    "statement": ["", "(from: $at)", '(from: "2020-01-01T00:00:00Z", until: "2030-01-01T00:00:00Z")'],
    "hoursToApprove": ["", "(first: $n)", "(addressedTo: {slug: $slug})"],
    "hoursReport": ["(by: VOLUNTEER)", "(by: ADMIN, startsFrom: $at)", "(by: WEEK, startsUntil: $at)"],
    "events": ["", "(first: 1)", "(isCancelled: false, from: $at)"],
}

NODES = {
    "node": (
        *("Collective", "Order", "Transaction", "Member", "Offer", "Tier", "PaymentMethod"),
        *("PayoutMethod", "RecurringGift", "HostApplication", "LedgerAccount"),
    ),
    "found": ("Collective", "Offer", "Event", "Tier"),
}
"""Types of a node, by where it is had."""

WHOLE_LISTS = {("Order", "transactions"), ("Transaction", "postings"), ("WaitingHours", "orders")}


class Writer:
    """Writes queries of what clients ask for."""

    def __init__(self, seed: int) -> None:
        """Write the same for the same seed."""
        self.random = random.Random(seed)

    def parts(self, kind: str, depth: int) -> str:
        """Return a selection."""
        if kind.endswith(" page"):
            return self.page(kind.removesuffix(" page"), depth)
        if kind == "amount":
            return self.some(AMOUNTS)
        if kind == "balance":
            figures = [
                f"{name} {{ {self.some(AMOUNTS)} }}" for name in ("posted", "held", "available", "pending")
            ]
            return self.some([*figures, "currency", "asOf", "__typename"])
        if kind == "business":
            return f"offers(first: $n) {{ {self.page('Offer', depth)} }}"
        if kind in NODES:
            kinds = NODES[kind]
            of_kinds = [f"... on {each} {{ {self.parts(each, depth)} }}" for each in kinds]
            return self.some(["id", "__typename", *of_kinds])
        results = [self.some(PLAIN[kind])]
        for name, below in OBJECTS[kind].items():
            if depth and self.random.random() < (0.3 if below == "amount" else 0.15):
                is_aliased = name != "parent" and "." not in name and self.random.random() < 0.2
                alias = f"x{self.random.randrange(3)}{name}: " if is_aliased else ""
                is_whole = (kind, name) in WHOLE_LISTS
                arguments = "" if is_whole else self.arguments(name)
                results.append(f"{alias}{name}{arguments} {{ {self.parts(below, depth - 1)} }}")
        return " ".join(results)

    def page(self, kind: str, depth: int) -> str:
        """Return a selection of a page."""
        rows = [f"{{ {self.parts(kind, depth)} }}" for _ in range(2)]
        entries = [
            f"nodes {rows[0]}",
            f"nodes {rows[0]}",
            f"edges {{ cursor node {rows[1]} }}",
            f"a: nodes {rows[0]} edges {{ b: node {rows[1]} }}",
            "totalCount",
            "pageInfo { hasNextPage hasPreviousPage startCursor endCursor }",
            "pageInfo { endCursor __typename }",
            "__typename",
        ]
        return " ".join(self.random.sample(entries, self.random.choice([1, 1, 2, 3])))

    def arguments(self, name: str) -> str:
        """Return a field's arguments."""
        return self.random.choice(ARGUMENTS[name]) if name in ARGUMENTS else ""

    def some(self, names: list[str]) -> str:
        """Return some of the names, in any order."""
        return " ".join(self.random.sample(names, self.random.randint(1, min(6, len(names)))))

    def query(self) -> str:
        """Return a query."""
        roots = []
        for number in range(self.random.choice([1, 1, 2, 3])):
            field, kind = self.random.choice(ROOTS)
            field = field.format(n=self.random.choice([1, 3, 100]))
            roots.append(f"r{number}: {field} {{ {self.parts(kind, 2)} }}")
        text = f"{{ {' '.join(roots)} }}"
        used = [definition for name, definition in VARIABLES.items() if re.search(rf"\{name}\b", text)]
        return f"query({', '.join(used)}) {text}" if used else f"query {text}"

    def variables(self, query: str, slugs: list[str], public_ids: list[str]) -> dict[str, Any]:
        """Return values of some of the variables."""
        values: dict[str, Any] = {
            "slug": self.random.choice(slugs),
            "host": self.random.choice(slugs),
            "kinds": self.random.choice([None, [], ["DONATION"]]),
            "types": self.random.choice([None, ["EVENT"]]),
            "words": self.random.choice(["p", "giver", "private no-such-word", "a"]),
            "found": self.random.choice([None, [], ["COMMUNITY", "OFFER", "USER"]]),
            "at": self.random.choice([None, "2020-01-01T00:00:00Z"]),
            "n": self.random.choice([1, 2, 50]),
        }
        chosen = {name: value for name, value in values.items() if self.random.random() < 0.6}
        used = {name: value for name, value in chosen.items() if f"${name}:" in query}
        if "$ids:" in query:
            used["ids"] = [self.random.choice(public_ids) for _ in range(self.random.choice([0, 1, 5]))]
        return used | ({"id": self.random.choice(public_ids)} if "$id:" in query else {})
