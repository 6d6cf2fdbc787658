-- due --
-- Gifts that are due, the longest waiting first.
SELECT s.id, s.from_id, s.to_id FROM subscription s WHERE s.due_at <= :at ORDER BY s.due_at, s.id LIMIT :count

-- claim --
-- Locks both sides of a gift, then the gift, if it is still due and nobody else works on it; archiving, leaving a
-- host and orders lock in the same order.
WITH sides AS MATERIALIZED (
    SELECT c.id FROM collective c WHERE c.id IN (:from_id, :to_id) ORDER BY c.id FOR SHARE)
SELECT s.id FROM subscription s
WHERE s.id = :gift_id AND s.due_at <= :at AND (SELECT count(*) FROM sides) = 2
FOR NO KEY UPDATE OF s SKIP LOCKED

-- unpaid --
-- For each gift, how many of its last orders, up to a period, expired without a payment.
SELECT x.id, count(*) FILTER (WHERE o.status = 'EXPIRED') AS expired
FROM unnest(CAST(:ids AS uuid[]), CAST(:periods AS date[])) x (id, period)
CROSS JOIN LATERAL (
    SELECT o.status FROM "order" o WHERE o.subscription_id = x.id AND o.period <= x.period
    ORDER BY o.period DESC LIMIT :count) o
GROUP BY x.id

-- lock --
-- Locks both sides of the gift of which an order is a period, then the gift, in the order of `claim`.
WITH sides AS MATERIALIZED (
    SELECT c.id FROM collective c JOIN "order" o ON o.id = :order_id AND c.id IN (o.from_id, o.to_id)
    WHERE o.subscription_id IS NOT NULL ORDER BY c.id FOR SHARE OF c)
SELECT s.id FROM subscription s JOIN "order" o ON o.subscription_id = s.id
WHERE o.id = :order_id AND (SELECT count(*) FROM sides) = 2
FOR NO KEY UPDATE OF s
