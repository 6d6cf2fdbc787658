-- What `commonweal migrate` remembers beside Alembic's revision.

-- The SHA-256 of each file of functions and triggers when it was last applied.
CREATE TABLE repeatable_migration (
    name text CONSTRAINT pk_repeatable_migration PRIMARY KEY,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
