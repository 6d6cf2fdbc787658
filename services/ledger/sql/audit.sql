-- Every promise of the ledger as one statement that counts its violations.

-- unbalancedTransactions --
-- Postings that do not sum to zero per transaction, book and currency.
SELECT count(*)
FROM (
    SELECT FROM posting
    GROUP BY transaction_id, book_id, currency
    HAVING sum(amount) <> 0
) x

-- unbalancedBooks --
-- Books and currencies whose accounts do not sum to zero: cash held is not what is owed.
SELECT count(*)
FROM (
    SELECT FROM ledger_account
    GROUP BY book_id, currency
    HAVING sum(posted) <> 0
) x

-- balanceMismatches --
-- Accounts whose balance is not the sum of their postings.
SELECT count(*)
FROM ledger_account a
LEFT JOIN (
    SELECT book_id, account_id, sum(amount) AS total FROM posting GROUP BY 1, 2
) p ON p.book_id = a.book_id AND p.account_id = a.id
WHERE a.posted <> coalesce(p.total, 0)

-- sequenceGaps --
-- Accounts whose postings are not numbered 1 to seq without a gap.
SELECT count(*)
FROM ledger_account a
LEFT JOIN (
    SELECT book_id, account_id, count(*) AS n, max(seq) AS last, min(seq) AS first FROM posting GROUP BY 1, 2
) p ON p.book_id = a.book_id AND p.account_id = a.id
WHERE a.seq <> coalesce(p.n, 0) OR a.seq <> coalesce(p.last, 0) OR coalesce(p.first, 1) <> 1

-- runningBalanceBreaks --
-- Postings whose balance is not the previous balance plus their amount.
SELECT count(*)
FROM (
    SELECT
        amount,
        balance_after,
        lag(balance_after, 1, 0::bigint) OVER (PARTITION BY book_id, account_id ORDER BY seq) AS before
    FROM posting
) x
WHERE before + amount <> balance_after

-- timeReversals --
-- Postings whose ledger time is earlier than that of the previous posting.
SELECT count(*)
FROM (
    SELECT at, lag(at) OVER (PARTITION BY book_id, account_id ORDER BY seq) AS before FROM posting
) x
WHERE at < before

-- currencyMismatches --
-- Postings in another currency than their account's, or on no account.
SELECT count(*)
FROM posting p
LEFT JOIN ledger_account a ON a.book_id = p.book_id AND a.id = p.account_id
WHERE a.currency IS DISTINCT FROM p.currency

-- overdrafts --
-- Accounts whose balance less holds is below their floor.
SELECT count(*) FROM ledger_account WHERE posted - held < floor

-- holdMismatches --
-- Accounts whose held amount is not the sum of their open holds.
SELECT count(*)
FROM ledger_account a
LEFT JOIN (
    SELECT book_id, account_id, sum(amount) AS total FROM hold WHERE released_at IS NULL GROUP BY 1, 2
) h ON h.book_id = a.book_id AND h.account_id = a.id
WHERE a.held <> coalesce(h.total, 0)

-- strayHolds --
-- Open holds of orders that need none, and orders that need a hold and have none: approved expenses,
-- pending redemptions, unpaid cash-outs.
SELECT count(*)
FROM "order" o
FULL JOIN (SELECT order_id FROM hold WHERE released_at IS NULL) h ON h.order_id = o.id
WHERE (
    (o.status = 'APPROVED' AND o.type IN ('EXPENSE', 'CASH_OUT'))
    OR (o.status = 'PENDING' AND o.type IN ('REDEMPTION', 'CASH_OUT'))
) <> (h.order_id IS NOT NULL)

-- doubleEmissions --
-- Orders with two transactions of the same kind.
SELECT count(*)
FROM (
    SELECT FROM transaction
    WHERE refund_of_id IS NULL AND kind <> 'PAYMENT_PROCESSOR_COVER' AND order_id IS NOT NULL
    GROUP BY order_id, kind
    HAVING count(*) > 1
) x

-- unsettledOrders --
-- Paid or refunded orders and approved redemptions without a transaction, and other orders with one.
SELECT count(*)
FROM "order" o
WHERE (o.status IN ('PAID', 'REFUNDED') OR o.status = 'APPROVED' AND o.type = 'REDEMPTION')
    <> EXISTS (SELECT FROM transaction t WHERE t.order_id = o.id)

-- overRefunds --
-- Transactions refunded beyond their amount, or whose refund total is not that of the refunds.
SELECT count(*)
FROM (
    SELECT refund_of_id, -sum(amount) AS total FROM transaction WHERE refund_of_id IS NOT NULL GROUP BY 1
) r
FULL JOIN refund_total s ON s.transaction_id = r.refund_of_id
LEFT JOIN transaction t ON t.id = coalesce(r.refund_of_id, s.transaction_id)
WHERE r.total IS DISTINCT FROM s.refunded OR s.amount IS DISTINCT FROM t.amount OR r.total > t.amount

-- unsoundFigures --
-- Transactions whose parts do not add up to the whole, or have the wrong sign.
SELECT count(*)
FROM transaction
WHERE fx_rate <= 0
    OR to_host_amount <> gross - payment_processor_fee - platform_fee
    OR (currency = host_currency AND to_collective_amount <> to_host_amount - host_fee)
    OR (amount > 0) <> (refund_of_id IS NULL)
    OR least(
        sign(amount) * payment_processor_fee,
        sign(amount) * platform_fee,
        sign(amount) * host_fee,
        sign(amount) * to_collective_amount
    ) < 0

-- emptyTransactions --
-- Transactions without postings, and postings without a transaction.
SELECT count(*)
FROM transaction t
FULL JOIN (SELECT DISTINCT transaction_id FROM posting) p ON p.transaction_id = t.id
WHERE t.id IS NULL OR p.transaction_id IS NULL

-- danglingParties --
-- Transactions that name a collective that does not exist.
SELECT count(*)
FROM transaction t
CROSS JOIN LATERAL unnest(
    ARRAY[t.from_collective_id, t.to_collective_id, t.from_host_id, t.to_host_id]
) AS party (id)
LEFT JOIN collective c ON c.id = party.id
WHERE party.id IS NOT NULL AND c.id IS NULL
