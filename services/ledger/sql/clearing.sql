-- What hosts owe each other. An account of kind CLEARING is in the book of one host, owned by its counterpart; its
-- balance is positive where the host owes, negative where it is owed. The oldest debts are settled first: what
-- is left is the newest postings that add up to the balance.

-- set_limit --
-- Set what a host allows its counterpart to owe it.
SELECT ledger_set_clearing_limit(:host_id, :counterpart_id, :currency, :limit_minor)

-- owed --
-- What a debtor owes a creditor, in the creditor's currency.
SELECT greatest(-a.posted, 0)
FROM ledger_account a
WHERE a.book_id = :creditor_id AND a.owner_id = :debtor_id AND a.currency = :currency AND a.kind = 'CLEARING'

-- platform_fees --
-- What a host keeps for the platform in its own currency.
SELECT a.posted - a.held
FROM ledger_account a
WHERE a.book_id = :debtor_id AND a.owner_id = :platform_id AND a.currency = :currency AND a.kind = 'BALANCE'

-- list --
-- The clearing accounts of all hosts: whoever reads them names one.
SELECT
    a.book_id AS host_id,
    a.owner_id AS counterpart_id,
    c.slug,
    a.currency,
    greatest(-a.posted, 0) AS owed_minor,
    greatest(a.posted, 0) AS owes_minor,
    coalesce(a.credit_limit, 0) AS limit_minor,
    coalesce(m.credit_limit, 0) AS counterpart_limit_minor,
    d.oldest_at AS oldest_unsettled_at
FROM ledger_account a
JOIN collective c ON c.id = a.owner_id
LEFT JOIN ledger_account m
    ON m.book_id = a.owner_id AND m.owner_id = a.book_id AND m.currency = a.currency AND m.kind = 'CLEARING'
CROSS JOIN LATERAL (
    -- From the newest posting back, until they add up to the balance.
    WITH RECURSIVE walk AS (
        SELECT a.seq + 1 AS seq, CAST(NULL AS timestamptz) AS at, 0::numeric AS amount, 0::numeric AS newer
        UNION ALL
        SELECT p.seq, p.at, CASE WHEN sign(p.amount) = sign(a.posted) THEN abs(p.amount) ELSE 0 END, w.newer + w.amount
        FROM walk w
        JOIN posting p ON p.book_id = a.book_id AND p.account_id = a.id AND p.seq = w.seq - 1
        WHERE w.newer + w.amount < abs(a.posted)
    )
    SELECT min(w.at) AS oldest_at FROM walk w WHERE w.amount > 0
) d
WHERE a.kind = 'CLEARING'

-- ageing --
-- What is owed between hosts, by the age in days of what is not settled.
SELECT
    a.book_id AS creditor_id,
    a.owner_id AS debtor_id,
    creditor.slug AS creditor_slug,
    debtor.slug AS debtor_slug,
    a.currency,
    -a.posted AS amount_minor,
    d.days_0_to_30_minor,
    d.days_31_to_60_minor,
    d.days_61_to_90_minor,
    d.older_minor
FROM ledger_account a
JOIN collective creditor ON creditor.id = a.book_id
JOIN collective debtor ON debtor.id = a.owner_id
CROSS JOIN LATERAL (
    WITH RECURSIVE walk AS (
        SELECT a.seq + 1 AS seq, CAST(NULL AS timestamptz) AS at, 0::numeric AS amount, 0::numeric AS newer
        UNION ALL
        SELECT p.seq, p.at, greatest(-p.amount, 0), w.newer + w.amount
        FROM walk w
        JOIN posting p ON p.book_id = a.book_id AND p.account_id = a.id AND p.seq = w.seq - 1
        WHERE w.newer + w.amount < abs(a.posted)
    )
    SELECT
        coalesce(sum(q.open) FILTER (WHERE q.days < 31), 0)::bigint AS days_0_to_30_minor,
        coalesce(sum(q.open) FILTER (WHERE q.days >= 31 AND q.days < 61), 0)::bigint AS days_31_to_60_minor,
        coalesce(sum(q.open) FILTER (WHERE q.days >= 61 AND q.days < 91), 0)::bigint AS days_61_to_90_minor,
        coalesce(sum(q.open) FILTER (WHERE q.days >= 91), 0)::bigint AS older_minor
    FROM (
        SELECT extract(EPOCH FROM now() - w.at) / 86400 AS days, least(w.amount, -a.posted - w.newer) AS open
        FROM walk w
        WHERE w.amount > 0
    ) q
) d
WHERE a.kind = 'CLEARING' AND a.posted < 0
