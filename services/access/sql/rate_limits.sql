-- Buckets of points: leased in chunks by server processes, restored over time.

-- lease_points --
-- Return unused points to a bucket, restore those of the time since, and lease what the operation needs
-- plus a chunk; a smaller chunk as the bucket empties, and nothing if the bucket has less than is needed.
INSERT INTO rate_bucket AS b (key, level, granted, at)
VALUES (
    :key,
    :capacity - least(:need + :chunk, :capacity),
    least(:need + :chunk, :capacity),
    clock_timestamp()
)
ON CONFLICT (key) DO UPDATE SET (level, granted, at) = (
    SELECT available - points, points, now
    FROM (
        SELECT
            available,
            now,
            CASE
                WHEN available < :need THEN 0
                ELSE :need + least(
                    available - :need, :chunk, greatest((available - :need) / 4, :chunk / 10)
                )
            END AS points
        FROM (
            SELECT
                now,
                least(
                    :capacity,
                    b.level + :returned + :restore * greatest(0, extract(epoch FROM now - b.at))
                ) AS available
            FROM (SELECT clock_timestamp() AS now) AS clock
        ) AS bucket
    ) AS lease
)
RETURNING level, granted

-- delete_full_buckets --
-- Delete buckets that have had time to fill up again: a new row starts full.
DELETE FROM rate_bucket
WHERE at < now() - make_interval(secs => :seconds)

-- user_of_token --
-- Select the user of a valid token, to charge the user's bucket.
SELECT user_id
FROM token
WHERE token_hash = :token_hash AND revoked_at IS NULL AND expires_at > now()
