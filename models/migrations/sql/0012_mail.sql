-- Mail that cannot be used as a cannon: lanes, senders, the wishes of those who never signed up, and whether
-- a person agreed to be shown.

ALTER TABLE outbox
    ADD COLUMN lane smallint NOT NULL DEFAULT 1,
    ADD COLUMN sender_id uuid CONSTRAINT fk_outbox_sender_id_collective REFERENCES collective (id),
    ADD COLUMN is_to_stranger boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT ck_outbox_lane_known CHECK (lane IN (0, 1));
UPDATE outbox SET lane = 0
WHERE delivered_at IS NULL AND failed_at IS NULL
  AND template IN ('verify_email', 'address_in_use', 'email_confirmed', 'new_device', 'password_reset',
                   'password_changed', 'merge_requested', 'accounts_merged');
DROP INDEX ix_outbox_due;
CREATE INDEX ix_outbox_due ON outbox (lane, next_attempt_at, id)
    WHERE delivered_at IS NULL AND failed_at IS NULL;
CREATE INDEX ix_outbox_recipient ON outbox (recipient, created_at);
-- Mails enter by mail_queue alone, which keeps the budgets; delivery changes what it has to.
REVOKE INSERT, UPDATE ON outbox FROM commonweal_app;
GRANT UPDATE (payload, attempts, next_attempt_at, delivered_at, last_error, failed_at) ON outbox
    TO commonweal_app;

CREATE TABLE mail_stop (
    address text CONSTRAINT pk_mail_stop PRIMARY KEY,
    token text NOT NULL CONSTRAINT uq_mail_stop_token UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    stopped_at timestamptz
);
GRANT SELECT ON mail_stop TO commonweal_app;
GRANT UPDATE (stopped_at) ON mail_stop TO commonweal_app;

CREATE INDEX ix_throttle_window_ends_at ON throttle (window_ends_at);
GRANT DELETE ON throttle TO commonweal_app;

-- How a person came to a role without having agreed to it; null once they agreed.
ALTER TABLE member
    ADD COLUMN named_by text,
    ADD CONSTRAINT ck_member_named_by_known CHECK (named_by IN ('REFERENCE', 'ADDRESS')),
    ADD CONSTRAINT ck_member_named_by_role CHECK (named_by IS NULL OR role IN ('ATTENDEE', 'WAITING', 'VOLUNTEER'));
UPDATE member m SET named_by = 'REFERENCE'
WHERE m.role IN ('ATTENDEE', 'WAITING') AND m.until IS NULL AND m.created_by_id IS DISTINCT FROM m.member_id;
GRANT UPDATE (named_by) ON member TO commonweal_app;

-- An invitation by address does not show, by its refusal, who was invited by name.
DROP INDEX uq_invitation_pending;
CREATE UNIQUE INDEX uq_invitation_pending ON invitation (collective_id, user_id, role, by_email)
    WHERE status = 'PENDING';
