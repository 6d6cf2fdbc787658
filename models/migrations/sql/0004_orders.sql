-- Orders: givers who confirm, expenses that are edited, former admins who may not approve.

-- The giver in whose name a host added funds, until the giver confirms; `from` is the host until then.
ALTER TABLE "order"
    ADD COLUMN claimed_giver_id uuid,
    ADD COLUMN giver_status text,
    ADD CONSTRAINT fk_order_claimed_giver_id FOREIGN KEY (claimed_giver_id) REFERENCES collective,
    ADD CONSTRAINT ck_order_giver_status_known CHECK (giver_status IN ('WAITING', 'CONFIRMED', 'DENIED')),
    ADD CONSTRAINT ck_order_giver_has_status CHECK (
        (claimed_giver_id IS NULL) = (giver_status IS NULL)
        AND (claimed_giver_id IS NULL OR type = 'ADDED_FUNDS')),
    ADD CONSTRAINT ck_order_expense_at_most_requested CHECK (type <> 'EXPENSE' OR approved_amount <= amount);
CREATE INDEX ix_order_claimed_giver_id ON "order" (claimed_giver_id, created_at)
    WHERE claimed_giver_id IS NOT NULL;

ALTER TABLE order_action
    DROP CONSTRAINT ck_order_action_type_known,
    ADD CONSTRAINT ck_order_action_type_known CHECK (
        type IN ('CREATE', 'EDIT', 'APPROVE', 'REJECT', 'PAY', 'CANCEL', 'EXPIRE', 'REFUND', 'CONFIRM', 'DENY'));

-- An expense that is edited after its approval gives its hold back and may get another.
ALTER TABLE hold
    DROP CONSTRAINT pk_hold,
    ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid(),
    ADD CONSTRAINT pk_hold PRIMARY KEY (id);
CREATE UNIQUE INDEX uq_hold_open ON hold (order_id) WHERE released_at IS NULL;

-- For the question whether somebody was an ADMIN while an order was open, and for merged accounts.
CREATE INDEX ix_member_former_admin ON member (member_id, until)
    WHERE role = 'ADMIN' AND until IS NOT NULL;
CREATE INDEX ix_collective_merged_into_id ON collective (merged_into_id) WHERE merged_into_id IS NOT NULL;

GRANT UPDATE (
    from_id, origin_unknown, giver_status,
    amount, description, payout_method_kind, payout_method_id, receipts, host_fee_bps
) ON "order" TO commonweal_app;
GRANT DELETE ON order_item TO commonweal_app;
