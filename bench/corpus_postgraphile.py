"""The corpus in the words of PostGraphile 5: the same rows and values from the tables.

An amount is two columns, minor units and currency. Rows that our visibility rules hide are excluded by a
condition, as in `compared_queries`. PostGraphile's own conditions are equalities, so a range that covers
everything is left out, and a search by text has no counterpart.
"""

_PUBLIC = "hasPublicSide: true"
_NEWEST = "orderBy: [AT_DESC, ROW_ID_DESC]"
_ORDERS = "orderBy: [CREATED_AT_DESC, ROW_ID_DESC]"
_SIDES = "collectiveByFromCollectiveId { name slug } collectiveByToCollectiveId { name slug }"
_BY_NAME = "orderBy: [NAME_ASC, ROW_ID_ASC]"
_BY_SLUG = "query($slug: String!) { collectiveBySlug(slug: $slug)"
_MEMBERS = "membersByCollectiveId"
_OF = "membersByMemberId"
_SINCE = "orderBy: [SINCE_ASC, ROW_ID_ASC]"
_HOSTED = '"00000001-0000-7000-8000-000000000001"'
_COLLECTIVE = '"00000002-0000-7000-8000-000000000001"'
_FEED = f"first: 20, condition: {{{_PUBLIC}}}, {_NEWEST}"
_TO = f"condition: {{{_PUBLIC}, toCollectiveId: {_COLLECTIVE}}}"


def _role(alias: str, role: str, first: int, fields: str) -> str:
    condition = f'condition: {{until: null, role: "{role}"}}'
    return f"{alias}: {_MEMBERS}(first: {first}, {condition}, {_SINCE}) {{ nodes {{ {fields} }} }}"


_PERSON = "collectiveByMemberId { name slug }"
_NAME = "collectiveByMemberId { name }"

