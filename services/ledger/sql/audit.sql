-- The audit's statements. Each returns one row: a count of violations for each check that it makes (see
-- services/ledger/audit_checks.py), or a total. Parameters: full, whether everything is read; from_id, the least
-- id of a transaction or order step recorded since the last run; platform_id, the owner of the platform's fees.
-- An account's postings up to its row in audited_account have been checked by an earlier run.
-- LATERAL with OFFSET 0 keeps the planner to an index look-up for each new row: it does not know how few they are,
-- and would read whole tables.

-- accounts --
-- Checks of the accounts' rows alone, of which there are few.
SELECT
    (SELECT count(*) FROM (
        SELECT FROM ledger_account GROUP BY book_id, currency HAVING sum(posted) <> 0
    ) x) AS "unbalancedBooks",
    (SELECT count(*) FROM ledger_account WHERE posted - held < floor) AS overdrafts,
    (
        SELECT count(*)
        FROM ledger_account a
        LEFT JOIN (
            SELECT book_id, account_id, sum(amount) AS total FROM hold WHERE released_at IS NULL GROUP BY 1, 2
        ) h ON h.book_id = a.book_id AND h.account_id = a.id
        WHERE a.held <> coalesce(h.total, 0)
    ) AS "holdMismatches",
    (SELECT count(*) FROM (
        SELECT FROM ledger_account
        WHERE kind = 'CLEARING'
        GROUP BY least(book_id, owner_id), greatest(book_id, owner_id), currency
        HAVING sum(posted) <> 0
    ) x) AS "clearingMismatches",
    (
        SELECT count(*) FROM ledger_account WHERE last_at > clock_timestamp() + interval '1 minute'
    ) AS "futureTimes"

-- postings --
-- Walk each account's new postings in their order, beginning with the last one that was checked.
SELECT
    count(*) FILTER (
        WHERE a.seq - s.seq + (s.seq > 0)::int <> p.total OR p.first <> greatest(s.seq, 1) OR p.last <> a.seq
    ) AS "sequenceGaps",
    count(*) FILTER (WHERE a.posted <> s.balance + p.amount) AS "balanceMismatches",
    coalesce(sum(p.breaks), 0)::bigint AS "runningBalanceBreaks",
    coalesce(sum(p.reversals), 0)::bigint AS "timeReversals",
    count(*) FILTER (WHERE a.last_at <> p.last_at) AS "lastTimeMismatches",
    coalesce(sum(p.foreign_currency), 0)::bigint AS "currencyMismatches",
    coalesce(sum(p.added), 0)::bigint AS postings
FROM ledger_account a
LEFT JOIN audited_account c ON c.book_id = a.book_id AND c.account_id = a.id AND NOT CAST(:full AS boolean)
CROSS JOIN LATERAL (SELECT coalesce(c.seq, 0) AS seq, coalesce(c.balance, 0) AS balance) s
CROSS JOIN LATERAL (
    SELECT
        count(*) AS total,
        count(*) FILTER (WHERE q.seq > s.seq) AS added,
        min(q.seq) AS first,
        max(q.seq) AS last,
        coalesce(sum(q.amount) FILTER (WHERE q.seq > s.seq), 0) AS amount,
        max(q.at) FILTER (WHERE q.seq = a.seq) AS last_at,
        count(*) FILTER (
            WHERE CASE WHEN q.seq = s.seq THEN s.balance ELSE coalesce(q.before, 0) + q.amount END
            <> q.balance_after
        ) AS breaks,
        count(*) FILTER (WHERE q.at < q.at_before) AS reversals,
        count(*) FILTER (WHERE q.currency <> a.currency) AS foreign_currency
    FROM (
        SELECT
            seq, amount, balance_after, at, currency,
            lag(balance_after) OVER w AS before,
            lag(at) OVER w AS at_before
        FROM posting
        WHERE book_id = a.book_id AND account_id = a.id AND seq >= s.seq
        WINDOW w AS (ORDER BY seq)
    ) q
) p

-- orphans --
-- Read all postings for those without a transaction.
SELECT count(DISTINCT p.transaction_id) AS "emptyTransactions"
FROM posting p
WHERE NOT EXISTS (SELECT FROM transaction t WHERE t.id = p.transaction_id)

