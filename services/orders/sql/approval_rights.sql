-- Questions about who may decide an order; the functions are in models/migrations/sql/functions/order_guards.sql.

-- is_excluded --
-- True if the person has an interest in the order and so may not approve it; and the largest amount that one person
-- may approve, if there is a limit.
SELECT approval_excluded(o, CAST(:person_id AS uuid)) AS is_excluded, single_approval_limit(o) AS single_limit
FROM "order" AS o WHERE o.id = :order_id

-- has_free_admin --
-- True if the collective that decides the order has an ADMIN who may.
SELECT has_free_admin(o, CAST(:collective_id AS uuid)) FROM "order" AS o WHERE o.id = :order_id

-- giver_must_confirm --
-- True if funds that the person adds in the giver's name need the giver's confirmation.
SELECT giver_must_confirm(CAST(:giver_id AS uuid), CAST(:person_id AS uuid))
