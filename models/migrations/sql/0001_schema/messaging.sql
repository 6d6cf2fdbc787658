-- Email and live events.

-- An email to send, written in the transaction of the event that it reports.
CREATE TABLE outbox (
    id uuid CONSTRAINT pk_outbox PRIMARY KEY,
    template text NOT NULL,
    recipient text NOT NULL,  -- The email address.
    -- The template's values; cleared on delivery if they contain a token.
    payload jsonb NOT NULL DEFAULT '{}',
    order_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    delivered_at timestamptz,
    last_error text,
    CONSTRAINT ck_outbox_attempts_not_negative CHECK (attempts >= 0)
);

-- A topic about which a user receives no email.
CREATE TABLE muted_topic (
    user_id uuid NOT NULL,
    topic text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_muted_topic PRIMARY KEY (user_id, topic),
    CONSTRAINT ck_muted_topic_topic_known CHECK (
        topic IN ('MONEY', 'HOURS', 'EVENTS', 'REDEMPTIONS', 'MEMBERS'))
);

-- A change that subscribers are told about; the database writes it in the transaction of the change.
--
-- Ordered by (xid, id), because a sequence alone does not follow the order of commits. The first row is a
-- mark: events before it have been pruned. No CHECK on `kind`: it would be parsed with every posting.
CREATE TABLE live_event (
    -- The database transaction that wrote it.
    xid bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    id bigint GENERATED ALWAYS AS IDENTITY,
    kind text NOT NULL,
    node_id uuid NOT NULL,  -- The order, the transaction, or the user who was checked in.
    -- The collectives concerned: payer, payee, then others whose balance may have changed; or the event.
    collective_ids uuid[] NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_live_event PRIMARY KEY (xid, id)
);

-- The first mark.
INSERT INTO live_event (kind, node_id, collective_ids)
VALUES ('START', '00000000-0000-0000-0000-000000000000', '{}');
