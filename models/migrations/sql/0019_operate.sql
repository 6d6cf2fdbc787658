-- Backups that `commonweal backup` made; others are noted by nobody. The owner alone adds to it.
CREATE TABLE backup_run (
    id bigint GENERATED ALWAYS AS IDENTITY,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    size_bytes bigint NOT NULL,
    files bigint NOT NULL,
    CONSTRAINT pk_backup_run PRIMARY KEY (id),
    CONSTRAINT backup_run_ends CHECK (finished_at >= started_at)
);
GRANT SELECT ON backup_run TO commonweal_app;

-- Lists filtered by what is rare in them: without an index they read past all that is not.
CREATE INDEX ix_order_type ON "order" (type, created_at, id);
CREATE INDEX ix_order_status ON "order" (status, created_at, id);
CREATE INDEX ix_order_addressed_to_id ON "order" (addressed_to_id, created_at, id)
    WHERE addressed_to_id IS NOT NULL;
CREATE INDEX ix_transaction_kind ON transaction (kind, at, id);
CREATE INDEX ix_transaction_group_id ON transaction (group_id);
CREATE INDEX ix_collective_name ON collective (name, id);
