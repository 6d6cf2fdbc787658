"""The API's fixed names: every one of the contract's money half is in the schema, with its type."""

import re
from functools import cache
from typing import Any

import pytest
from graphql import (
    EnumTypeDefinitionNode,
    parse,
    print_ast,
)

from schema.build import sdl

NODES = """
interface Node { id: ID! }
scalar DateTime
scalar Decimal
scalar BigInt
scalar CurrencyCode
type Amount { minorUnits: BigInt! currency: CurrencyCode! value: Decimal! exponent: Int! }
input AmountInput { value: Decimal! currency: CurrencyCode! }
input CollectiveRef @oneOf { id: ID slug: String }
type Balance {
  currency: CurrencyCode! posted: Amount! held: Amount! available: Amount! pending: Amount! asOf: DateTime!
}
type Member implements Node {
  id: ID! collective: Collective! member: Collective! role: MemberRole! since: DateTime!
}
type Order implements Node {
  id: ID! type: OrderType! status: OrderStatus! createdBy: User from: Collective to: Collective!
  amount: Amount! approvedAmount: Amount description: String event: Event paymentMethod: PaymentMethod
  actions: [OrderAction!]! transactions: [Transaction!]! createdAt: DateTime! updatedAt: DateTime!
}
type OrderAction {
  type: OrderActionType! actor: Collective at: DateTime! fromStatus: OrderStatus toStatus: OrderStatus!
  amount: Amount reason: String
}
type Transaction implements Node {
  id: ID! group: ID! kind: TransactionKind! order: Order refundOf: Transaction refundedBy: [Transaction!]!
  fromCollective: Collective toCollective: Collective fromHost: Collective toHost: Collective
  paymentMethod: PaymentMethod
  amount: Amount! fromCollectiveAmount: Amount fromHostAmount: Amount toHostAmount: Amount!
  toCollectiveAmount: Amount!
  paymentProcessorFeeInHostCurrency: Amount! hostFeeInHostCurrency: Amount!
  platformFeeInHostCurrency: Amount!
  fxRate: Decimal! fromHostFxRate: Decimal postings: [Posting!]! createdAt: DateTime!
}
type Posting {
  account: LedgerAccount! amount: Amount! balanceAfter: Amount! seq: BigInt! at: DateTime!
}
interface UserError { message: String! code: ErrorCode! path: [String!] }
enum ErrorCode {
  INVALID_INPUT NOT_FOUND CONFLICT INVALID_STATE SELF_APPROVAL INSUFFICIENT_FUNDS LIMIT_EXCEEDED
  AMOUNT_TOO_SMALL FX_RATE_UNAVAILABLE IDEMPOTENCY_CONFLICT RATE_LIMITED
}
enum CollectiveType { USER COMMUNITY NONPROFIT BUSINESS EVENT }
enum MemberRole { HOST ADMIN ACCOUNTANT MEMBER BACKER VOLUNTEER ATTENDEE FOLLOWER }
enum OrderType { DONATION ADDED_FUNDS EXPENSE TRANSFER }
enum OrderStatus { PENDING APPROVED REJECTED PAID CANCELLED EXPIRED FAILED REFUNDED }
type PageInfo { hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String endCursor: String }
type Query {
  me: User
  node(id: ID!): Node
  nodes(ids: [ID!]!): [Node]
  collective(slug: String, id: ID): Collective
  collectives(
    filter: CollectiveFilter, orderBy: CollectiveSort, first: Int, after: String
  ): CollectiveConnection
  order(id: ID!): Order
  orders(filter: OrderFilter, first: Int, after: String): OrderConnection
  transaction(id: ID!): Transaction
  transactions(filter: TransactionFilter, first: Int, after: String): TransactionConnection
  currencies: [Currency!]!
  fxRate(from: CurrencyCode!, to: CurrencyCode!, at: DateTime): FxRate
  ledgerAudit: LedgerAudit
}
"""
COLLECTIVE = """ implements Node {
  id: ID! slug: String! type: CollectiveType! name: String! description: String currency: CurrencyCode!
  host: Collective parent: Collective createdAt: DateTime! updatedAt: DateTime! isArchived: Boolean!
  members(role: [MemberRole!], first: Int, after: String): MemberConnection
  memberOf(role: [MemberRole!], first: Int, after: String): MemberConnection
  balances(asOf: DateTime): [Balance!]!
  balance(currency: CurrencyCode!, asOf: DateTime): Balance
  orders(filter: OrderFilter, first: Int, after: String): OrderConnection
  transactions(filter: TransactionFilter, first: Int, after: String): TransactionConnection
  events(first: Int, after: String): EventConnection
}
"""
MONEY = "idempotencyKey: String dryRun: Boolean = false"
MUTATIONS = {
    "signUp": ("email: String! name: String!", "user: User"),
    "verifyEmail": ("token: String! password: String!", "user: User session: Session"),
    "signIn": ("email: String! password: String!", "user: User session: Session"),
    "signOut": ("", ""),
    "createAccessToken": (
        "name: String! scopes: [Scope!]! expiresAt: DateTime!",
        "token: String accessToken: AccessToken",
    ),
    "revokeAccessToken": ("id: ID!", ""),
    "createCollective": (
        "type: CollectiveType! name: String! slug: String! currency: CurrencyCode! description: String",
        "collective: Collective",
    ),
    "updateCollective": ("collective: CollectiveRef!", "collective: Collective"),
    "archiveCollective": ("collective: CollectiveRef!", "collective: Collective"),
    "createEvent": (
        "parent: CollectiveRef! name: String! startsAt: DateTime! endsAt: DateTime! timezone: String "
        "location: String isPublic: Boolean! capacity: Int creditPolicy: String",
        "event: Event",
    ),
    "applyToHost": (
        "collective: CollectiveRef! host: CollectiveRef! message: String",
        "application: HostApplication",
    ),
    "decideHostApplication": ("id: ID! approve: Boolean! reason: String", "application: HostApplication"),
    "applyAsHost": ("collective: CollectiveRef! message: String", "application: HostApplication"),
    "decideHost": ("id: ID! approve: Boolean! reason: String", "application: HostApplication"),
    "suspendHost": ("host: CollectiveRef! reason: String!", "collective: Collective"),
    "leaveHost": ("collective: CollectiveRef! reason: String", "collective: Collective"),
    "unarchiveCollective": ("collective: CollectiveRef!", "collective: Collective"),
    "inviteMember": (
        "collective: CollectiveRef! role: MemberRole! user: CollectiveRef email: String message: String",
        "invitation: Invitation",
    ),
    "respondToInvitation": ("id: ID! accept: Boolean!", "invitation: Invitation member: Member"),
    "removeMember": ("id: ID!", ""),
    "followCollective": ("collective: CollectiveRef!", ""),
    "unfollowCollective": ("collective: CollectiveRef!", ""),
    "donate": (
        "from: CollectiveRef! to: CollectiveRef! amount: AmountInput! paymentMethod: String "
        f"description: String {MONEY}",
        "order: Order",
    ),
    "addFunds": (
        f"to: CollectiveRef! amount: AmountInput! from: CollectiveRef description: String {MONEY}",
        "order: Order",
    ),
    "submitExpense": (
        "from: CollectiveRef! to: CollectiveRef! amount: AmountInput items: [ExpenseItemInput!] "
        f"payoutMethod: String description: String receipts: [String!] {MONEY}",
        "order: Order",
    ),
    "transferFunds": (
        f"from: CollectiveRef! to: CollectiveRef! amount: AmountInput! {MONEY}",
        "order: Order",
    ),
    "approveOrder": (f"id: ID! amount: AmountInput reason: String {MONEY}", "order: Order"),
    "rejectOrder": (f"id: ID! reason: String! {MONEY}", "order: Order"),
    "payOrder": (f"id: ID! processorFee: AmountInput {MONEY}", "order: Order"),
    "cancelOrder": (f"id: ID! reason: String {MONEY}", "order: Order"),
    "approveOrders": (f"ids: [ID!]! {MONEY}", "results: [ApproveOrdersResult!]!"),
    "refundOrder": (
        f"id: ID! amount: AmountInput reason: String {MONEY}",
        "order: Order transactions: [Transaction!]!",
    ),
}
OTHERS = """
input ExpenseItemInput { description: String! amount: AmountInput! }
type Session { token: String! expiresAt: DateTime! }
type ApproveOrdersResult { id: ID! order: Order errors: [UserError!]! }
"""
CONNECTIONS = ("Collective", "Member", "Order", "Transaction", "Event")


