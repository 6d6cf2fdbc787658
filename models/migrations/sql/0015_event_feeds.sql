-- The marker of the demo world: half a world is one without an end.

CREATE TABLE demo_load (
    is_only boolean NOT NULL DEFAULT true CONSTRAINT pk_demo_load PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT ck_demo_load_is_only CHECK (is_only)
);
GRANT SELECT, INSERT ON demo_load TO commonweal_app;
GRANT UPDATE (finished_at) ON demo_load TO commonweal_app;
