-- People who were erased, and copies of what the database holds of a person.

ALTER TABLE collective
    ADD COLUMN erased_at timestamptz,
    ADD CONSTRAINT ck_collective_erased_is_archived_user
        CHECK (erased_at IS NULL OR (type = 'USER' AND archived_at IS NOT NULL));
CREATE INDEX ix_collective_erased_at ON collective (erased_at) WHERE erased_at IS NOT NULL;
CREATE INDEX ix_collective_unclaimed ON collective (created_at)
    WHERE type = 'USER' AND claimed_at IS NULL AND archived_at IS NULL;

-- The file of an erased person's receipt is deleted; the row stays.
ALTER TABLE receipt ADD COLUMN erased_at timestamptz;
GRANT UPDATE (erased_at) ON receipt TO commonweal_app;

-- What erasing a person looks for in histories.
CREATE INDEX ix_act_network ON act (actor_id) WHERE network IS NOT NULL;
CREATE INDEX ix_order_action_reason ON order_action (actor_id) WHERE reason IS NOT NULL;

CREATE TABLE data_export (
    id uuid CONSTRAINT pk_data_export PRIMARY KEY,
    user_id uuid NOT NULL CONSTRAINT fk_data_export_user_id_collective REFERENCES collective (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    expires_at timestamptz,
    downloaded_at timestamptz,
    removed_at timestamptz,
    CONSTRAINT ck_data_export_expires_within_a_day CHECK (
        (finished_at IS NULL) = (expires_at IS NULL) AND expires_at <= finished_at + interval '24 hours'),
    CONSTRAINT ck_data_export_downloaded_in_time CHECK (downloaded_at IS NULL OR downloaded_at <= expires_at)
);
CREATE UNIQUE INDEX uq_data_export_waiting ON data_export (user_id) WHERE finished_at IS NULL;
CREATE INDEX ix_data_export_kept ON data_export (created_at) WHERE removed_at IS NULL;
GRANT SELECT, INSERT ON data_export TO commonweal_app;
GRANT UPDATE (finished_at, expires_at, downloaded_at, removed_at) ON data_export TO commonweal_app;
