-- Work for payment providers for which no job waits or runs any longer.

-- queue --
-- Queue events and refunds of offered providers for which no job waits or runs, the oldest first.
INSERT INTO jobs.procrastinate_jobs (queue_name, task_name, args)
SELECT :queue, w.job, w.args
FROM (
    SELECT CAST(:event_job AS text) AS job, jsonb_build_object('event_id', e.id) AS args, e.received_at AS since
    FROM provider_event e
    WHERE e.processed_at IS NULL AND e.received_at < now() - CAST(:kept_for AS interval)
        AND e.provider = ANY(CAST(:providers AS text[]))
    UNION ALL
    SELECT CAST(:refund_job AS text), jsonb_build_object('refund_id', r.id), r.created_at
    FROM provider_refund r
    JOIN provider_payment p ON p.order_id = r.order_id
    JOIN provider_account a ON a.id = p.provider_account_id
    WHERE r.status = 'REQUESTED' AND r.created_at < now() - CAST(:kept_for AS interval)
        AND a.provider = ANY(CAST(:providers AS text[]))
) w
WHERE NOT EXISTS (
    SELECT FROM jobs.procrastinate_jobs j
    WHERE j.task_name = w.job AND j.args = w.args AND j.status IN ('todo', 'doing')
)
ORDER BY w.since
LIMIT :limit
RETURNING id
