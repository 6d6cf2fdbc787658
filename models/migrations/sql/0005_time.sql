-- Bounds of events and of what they credit, and the consents that a merge of users needs.

ALTER TABLE platform_policy
    -- The most currents that one attendance credits, in minor units.
    ADD COLUMN max_event_hours_minor bigint NOT NULL DEFAULT 72000
        CONSTRAINT ck_platform_policy_max_event_hours_positive CHECK (max_event_hours_minor > 0),
    -- The most currents that a nonprofit issues a month, in minor units, until the platform sets it a cap.
    ADD COLUMN default_issuance_cap_minor bigint NOT NULL DEFAULT 1000000
        CONSTRAINT ck_platform_policy_default_issuance_cap_positive CHECK (default_issuance_cap_minor > 0);

-- An event lasts at most 14 days and lies between a year before and five years after it was written. A day is
-- left for the clocks of the application and the database.
ALTER TABLE collective
    ADD CONSTRAINT ck_collective_event_duration CHECK (ends_at - starts_at <= interval '14 days'),
    ADD CONSTRAINT ck_collective_event_not_long_ago CHECK (
        starts_at AT TIME ZONE 'UTC' >= created_at AT TIME ZONE 'UTC' - interval '1 year 1 day'),
    ADD CONSTRAINT ck_collective_event_not_far_ahead CHECK (
        ends_at AT TIME ZONE 'UTC' <= updated_at AT TIME ZONE 'UTC' + interval '5 years 1 day');

-- A person's consent to merging one user into another. Append-only.
CREATE TABLE merge_consent (
    id uuid CONSTRAINT pk_merge_consent PRIMARY KEY,
    from_id uuid NOT NULL CONSTRAINT fk_merge_consent_from_id REFERENCES collective,
    into_id uuid NOT NULL CONSTRAINT fk_merge_consent_into_id REFERENCES collective,
    by_id uuid NOT NULL CONSTRAINT fk_merge_consent_by_id REFERENCES collective,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ix_merge_consent_from_id ON merge_consent (from_id, into_id);
GRANT SELECT, INSERT ON merge_consent TO commonweal_app;
