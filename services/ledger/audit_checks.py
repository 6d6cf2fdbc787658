"""The checks of the audit: a sentence for each, which says what a violation is."""

CHECKS: dict[str, str] = {
    "unbalancedTransactions": "Postings that do not sum to zero per transaction, book and currency.",
    "unbalancedBooks": "Books and currencies whose accounts do not sum to zero: cash is not what is owed.",
    "balanceMismatches": "Accounts whose balance is not the sum of their postings.",
    "sequenceGaps": "Accounts whose postings are not numbered 1 to seq without a gap.",
    "runningBalanceBreaks": "Postings whose balance is not the previous balance plus their amount.",
    "timeReversals": "Postings whose ledger time is earlier than that of the previous posting.",
    "lastTimeMismatches": "Accounts whose last time is not that of their last posting.",
    "futureTimes": "Accounts whose last posting is more than a minute ahead of the clock.",
    "currencyMismatches": "Postings in another currency than their account's, or on no account.",
    "overdrafts": "Accounts whose balance less holds is below their floor.",
    "holdMismatches": "Accounts whose held amount is not the sum of their open holds.",
    "strayHolds": "Open holds of orders that need none, and orders that need a hold and have none: approved "
    "expenses, pending redemptions, unpaid cash-outs.",
    "clearingMismatches": "Pairs of hosts and currencies whose clearing accounts do not sum to zero.",
    "doubleEmissions": "Transactions of an order that already has one of the same kind.",
    "unsettledOrders": "Orders with a transaction that are not paid, refunded or approved redemptions.",
    "paidWithoutTransaction": "Paid or refunded orders and approved redemptions without a transaction.",
    "orderMismatches": "Transactions of another amount or currency than their order's, or without the order "
    "that their kind needs.",
    "overRefunds": "Transactions refunded beyond their amount, or whose refund total is not that of "
    "the refunds.",
    "raisedMismatches": "Collectives and tiers whose raised total is not the sum of their gifts less "
    "refunds; checked in full runs.",
    "figuresNotPosted": "Transactions whose postings are not those that follow from their figures.",
    "unsoundFigures": "Transactions whose parts do not add up to the whole, have the wrong sign or do not "
    "follow from the amount and the rates, or whose paying side is incomplete.",
    "toCollectiveAboveAmount": "Transactions that give the collective more than their amount.",
    "transactionTimes": "Transactions whose time is not that of their postings; imported ones may be "
    "earlier.",
    "emptyTransactions": "Transactions without postings, and postings without a transaction.",
    "danglingParties": "Transactions that name a collective that does not exist.",
}
"""Sentences by the name of the check, in the order in which they are shown."""
