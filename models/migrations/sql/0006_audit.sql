-- Incremental audits: what each complete run found, and how far each account has been checked.

CREATE TABLE audit_run (
    id bigint GENERATED ALWAYS AS IDENTITY,
    is_full boolean NOT NULL,
    transactions bigint NOT NULL,
    postings bigint NOT NULL,
    violations bigint NOT NULL,
    counts jsonb NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    last_full_at timestamptz,
    continue_from timestamptz,
    CONSTRAINT pk_audit_run PRIMARY KEY (id)
);

CREATE TABLE audited_account (
    book_id uuid NOT NULL,
    account_id bigint NOT NULL,
    seq bigint NOT NULL,
    balance bigint NOT NULL,
    CONSTRAINT pk_audited_account PRIMARY KEY (book_id, account_id)
);

-- An account's public id is its number.
CREATE UNIQUE INDEX uq_ledger_account_id ON ledger_account (id);

-- Results are added, never changed; the checked part of an account grows.
GRANT SELECT, INSERT ON audit_run, audited_account TO commonweal_app;
GRANT UPDATE (seq, balance) ON audited_account TO commonweal_app;
