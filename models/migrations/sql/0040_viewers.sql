-- A number a user that rises with each change of what their tokens may do. Queries of a viewer whom a server
-- remembers computed a fingerprint of all roles, factors and settings, which took longer than a small answer.

CREATE TABLE viewer_version (
    user_id uuid CONSTRAINT pk_viewer_version PRIMARY KEY
        CONSTRAINT fk_viewer_version_user_id REFERENCES collective (id),
    version bigint NOT NULL,
    CONSTRAINT ck_viewer_version_counts CHECK (version > 0)
) WITH (fillfactor = 70);

GRANT SELECT ON viewer_version TO commonweal_app;