-- new_orphans --
-- Read the new postings for those without a transaction.
SELECT count(DISTINCT p.transaction_id) AS "emptyTransactions"
FROM ledger_account a
LEFT JOIN audited_account s ON s.book_id = a.book_id AND s.account_id = a.id
CROSS JOIN LATERAL (
    SELECT transaction_id
    FROM posting
    WHERE book_id = a.book_id AND account_id = a.id AND seq > coalesce(s.seq, 0)
    OFFSET 0
) p
WHERE NOT EXISTS (SELECT FROM transaction t WHERE t.id = p.transaction_id OFFSET 0)

-- late --
-- The transactions of new postings with an id from before the last run: a clock was late, or a commit.
SELECT array_agg(DISTINCT p.transaction_id) AS ids
FROM ledger_account a
LEFT JOIN audited_account s ON s.book_id = a.book_id AND s.account_id = a.id
CROSS JOIN LATERAL (
    SELECT transaction_id
    FROM posting
    WHERE book_id = a.book_id AND account_id = a.id AND seq > coalesce(s.seq, 0)
    OFFSET 0
) p
WHERE p.transaction_id < :from_id

-- transactions --
-- Check each transaction by itself and against its postings and its order.
SELECT
    count(*) AS transactions,
    coalesce(sum(p.unbalanced), 0)::bigint AS "unbalancedTransactions",
    count(*) FILTER (WHERE p.first_at IS NULL) AS "emptyTransactions",
    coalesce(sum(p.strays), 0)::bigint AS "currencyMismatches",
    count(*) FILTER (
        WHERE p.first_at < t.at
            -- Without its own time, a transaction has that of its postings; before version 0002 it had the time
            -- of its creation.
            OR (t.at > t.created_at AND o.import_key IS NULL AND t.order_id IS NOT NULL AND p.last_at <> t.at)
    ) AS "transactionTimes",
    count(*) FILTER (WHERE abs(t.to_collective_amount) > abs(t.amount)) AS "toCollectiveAboveAmount",
    count(*) FILTER (
        WHERE t.fx_rate <= 0
            OR t.to_host_amount <> t.gross - t.payment_processor_fee - t.platform_fee
            OR (t.currency = t.host_currency AND t.to_collective_amount <> t.to_host_amount - t.host_fee)
            OR (t.amount > 0) <> (t.refund_of_id IS NULL)
            OR least(
                sign(t.amount) * t.payment_processor_fee,
                sign(t.amount) * t.platform_fee,
                sign(t.amount) * t.host_fee,
                sign(t.amount) * t.to_collective_amount
            ) < 0
            OR (t.from_host_id IS NOT NULL AND num_nulls(
                t.from_host_currency, t.from_host_fx_rate, t.from_host_amount,
                t.from_collective_currency, t.from_collective_fx_rate, t.from_collective_amount
            ) > 0)
            -- What the payer gives beyond the amount is the fee of its payout. A settlement's figures are those of
            -- its order, and imported ones those of their file.
            OR (
                t.order_id IS NOT NULL AND t.refund_of_id IS NULL AND o.import_key IS NULL
                AND t.kind NOT IN ('SETTLEMENT', 'PLATFORM_FEE_SETTLEMENT')
                AND (
                    (f.fee <> 0 AND (t.to_host_id IS NOT NULL OR f.fee <> t.payment_processor_fee))
                    OR t.from_host_amount <> -f.fee - CASE
                        WHEN t.currency = t.from_host_currency THEN t.amount
                        ELSE converted(t.amount, t.from_host_fx_rate, t.currency, t.from_host_currency) END
                )
            )
    ) AS "unsoundFigures",
    count(*) FILTER (
        WHERE t.refund_of_id IS NULL AND t.kind <> 'PAYMENT_PROCESSOR_COVER' AND t.order_id IS NOT NULL
            AND EXISTS (
                SELECT FROM transaction d
                WHERE d.order_id = t.order_id AND d.kind = t.kind AND d.refund_of_id IS NULL
                    AND d.id <> t.id AND (d.id < t.id OR t.id < :from_id)
            )
    ) AS "doubleEmissions",
    count(DISTINCT t.order_id) FILTER (
        WHERE t.order_id IS NOT NULL
            AND NOT coalesce(
                o.status IN ('PAID', 'REFUNDED') OR (o.status = 'APPROVED' AND o.type = 'REDEMPTION'), false
            )
    ) AS "unsettledOrders",
    count(*) FILTER (
        WHERE (
            t.order_id IS NULL AND coalesce(r.kind, t.kind) NOT IN (
                'MERGE', 'HOST_FEE', 'OPENING_BALANCE', 'HOST_MOVE', 'TAX', 'PLATFORM_TIP'
            )
        ) OR (
            t.refund_of_id IS NULL AND o.type = t.kind AND o.import_key IS NULL
            AND (o.currency, coalesce(o.approved_amount, o.amount)) IS DISTINCT FROM (t.currency, t.amount)
        )
    ) AS "orderMismatches",
    coalesce(sum(
        (t.from_collective_id IS NOT NULL
            AND NOT EXISTS (SELECT FROM collective x WHERE x.id = t.from_collective_id))::int
        + (t.to_collective_id IS NOT NULL
            AND NOT EXISTS (SELECT FROM collective x WHERE x.id = t.to_collective_id))::int
        + (t.from_host_id IS NOT NULL AND NOT EXISTS (SELECT FROM collective x WHERE x.id = t.from_host_id))::int
        + (t.to_host_id IS NOT NULL AND NOT EXISTS (SELECT FROM collective x WHERE x.id = t.to_host_id))::int
    ), 0)::bigint AS "danglingParties"
