-- Approval by two people: policies of the platform, of hosts and of collectives, and who has approved an order.

CREATE TABLE approval_policy (
    id uuid CONSTRAINT pk_approval_policy PRIMARY KEY,
    collective_id uuid NOT NULL CONSTRAINT fk_approval_policy_collective_id_collective REFERENCES collective,
    currency text NOT NULL CONSTRAINT fk_approval_policy_currency_currency REFERENCES currency,
    amount_minor bigint CONSTRAINT ck_approval_policy_amount_not_negative CHECK (amount_minor >= 0),
    valid_from timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by_id uuid NOT NULL CONSTRAINT fk_approval_policy_created_by_id_collective REFERENCES collective
);
CREATE INDEX ix_approval_policy_collective_id ON approval_policy (collective_id, created_at, id);
GRANT SELECT, INSERT ON approval_policy TO commonweal_app;

CREATE TABLE approval (
    id uuid CONSTRAINT pk_approval PRIMARY KEY,
    order_id uuid NOT NULL CONSTRAINT fk_approval_order_id_order REFERENCES "order",
    approver_id uuid NOT NULL CONSTRAINT fk_approval_approver_id_collective REFERENCES collective,
    amount bigint NOT NULL CONSTRAINT ck_approval_amount_positive CHECK (amount > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    voided_at timestamptz
);
CREATE UNIQUE INDEX uq_approval_open ON approval (order_id, approver_id) WHERE voided_at IS NULL;
GRANT SELECT, INSERT ON approval TO commonweal_app;
