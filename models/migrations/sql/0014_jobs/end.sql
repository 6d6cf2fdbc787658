-- The library's functions see its own schema, whoever calls them, and the application's role may call them.

DO $$
DECLARE f regprocedure;
BEGIN
    FOR f IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'jobs'::regnamespace LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, jobs, pg_temp', f);
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO commonweal_app', f);
    END LOOP;
END $$;
RESET search_path;

-- Why the last attempt of a job failed; the library keeps only that it did.
CREATE TABLE jobs.failure (
    job_id bigint CONSTRAINT pk_failure PRIMARY KEY
        CONSTRAINT fk_failure_job_id REFERENCES jobs.procrastinate_jobs (id) ON DELETE CASCADE,
    failed_at timestamptz NOT NULL DEFAULT now(),
    error text NOT NULL CONSTRAINT ck_failure_error CHECK (length(error) BETWEEN 1 AND 1000)
);
-- The few that did not end well, and what ended when.
CREATE INDEX ix_job_ended_badly ON jobs.procrastinate_jobs (id) WHERE status IN ('failed', 'cancelled', 'aborted');
CREATE INDEX ix_job_ended_at ON jobs.procrastinate_events (at)
    WHERE type IN ('succeeded', 'failed', 'cancelled', 'aborted');

GRANT USAGE ON SCHEMA jobs TO commonweal_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA jobs TO commonweal_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA jobs TO commonweal_app;

-- Copies of personal data that wait already are made by jobs from now on.
INSERT INTO jobs.procrastinate_jobs (queue_name, task_name, args)
SELECT 'default', 'make_export', jsonb_build_object('export_id', id) FROM data_export WHERE finished_at IS NULL;

-- What is deleted once it is old is found by its age.
CREATE INDEX ix_outbox_ended ON outbox (created_at) WHERE delivered_at IS NOT NULL OR failed_at IS NOT NULL;
CREATE INDEX ix_outbox_waiting ON outbox (lane, created_at) WHERE delivered_at IS NULL AND failed_at IS NULL;
CREATE INDEX ix_idempotency_created_at ON idempotency (created_at);
CREATE INDEX ix_token_expires_at ON token (expires_at);
CREATE INDEX ix_token_revoked_at ON token (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX ix_email_token_expires_at ON email_token (expires_at);
CREATE INDEX ix_receipt_sha256 ON receipt (sha256);
CREATE INDEX ix_email_change_session_id ON email_change (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX ix_provider_sign_in_session_id ON provider_sign_in (session_id) WHERE session_id IS NOT NULL;

-- Old rows of these go by retention_prune alone, which keeps what is still needed.
REVOKE DELETE ON throttle FROM commonweal_app;
DROP TRIGGER IF EXISTS append_only ON idempotency;
