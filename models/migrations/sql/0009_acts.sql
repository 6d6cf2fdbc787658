-- The audit log: every act that is no order. Triggers write it (functions/acts.sql); nobody else can.

CREATE TABLE act (
    id uuid CONSTRAINT pk_act PRIMARY KEY DEFAULT gen_random_uuid(),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind text NOT NULL,
    change text NOT NULL CONSTRAINT ck_act_change_known CHECK (change IN ('ADDED', 'CHANGED', 'REMOVED')),
    mutation text,
    actor_id uuid,
    token_id uuid,
    token_kind text,
    network text,
    database_role text NOT NULL,
    collective_id uuid,
    other_id uuid,
    is_security boolean NOT NULL,
    old_values jsonb NOT NULL DEFAULT '{}',
    new_values jsonb NOT NULL DEFAULT '{}',
    hidden_columns text[] NOT NULL DEFAULT '{}',
    xid bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    CONSTRAINT ck_act_token_of_actor CHECK (actor_id IS NOT NULL OR token_id IS NULL)
);
CREATE INDEX ix_act_at ON act (at, id);

-- Whose logs show an act, in the order in which they are paged.
CREATE TABLE act_subject (
    collective_id uuid NOT NULL,
    at timestamptz NOT NULL,
    act_id uuid NOT NULL,
    is_security boolean NOT NULL,
    CONSTRAINT pk_act_subject PRIMARY KEY (collective_id, at, act_id)
);
CREATE INDEX ix_act_subject_security ON act_subject (collective_id, at, act_id) WHERE is_security;

GRANT SELECT ON act, act_subject TO commonweal_app;
