-- Sign-in: credentials, tokens, and limits on attempts.

-- A user's sign-in data, kept out of the collective table so that no public query can reach it.
CREATE TABLE credential (
    user_id uuid CONSTRAINT pk_credential PRIMARY KEY,
    email text NOT NULL,
    password_hash text,  -- An argon2id hash with its parameters; null until a password is set.
    verified_at timestamptz,
    CONSTRAINT uq_credential_email UNIQUE (email),
    CONSTRAINT ck_credential_email_lower CHECK (email = lower(email))
);

-- A token sent by email, stored as its SHA-256.
CREATE TABLE email_token (
    token_hash bytea CONSTRAINT pk_email_token PRIMARY KEY,
    user_id uuid NOT NULL,
    purpose text NOT NULL,
    password_hash text,  -- Hash of the password chosen at sign-up; applied once the address is verified.
    name text,  -- The name chosen at sign-up; applied once the address is verified.
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    CONSTRAINT ck_email_token_purpose_known CHECK (purpose IN ('VERIFY', 'RESET'))
);

-- A bearer token, stored as its SHA-256.
CREATE TABLE token (
    id uuid CONSTRAINT pk_token PRIMARY KEY,
    user_id uuid NOT NULL,
    kind text NOT NULL,
    name text,
    token_hash bytea NOT NULL,
    scopes text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    CONSTRAINT uq_token_token_hash UNIQUE (token_hash),
    CONSTRAINT ck_token_kind_known CHECK (kind IN ('SESSION', 'ACCESS'))
);

-- A merged account's former address. It leads to the remaining account; nobody signs in with it.
CREATE TABLE merged_email (
    email text CONSTRAINT pk_merged_email PRIMARY KEY,
    user_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- The number of attempts per key in the current time window.
CREATE TABLE throttle (
    key text CONSTRAINT pk_throttle PRIMARY KEY,
    attempts integer NOT NULL,
    window_ends_at timestamptz NOT NULL
);

-- The rate-limit points of a user or network address at `at`. Unlogged: a crash refills all buckets.
CREATE UNLOGGED TABLE rate_bucket (
    key text CONSTRAINT pk_rate_bucket PRIMARY KEY,
    level double precision NOT NULL,
    granted double precision NOT NULL,  -- The size of the last lease, in points.
    at timestamptz NOT NULL
);