def _expected() -> str:
    kinds = ("type User", "type Community", "type Nonprofit", "type Business", "type Event")
    parts = [NODES, OTHERS, *[kind + COLLECTIVE for kind in ("interface Collective", *kinds)]]
    parts += [
        f"type {name}Connection {{ edges: [{name}Edge!]! nodes: [{name}!]! pageInfo: PageInfo! "
        f"totalCount: Int! }} type {name}Edge {{ cursor: String! node: {name}! }}"
        for name in CONNECTIONS
    ]
    for mutation, (arguments, result) in MUTATIONS.items():
        title = mutation[0].upper() + mutation[1:]
        parts.append(f"type {title}Payload {{ {result} errors: [UserError!]! }}")
        if arguments:
            parts.append(f"input {title}Input {{ {arguments} }}")
        argument = f"(input: {title}Input!)" if arguments else ""
        parts.append(f"extend type Mutation {{ {mutation}{argument}: {title}Payload! }}")
    return "\n".join(parts)


def _facts(document: str) -> set[str]:
    """Return each name of a document with its type, a line each: `Order.amount: Amount!`."""
    result = set()
    for node in parse(document).definitions:
        definition: Any = node
        name = definition.name.value
        result.add(f"{definition.kind.removesuffix('_extension').removesuffix('_definition')} {name}")
        result |= {f"{name} implements {i.name.value}" for i in getattr(definition, "interfaces", None) or ()}
        result |= {f"{name} @{d.name.value}" for d in getattr(definition, "directives", None) or ()}
        if isinstance(definition, EnumTypeDefinitionNode):
            result |= {f"{name}.{value.name.value}" for value in definition.values or ()}
            continue
        for field in getattr(definition, "fields", None) or ():
            place = f"{name}.{field.name.value}"
            default = getattr(field, "default_value", None)
            output = f" = {print_ast(default)}" if default else ""
            result.add(f"{place}: {print_ast(field.type)}{output}")
            result |= {
                f"{place}({a.name.value}: {print_ast(a.type)})" for a in getattr(field, "arguments", ()) or ()
            }
    return result


def _line(fact: str) -> str:
    """Drop a default that the contract does not name."""
    return fact if "dryRun" in fact else re.sub(r" = .*", "", fact)


CONTRACT = _facts(_expected())
NAMES = sorted({re.split(r"[.:]", fact)[0] for fact in CONTRACT if "." in fact})


@cache
def _built() -> set[str]:
    return {_line(fact) for fact in _facts(sdl())}


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_keeps_the_documented_contract(name: str) -> None:
    match = {fact for fact in CONTRACT if re.match(rf"([a-z_]+ )?{name}\b", fact)}
    assert sorted(match - _built()) == []
