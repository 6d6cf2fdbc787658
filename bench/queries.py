"""The operations that the benchmarks send."""

TINY = "{ __typename }"

_AMOUNT = "{ value currency }"
FEED = f"""query($first: Int!, $after: String) {{ transactions(first: $first, after: $after) {{ nodes {{
    id kind createdAt description
    fromCollective {{ slug name type }} toCollective {{ slug name type }}
    fromHost {{ slug name }} toHost {{ slug name }}
    order {{ id status description }}
    amount {_AMOUNT} fromCollectiveAmount {_AMOUNT} toHostAmount {_AMOUNT} toCollectiveAmount {_AMOUNT}
    hostFeeInHostCurrency {_AMOUNT} platformFeeInHostCurrency {_AMOUNT}
    paymentProcessorFeeInHostCurrency {_AMOUNT}
}} }} }}"""

COLLECTIVE = """query($slug: String!) { collective(slug: $slug) {
    slug name type host { slug name }
    balance(currency: "USD") { posted { value } held { value } available { value } pending { value } }
} }"""

NESTED = """query($after: String) {
    collectives(first: 50, after: $after, filter: {type: [COMMUNITY]}) { nodes {
        slug name members(first: 10) { nodes { role since member { slug name type currency } } }
    } }
}"""

APPROVE = """mutation($i: ApproveOrderInput!) { approveOrder(input: $i) {
    order { id status } errors { code message }
} }"""
