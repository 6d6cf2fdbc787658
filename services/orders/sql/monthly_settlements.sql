-- What hosts keep for the platform, by month.

-- due --
-- Hosts that keep something for the platform and have no settlement of a month.
SELECT a.book_id
FROM ledger_account a
JOIN collective h ON h.id = a.book_id
WHERE a.owner_id = :platform_id AND a.book_id <> :platform_id AND a.kind = 'BALANCE' AND a.currency = h.currency
    AND a.posted > 0 AND h.host_id = h.id AND h.host_approved_at IS NOT NULL AND h.archived_at IS NULL
    AND NOT EXISTS (SELECT FROM settlement s WHERE s.host_id = a.book_id AND s.month = :month)
ORDER BY a.book_id

-- claim --
-- Take a host for this transaction, unless another worker has it.
SELECT pg_try_advisory_xact_lock(uuid_hash_extended(:host_id, 35))

-- kept --
-- What a host keeps now and kept at the end of a month, what of it open settlements will pay, and which part of it
-- came as tips since the month that was settled last.
SELECT
    a.posted AS now_minor,
    coalesce((
        SELECT p.balance_after
        FROM posting p
        WHERE p.book_id = a.book_id AND p.account_id = a.id AND p.at < :until
        ORDER BY p.at DESC, p.seq DESC
        LIMIT 1
    ), 0) AS then_minor,
    coalesce((
        SELECT sum(s.paid_minor)
        FROM "order" o
        JOIN settlement s ON s.order_id = o.id
        WHERE o.from_id = a.book_id AND o.type = 'SETTLEMENT' AND o.status = 'PENDING' AND s.covers = 'PLATFORM_FEES'
    ), 0)::bigint AS open_minor,
    coalesce((
        SELECT sum(p.amount)
        FROM posting p
        JOIN transaction t ON t.id = p.transaction_id
        LEFT JOIN transaction g ON g.id = t.refund_of_id
        WHERE p.book_id = a.book_id AND p.account_id = a.id AND p.at < :until
            AND p.at >= coalesce((
                SELECT max(s.month) + interval '1 month'
                FROM settlement s
                JOIN "order" o ON o.id = s.order_id
                WHERE s.host_id = a.book_id AND o.status IN ('PENDING', 'PAID')
            ) AT TIME ZONE 'UTC', '-infinity')
            AND coalesce(g.kind, t.kind) = 'PLATFORM_TIP'
    ), 0)::bigint AS tips_minor
FROM ledger_account a
WHERE a.book_id = :host_id AND a.owner_id = :platform_id AND a.kind = 'BALANCE' AND a.currency = :currency
    AND NOT EXISTS (SELECT FROM settlement s WHERE s.host_id = a.book_id AND s.month = :month)
