-- Queueing of the same mail to many: one statement for any number of recipients, each of whom gets it once.

-- to_admins --
-- Queue a mail to each verified ADMIN of the collectives, and to users among them.
SELECT mail_queue(
    CAST(:template AS text), CAST(:kind AS text), array_agg(p.email), array_agg(CAST(:payload AS jsonb)),
    array_agg(CAST(:order_id AS uuid)), CAST(:sender AS uuid), CAST(:network AS text), CAST(:limits AS jsonb)
) AS wait_seconds
FROM (
    SELECT c.email
    FROM (
        SELECT m.member_id FROM member m
        WHERE m.collective_id = ANY(CAST(:ids AS uuid[])) AND m.role = 'ADMIN' AND m.until IS NULL
        UNION
        SELECT unnest(CAST(:ids AS uuid[]))
    ) u (id)
    JOIN credential c ON c.user_id = u.id
    WHERE c.verified_at IS NOT NULL AND u.id IS DISTINCT FROM CAST(:except_id AS uuid)
      AND NOT EXISTS (SELECT FROM muted_topic t WHERE t.user_id = u.id AND t.topic = CAST(:topic AS text))
) p

-- to_users --
-- Queue a mail to each of the users with an address, verified or not.
SELECT mail_queue(
    CAST(:template AS text), CAST(:kind AS text), array_agg(c.email), array_agg(CAST(:payload AS jsonb)),
    array_agg(CAST(:order_id AS uuid)), CAST(:sender AS uuid), CAST(:network AS text), CAST(:limits AS jsonb)
) AS wait_seconds
FROM credential c
WHERE c.user_id = ANY(CAST(:ids AS uuid[])) AND c.user_id IS DISTINCT FROM CAST(:except_id AS uuid)
  AND NOT EXISTS (SELECT FROM muted_topic t WHERE t.user_id = c.user_id AND t.topic = CAST(:topic AS text))