FROM transaction t
LEFT JOIN LATERAL (SELECT * FROM "order" WHERE id = t.order_id OFFSET 0) o ON true
LEFT JOIN LATERAL (SELECT kind FROM transaction WHERE id = t.refund_of_id OFFSET 0) r ON true
CROSS JOIN LATERAL (
    SELECT t.gross - CASE WHEN t.currency = t.host_currency THEN t.amount
                     ELSE converted(t.amount, t.fx_rate, t.currency, t.host_currency) END AS fee
) f
CROSS JOIN LATERAL (
    SELECT
        min(g.first_at) AS first_at,
        max(g.last_at) AS last_at,
        sum(g.strays) AS strays,
        count(*) FILTER (WHERE g.total <> 0) AS unbalanced
    FROM (
        SELECT
            min(q.at) AS first_at,
            max(q.at) AS last_at,
            sum(q.amount) AS total,
            count(*) FILTER (
                WHERE NOT EXISTS (SELECT FROM ledger_account a WHERE a.book_id = q.book_id AND a.id = q.account_id)
            ) AS strays
        FROM posting q
        WHERE q.transaction_id = t.id
        GROUP BY q.book_id, q.currency
    ) g
) p
WHERE t.id >= :from_id OR t.id = ANY(CAST(:late AS uuid[]))

-- figures --
-- Compare the postings of each transaction with those that follow from its figures.
SELECT count(*) AS "figuresNotPosted"
FROM transaction t
LEFT JOIN LATERAL (SELECT kind FROM transaction WHERE id = t.refund_of_id OFFSET 0) r ON true
WHERE (t.id >= :from_id OR t.id = ANY(CAST(:late AS uuid[])))
    AND EXISTS (
        SELECT
        FROM (
            SELECT y.book_id, y.owner_id, y.currency, y.kind, y.amount
            FROM transaction_legs(t, coalesce(r.kind, t.kind), CAST(:platform_id AS uuid)) y
            UNION ALL
            SELECT a.book_id, a.owner_id, q.currency, a.kind, -q.amount
            FROM posting q
            JOIN ledger_account a ON a.book_id = q.book_id AND a.id = q.account_id
            WHERE q.transaction_id = t.id
        ) x
        GROUP BY x.book_id, x.owner_id, x.currency, x.kind
        HAVING sum(x.amount) <> 0
    )

-- refunds --
-- Compare the totals of refunds with the refunds, and with what they refund.
SELECT count(*) AS "overRefunds"
FROM (
    SELECT refund_of_id AS id
    FROM transaction
    WHERE refund_of_id IS NOT NULL AND (id >= :from_id OR id = ANY(CAST(:late AS uuid[])))
    UNION
    SELECT transaction_id FROM refund_total WHERE CAST(:full AS boolean)
) x
CROSS JOIN LATERAL (SELECT -sum(amount) AS total FROM transaction WHERE refund_of_id = x.id) r
LEFT JOIN refund_total s ON s.transaction_id = x.id
LEFT JOIN transaction t ON t.id = x.id
WHERE r.total IS DISTINCT FROM s.refunded OR s.amount IS DISTINCT FROM t.amount OR r.total > t.amount

