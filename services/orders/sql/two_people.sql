-- Questions about approval by two people; the functions are in models/migrations/sql/functions/approval_limits.sql.

-- approvals --
-- The limit of what one person may approve of a locked order, and who stands for it so far, with the amount of the
-- newest approval by one of them.
SELECT o.status, o.updated_at, single_approval_limit(o) AS single_limit, ARRAY(SELECT approvers(o)) AS people,
       remaining_person(CAST(:person_id AS uuid)) AS person_id,
       (SELECT a.amount FROM approval a WHERE a.order_id = o.id AND a.voided_at IS NULL
        AND remaining_person(a.approver_id) IN (SELECT approvers(o)) ORDER BY a.created_at DESC LIMIT 1) AS amount
FROM "order" AS o WHERE o.id = :order_id

-- single_limit --
-- The largest amount of an order that one person may approve, if there is a limit.
SELECT single_approval_limit(o) FROM "order" AS o WHERE o.id = :order_id

-- needs --
-- How many people have to approve each order, and how many of them are missing while it is pending.
SELECT o.id,
       CASE WHEN l.is_above THEN 2 ELSE 1 END AS needed,
       CASE WHEN o.status <> 'PENDING' THEN 0 WHEN l.is_above
            THEN greatest(1, 2 - (SELECT count(*)::int FROM approvers(o))) ELSE 1 END AS missing
FROM "order" AS o
-- OFFSET keeps the limit from being computed for each use of it.
CROSS JOIN LATERAL (SELECT o.amount + coalesce(o.tip, 0) > single_approval_limit(o) AS is_above OFFSET 0) AS l
WHERE o.id = ANY(:order_ids)