THEIRS = {
    "a collective's page: two member lists and, beside it, its newest transactions": f"""{_BY_SLUG} {{
        name collectiveByHostId {{ name }} {_role("admins", "ADMIN", 10, _PERSON)}
        {_role("backers", "BACKER", 20, "since " + _PERSON)} }}
        allTransactions(first: 20, {_TO}, {_NEWEST}) {{ nodes {{
            rowId kind at amount currency collectiveByFromCollectiveId {{ name slug }} }} }} }}""",
    "a collective's head": f"{_BY_SLUG} {{ name }} }}",
    "a collective with its orders inside": f"""{_BY_SLUG} {{ name
        ordersByToId(first: 20, condition: {{status: "PAID"}}, {_ORDERS}) {{ nodes {{
            rowId status amount currency collectiveByFromId {{ name }} }} }} }} }}""",
    "a collective with counts alone": f"""{_BY_SLUG} {{ name
        {_MEMBERS}(condition: {{until: null}}) {{ totalCount }}
        ordersByToId {{ totalCount }} ordersByFromId {{ totalCount }} }} }}""",
    "a collective's balance": f"""{_BY_SLUG} {{ name
        ledgerAccountsByOwnerId(condition: {{kind: "BALANCE", currency: "USD"}}) {{
            nodes {{ posted held }} }} }} }}""",
    "a host's page: its collectives by name": f"""query($slug: String!) {{
        collectiveBySlug(slug: $slug) {{ name website hostSuspendedAt }}
        allCollectives(first: 20, condition: {{hostId: {_HOSTED}}}, {_BY_NAME}) {{ nodes {{
            name slug collectiveByHostId {{ name }} }} }} }}""",
    "a person's page: memberships": f"""{_BY_SLUG} {{ name
        {_OF}(first: 50, condition: {{until: null}}, {_SINCE}) {{ nodes {{ role since
            collectiveByCollectiveId {{ name slug type collectiveByHostId {{ name }} }} }} }} }} }}""",
    "a person's memberships with edges and a position": f"""{_BY_SLUG} {{ name
        {_OF}(first: 10, condition: {{until: null}}, {_SINCE}) {{
            edges {{ cursor node {{ role collectiveByCollectiveId {{ name }} }} }}
            pageInfo {{ hasNextPage endCursor }} }} }} }}""",
    "a collective's events": f"""{_BY_SLUG} {{ name
        collectivesByParentId(first: 10, condition: {{type: "EVENT"}}, orderBy: [STARTS_AT_ASC]) {{ nodes {{
            name startsAt endsAt collectiveByCoordinatorId {{ name }} }} }} }} }}""",
    "offers with their businesses": """{ allOffers(first: 20, orderBy: [CREATED_AT_DESC]) { nodes {
        item isMaster collectiveByBusinessId { name } } } }""",
    "20 transactions with their count": f"""{{ allTransactions({_FEED}) {{
        totalCount nodes {{ rowId kind amount currency {_SIDES} }} }} }}""",
    "20 transactions with a position": f"""{{ allTransactions({_FEED}) {{
        nodes {{ rowId amount currency }}
        pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}""",
    "20 transactions as edges": f"""{{ allTransactions({_FEED}) {{
        edges {{ cursor node {{ rowId amount currency }} }} }} }}""",
    "transactions by payee and kind in variables": f"""{{
        allTransactions(first: 20, {_NEWEST},
            condition: {{{_PUBLIC}, toCollectiveId: {_COLLECTIVE}, kind: "DONATION"}}) {{
            nodes {{ rowId amount currency collectiveByFromCollectiveId {{ name }} }} }} }}""",
    "transactions between two times": f"""{{ allTransactions({_FEED}) {{
        nodes {{ rowId at amount currency }} }} }}""",
    "transactions with orders and their payers": f"""{{
        allTransactions({_FEED}) {{ nodes {{ rowId amount currency
            orderByOrderId {{ rowId status collectiveByCreatedById {{ name }}
                collectiveByFromId {{ name collectiveByHostId {{ name }} }} }} }} }} }}""",
    "orders with their transactions": f"""{{ allOrders(first: 20, {_ORDERS}) {{ nodes {{ rowId
        transactionsByOrderId {{ nodes {{ rowId amount currency }} }} }} }} }}""",
    "collectives by type in a variable, counted": """query($type: String) {
        allCollectives(first: 20, condition: {type: $type}, orderBy: [CREATED_AT_DESC, ROW_ID_DESC]) {
            totalCount nodes { name slug } } }""",
    "collectives with members in lists": f"""{{
        allCollectives(first: 20, condition: {{type: "COMMUNITY"}}, {_ORDERS}) {{ nodes {{ name
            {_MEMBERS}(first: 5, condition: {{until: null}}, {_SINCE}) {{ totalCount nodes {{
                role {_NAME} }} }} }} }} }}""",
    "connections in connections in connections": f"""{{
        allCollectives(first: 10, condition: {{type: "COMMUNITY"}}, {_ORDERS}) {{ nodes {{ name
            {_MEMBERS}(first: 3, condition: {{until: null}}, {_SINCE}) {{ nodes {{ role
                collectiveByMemberId {{ name {_OF}(first: 3, condition: {{until: null}}, {_SINCE}) {{
                    nodes {{ role collectiveByCollectiveId {{ name }} }} }} }} }} }} }} }} }}""",
    "fragments by type": f"""{{ allCollectives(first: 50, {_ORDERS}) {{ nodes {{ __typename name startsAt
        hostSuspendedAt }} }} }}""",
    "four aliases of one list": f"""{_BY_SLUG} {{ {_role("a", "ADMIN", 3, _NAME)}
        {_role("b", "MEMBER", 3, _NAME)} {_role("c", "ACCOUNTANT", 3, _NAME)}
        {_role("d", "BACKER", 3, _NAME)} }} }}""",
    "five root fields": f"""query($slug: String!) {{ a: collectiveBySlug(slug: $slug) {{ name }}
        b: collectiveBySlug(slug: "large-2") {{ name }}
        c: allTransactions(first: 3, condition: {{{_PUBLIC}}}, {_NEWEST}) {{ nodes {{ rowId }} }}
        d: allOrders(first: 3, {_ORDERS}) {{ nodes {{ rowId }} }} }}""",
}
"""Queries by the name of their shape. Shapes that PostGraphile cannot ask for are missing."""

THEIR_VARIABLES = {"collectives by type in a variable, counted": {"type": "COMMUNITY"}}
"""Variables where they differ from ours."""
