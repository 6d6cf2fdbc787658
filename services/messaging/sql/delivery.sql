-- What became of mails that were claimed: one statement for any number of them.

-- record --
-- Mark mails as delivered or as refused for good, schedule the next attempt of others, give back unsent ones.
UPDATE outbox o
SET delivered_at = CASE WHEN r.outcome = 'DELIVERED' THEN now() ELSE o.delivered_at END,
    failed_at = CASE WHEN r.outcome = 'REFUSED' THEN now() ELSE o.failed_at END,
    last_error = CASE WHEN r.outcome = 'UNSENT' THEN o.last_error ELSE r.error END,
    next_attempt_at = CASE r.outcome
        WHEN 'FAILED' THEN now() + make_interval(secs => r.delay_seconds)
        WHEN 'UNSENT' THEN r.due_at
        ELSE o.next_attempt_at
    END,
    attempts = o.attempts - CASE WHEN r.outcome = 'UNSENT' THEN 1 ELSE 0 END,
    payload = CASE
        WHEN r.outcome IN ('DELIVERED', 'REFUSED') AND jsonb_exists(o.payload, 'token') THEN '{}'
        ELSE o.payload
    END
FROM jsonb_to_recordset(CAST(:outcomes AS jsonb)) r (
    id uuid, attempts integer, outcome text, error text, delay_seconds double precision, due_at timestamptz
)
-- An attempt that outlived its lease changes nothing: another one runs, or has delivered the mail.
WHERE o.id = r.id AND (r.outcome = 'DELIVERED' OR (o.attempts = r.attempts AND o.delivered_at IS NULL))
