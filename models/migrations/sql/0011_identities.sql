-- Changes of address that can be undone, devices, tokens made with tokens, and identities of other providers.

CREATE TABLE email_change (
    id uuid CONSTRAINT pk_email_change PRIMARY KEY,
    user_id uuid NOT NULL CONSTRAINT fk_email_change_user_id REFERENCES collective (id),
    old_email text NOT NULL,
    new_email text NOT NULL,
    token_hash bytea NOT NULL CONSTRAINT uq_email_change_token_hash UNIQUE,
    session_id uuid CONSTRAINT fk_email_change_session_id REFERENCES token (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    confirmed_at timestamptz,
    undo_hash bytea CONSTRAINT uq_email_change_undo_hash UNIQUE,
    undo_until timestamptz,
    undone_at timestamptz,
    CONSTRAINT ck_email_change_differs CHECK (old_email <> new_email),
    CONSTRAINT ck_email_change_lower CHECK (new_email = lower(new_email) AND old_email = lower(old_email)),
    CONSTRAINT ck_email_change_confirmed CHECK (
        (confirmed_at IS NULL) = (undo_hash IS NULL) AND (confirmed_at IS NULL) = (undo_until IS NULL)),
    CONSTRAINT ck_email_change_confirmed_in_time CHECK (confirmed_at <= expires_at),
    CONSTRAINT ck_email_change_undo_until CHECK (undo_until <= confirmed_at + interval '7 days'),
    CONSTRAINT ck_email_change_undone_in_time CHECK (
        undone_at IS NULL OR (confirmed_at IS NOT NULL AND undone_at <= undo_until))
);
CREATE UNIQUE INDEX uq_email_change_waiting ON email_change (user_id)
    WHERE confirmed_at IS NULL AND ended_at IS NULL;
CREATE INDEX ix_email_change_user_id ON email_change (user_id);
CREATE INDEX ix_email_change_old_email ON email_change (old_email) WHERE confirmed_at IS NOT NULL;
GRANT SELECT, INSERT ON email_change TO commonweal_app;
GRANT UPDATE (ended_at, confirmed_at, undo_hash, undo_until, undone_at) ON email_change TO commonweal_app;

CREATE TABLE device (
    id uuid CONSTRAINT pk_device PRIMARY KEY,
    user_id uuid NOT NULL CONSTRAINT fk_device_user_id REFERENCES collective (id),
    key_hash bytea NOT NULL,
    name text,
    network text,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT uq_device_user_id_key_hash UNIQUE (user_id, key_hash)
);
GRANT SELECT, INSERT, DELETE ON device TO commonweal_app;
GRANT UPDATE (name, network, last_used_at) ON device TO commonweal_app;

ALTER TABLE token
    ADD COLUMN device_id uuid CONSTRAINT fk_token_device_id REFERENCES device (id) ON DELETE SET NULL,
    ADD COLUMN parent_id uuid CONSTRAINT fk_token_parent_id REFERENCES token (id),
    ADD CONSTRAINT ck_token_parent CHECK (parent_id IS NULL OR kind = 'ACCESS' AND parent_id <> id);
CREATE INDEX ix_token_device_id ON token (device_id) WHERE device_id IS NOT NULL;
CREATE INDEX ix_token_parent_id ON token (parent_id) WHERE parent_id IS NOT NULL;

CREATE TABLE identity (
    id uuid CONSTRAINT pk_identity PRIMARY KEY,
    user_id uuid NOT NULL CONSTRAINT fk_identity_user_id REFERENCES collective (id),
    issuer text NOT NULL,
    subject text NOT NULL,
    email text,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT uq_identity_issuer_subject UNIQUE (issuer, subject),
    CONSTRAINT ck_identity_subject CHECK (subject <> '' AND length(subject) <= 255 AND issuer <> '')
);
CREATE INDEX ix_identity_user_id ON identity (user_id);
GRANT SELECT, INSERT, DELETE ON identity TO commonweal_app;
GRANT UPDATE (email, last_used_at) ON identity TO commonweal_app;

-- A sign-in with a provider under way, and then the identity that it proved while it waits for a password.
CREATE TABLE provider_sign_in (
    state_hash bytea CONSTRAINT pk_provider_sign_in PRIMARY KEY,
    browser_hash bytea NOT NULL,
    provider text NOT NULL,
    next_path text NOT NULL CONSTRAINT ck_provider_sign_in_next_path CHECK (next_path ~ '^/([^/\\]|$)'),
    user_id uuid CONSTRAINT fk_provider_sign_in_user_id REFERENCES collective (id),
    session_id uuid CONSTRAINT fk_provider_sign_in_session_id REFERENCES token (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    subject text,
    email text,
    ended_at timestamptz,
    CONSTRAINT ck_provider_sign_in_used_in_time CHECK (used_at <= expires_at),
    CONSTRAINT ck_provider_sign_in_proved CHECK (subject IS NULL OR used_at IS NOT NULL)
);
CREATE INDEX ix_provider_sign_in_expires_at ON provider_sign_in (expires_at);
GRANT SELECT, INSERT, DELETE ON provider_sign_in TO commonweal_app;
GRANT UPDATE (used_at, subject, email, ended_at) ON provider_sign_in TO commonweal_app;
