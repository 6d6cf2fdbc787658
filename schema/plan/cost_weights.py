"""The weights of the cost model: what types and fields cost, and how long their lists are assumed to be."""

MIN_COST = 1
MUTATION_COST = 10
CREDENTIAL_COST = 50
"""A mutation that tries a secret: hashing a password takes as long as reading a page of a list."""
INTROSPECTION_COST = 100
SMALL_COST = 10
"""Results that may cost no more than this are not counted: they cost what was requested."""
FREE_TYPES = frozenset({"Amount", "PageInfo", "MutationError", "UserError", "RateLimit", "HighlightPart"})
"""Objects that are parts of others and cost nothing; edges cost nothing either."""
WEIGHTS = {
    "Query.communityStats": 50,
    "Query.leaderboard": 5,
    "Query.search": 20,
    "Query.tags": 5,
    "Query.liabilityReport": 50,
    "Nonprofit.hoursReport": 5,
}
TOTAL_COUNT_COST = 5
"""Counting a whole list."""
DEFAULT_LIST_SIZE = 10
"""Assumed size of a list that no argument bounds and `LIST_SIZES` does not name."""
_COLLECTIVES = ("Collective", "Organization", "User", "Community", "Nonprofit", "Business", "Event")
LIST_SIZES = {
    **{f"{name}.tiers": 30 for name in _COLLECTIVES},
    **{f"{name}.goals": 2 for name in _COLLECTIVES},
    "Query.currencies": 200,
    "Query.platformPolicies": 50,
    "Query.myInvitations": 50,
    "Query.sentInvitations": 100,
    "Query.sentHostApplications": 100,
    "Query.applicationsAsHost": 100,
    "Query.myAccessTokens": 50,
    "LiabilityReport.outstanding": 100,
    "LiabilityReport.clearing": 100,
    "Query.clearing": 100,
    "Nonprofit.hoursReport": 100,
    "LedgerAudit.checks": 30,
    "SearchResult.highlights": 3,
}
ARGUMENT_LISTS = {
    "Query.nodes": (("ids",),),
    "ApproveOrdersPayload.results": (("input", "ids"),),
    "InviteToEventPayload.results": (("input", "emails"), ("input", "users")),
}
"""Lists as long as the lists in the arguments of the field itself, or of its parent field."""