-- raised --
-- Compare what collectives and tiers raised with their gifts and the refunds of these. Only in a full run.
SELECT count(*) AS "raisedMismatches"
FROM (
    SELECT s.id, t.currency, sum(t.amount) AS total
    FROM transaction t
    LEFT JOIN transaction g ON g.id = t.refund_of_id
    LEFT JOIN "order" o ON o.id = t.order_id AND coalesce(g.kind, t.kind) = 'DONATION'
    CROSS JOIN LATERAL unnest(ARRAY[coalesce(g.to_collective_id, t.to_collective_id), o.tier_id]) AS s(id)
    WHERE CAST(:full AS boolean) AND coalesce(g.kind, t.kind) IN ('DONATION', 'ADDED_FUNDS') AND s.id IS NOT NULL
    GROUP BY s.id, t.currency
) x
FULL JOIN raised_total m ON m.subject_id = x.id AND m.currency = x.currency
WHERE CAST(:full AS boolean) AND m.raised_minor IS DISTINCT FROM x.total

-- orders --
-- Check the open orders, and those settled since the last run.
SELECT
    (
        SELECT count(*)
        FROM (SELECT id, status, type FROM "order" WHERE status IN ('PENDING', 'APPROVED')) o
        FULL JOIN (
            SELECT s.order_id
            FROM hold s
            WHERE s.released_at IS NULL
                -- Of a payment: a refund waits for the provider or to be posted, or a bank disputes it.
                AND NOT EXISTS (
                    SELECT FROM provider_refund r
                    WHERE r.order_id = s.order_id
                        AND (r.status IN ('REQUESTED', 'SENT')
                            OR r.status = 'CONFIRMED' AND NOT r.is_stray
                                AND NOT EXISTS (SELECT FROM transaction t WHERE t.id = r.id))
                )
                AND NOT EXISTS (
                    SELECT FROM provider_payment p
                    WHERE p.order_id = s.order_id
                        AND (p.dispute_status = 'OPEN' OR (p.dispute_status = 'LOST' AND NOT p.is_dispute_posted))
                )
        ) h ON h.order_id = o.id
        WHERE coalesce(
            (o.status = 'APPROVED' AND o.type IN ('EXPENSE', 'CASH_OUT'))
            OR (o.status = 'PENDING' AND o.type IN ('REDEMPTION', 'CASH_OUT')),
            false
        ) <> (h.order_id IS NOT NULL)
    ) AS "strayHolds",
    (
        SELECT count(*)
        FROM (
            SELECT DISTINCT order_id AS id FROM order_action WHERE id >= :from_id AND NOT CAST(:full AS boolean)
            UNION ALL
            SELECT id FROM "order" WHERE CAST(:full AS boolean)
        ) x
        CROSS JOIN LATERAL (SELECT status, type, tip FROM "order" WHERE id = x.id OFFSET 0) o
        WHERE (o.status IN ('PAID', 'REFUNDED') OR (o.status = 'APPROVED' AND o.type = 'REDEMPTION'))
            AND (
                NOT EXISTS (SELECT FROM transaction t WHERE t.order_id = x.id OFFSET 0)
                OR o.tip IS NOT NULL AND NOT EXISTS (
                    SELECT FROM transaction t WHERE t.order_id = x.id AND t.kind = 'PLATFORM_TIP' OFFSET 0
                )
            )
    ) AS "paidWithoutTransaction"

-- mark --
-- Remember how far each account has been checked. Runs in the snapshot that was checked.
INSERT INTO audited_account AS c (book_id, account_id, seq, balance)
SELECT book_id, id, seq, posted FROM ledger_account WHERE seq > 0
ON CONFLICT (book_id, account_id) DO UPDATE SET seq = excluded.seq, balance = excluded.balance
WHERE (c.seq, c.balance) <> (excluded.seq, excluded.balance)
