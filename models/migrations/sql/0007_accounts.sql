-- Sessions that can be told apart and end when idle, people shut out, and passwords chosen after the mailed click.

ALTER TABLE token
    ADD COLUMN last_used_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN device text,
    ADD COLUMN network text;
GRANT UPDATE (last_used_at) ON token TO commonweal_app;

-- The password is chosen after the click: no mailed token carries one.
ALTER TABLE email_token DROP COLUMN password_hash;

CREATE TABLE suspension (
    id uuid CONSTRAINT pk_suspension PRIMARY KEY,
    user_id uuid NOT NULL CONSTRAINT fk_suspension_user_id_collective REFERENCES collective (id),
    by_id uuid NOT NULL CONSTRAINT fk_suspension_by_id_collective REFERENCES collective (id),
    reason text NOT NULL CONSTRAINT ck_suspension_reason CHECK (reason <> ''),
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    ended_by_id uuid CONSTRAINT fk_suspension_ended_by_id_collective REFERENCES collective (id),
    CONSTRAINT ck_suspension_by_another CHECK (by_id <> user_id AND ended_by_id <> user_id),
    CONSTRAINT ck_suspension_ended CHECK ((ended_at IS NULL) = (ended_by_id IS NULL))
);
CREATE UNIQUE INDEX uq_suspension_open ON suspension (user_id) WHERE ended_at IS NULL;
GRANT SELECT, INSERT ON suspension TO commonweal_app;
GRANT UPDATE (ended_at, ended_by_id) ON suspension TO commonweal_app;

-- A mail that its server refuses for good is tried no more.
ALTER TABLE outbox ADD COLUMN failed_at timestamptz;
DROP INDEX ix_outbox_due;
CREATE INDEX ix_outbox_due ON outbox (next_attempt_at, id) WHERE delivered_at IS NULL AND failed_at IS NULL;
