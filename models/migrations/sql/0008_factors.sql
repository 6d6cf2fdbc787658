-- Second factors, passkeys, and sessions that are confirmed again.

ALTER TABLE token
    -- Sessions from before have to be confirmed first.
    ADD COLUMN confirmed_at timestamptz NOT NULL DEFAULT 'epoch',
    -- The second factor that the session was started with, or the passkey; null where the person had none.
    ADD COLUMN factor text CONSTRAINT ck_token_factor_known CHECK (factor IN ('TOTP', 'PASSKEY', 'RECOVERY_CODE'));
ALTER TABLE token ALTER COLUMN confirmed_at SET DEFAULT now();
GRANT UPDATE (confirmed_at) ON token TO commonweal_app;

-- One authenticator app a person. It is a factor once a first code has shown that it works.
CREATE TABLE totp_factor (
    user_id uuid CONSTRAINT pk_totp_factor PRIMARY KEY CONSTRAINT fk_totp_factor_user_id_collective REFERENCES collective,
    secret bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    activated_at timestamptz,
    last_step bigint NOT NULL DEFAULT 0,
    CONSTRAINT ck_totp_factor_used_when_active CHECK (activated_at IS NULL OR last_step > 0)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON totp_factor TO commonweal_app;

CREATE TABLE recovery_code (
    user_id uuid NOT NULL CONSTRAINT fk_recovery_code_user_id_collective REFERENCES collective,
    code_hash bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at timestamptz,
    CONSTRAINT pk_recovery_code PRIMARY KEY (user_id, code_hash)
);
GRANT SELECT, INSERT, DELETE ON recovery_code TO commonweal_app;
GRANT UPDATE (used_at) ON recovery_code TO commonweal_app;

CREATE TABLE passkey (
    id uuid CONSTRAINT pk_passkey PRIMARY KEY,
    user_id uuid NOT NULL CONSTRAINT fk_passkey_user_id_collective REFERENCES collective,
    name text NOT NULL CONSTRAINT ck_passkey_name CHECK (name <> ''),
    credential_id bytea NOT NULL CONSTRAINT uq_passkey_credential_id UNIQUE,
    public_key bytea NOT NULL,
    sign_count bigint NOT NULL CONSTRAINT ck_passkey_sign_count CHECK (sign_count >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz
);
CREATE INDEX ix_passkey_user_id ON passkey (user_id);
GRANT SELECT, INSERT, DELETE ON passkey TO commonweal_app;
GRANT UPDATE (name, sign_count, last_used_at) ON passkey TO commonweal_app;

-- What a sign-in, or a passkey, has to answer: for minutes, and once. Stored as its SHA-256.
CREATE TABLE challenge (
    challenge_hash bytea CONSTRAINT pk_challenge PRIMARY KEY,
    purpose text NOT NULL CONSTRAINT ck_challenge_purpose_known
        CHECK (purpose IN ('SIGN_IN', 'PASSKEY_SIGN_IN', 'PASSKEY_REGISTRATION', 'PASSKEY_CONFIRMATION')),
    user_id uuid CONSTRAINT fk_challenge_user_id_collective REFERENCES collective,
    expires_at timestamptz NOT NULL,
    CONSTRAINT ck_challenge_user CHECK (user_id IS NOT NULL OR purpose = 'PASSKEY_SIGN_IN')
);
CREATE INDEX ix_challenge_user_id ON challenge (user_id);
CREATE INDEX ix_challenge_expires_at ON challenge (expires_at);
GRANT SELECT, INSERT, DELETE ON challenge TO commonweal_app;

-- Collectives and hosts whose ADMINs need a second factor to act as such.
CREATE TABLE factor_requirement (
    collective_id uuid CONSTRAINT pk_factor_requirement PRIMARY KEY
        CONSTRAINT fk_factor_requirement_collective_id_collective REFERENCES collective,
    created_by_id uuid NOT NULL CONSTRAINT fk_factor_requirement_created_by_id_collective REFERENCES collective,
    created_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, DELETE ON factor_requirement TO commonweal_app;

-- Above this amount, in cents of US dollars, what moves money needs a session that was confirmed lately.
ALTER TABLE platform_policy
    ADD COLUMN confirm_above_minor bigint NOT NULL DEFAULT 10000
        CONSTRAINT ck_platform_policy_confirm_above_not_negative CHECK (confirm_above_minor >= 0);
