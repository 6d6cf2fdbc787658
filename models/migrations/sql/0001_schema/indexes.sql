-- Indexes, by table: unique ones first. Lists are paged by a timestamp and the id, in that order.

CREATE UNIQUE INDEX uq_fx_rate_base_quote_valid_from ON fx_rate (base, quote, valid_from);

CREATE INDEX ix_platform_policy_valid_from ON platform_policy (valid_from);

CREATE UNIQUE INDEX uq_collective_platform ON collective (is_platform) WHERE is_platform;  -- one platform
CREATE INDEX ix_collective_host_id ON collective (host_id);
CREATE INDEX ix_collective_parent_id ON collective (parent_id, starts_at, id);
CREATE INDEX ix_collective_type_created_at ON collective (type, created_at, id);

CREATE INDEX ix_slug_redirect_collective_id ON slug_redirect (collective_id);

CREATE UNIQUE INDEX uq_member_open ON member (collective_id, member_id, role) WHERE until IS NULL;
CREATE INDEX ix_member_collective_id ON member (collective_id, since, id) WHERE until IS NULL;
CREATE INDEX ix_member_member_id ON member (member_id, since, id) WHERE until IS NULL;

CREATE UNIQUE INDEX uq_invitation_pending ON invitation (collective_id, user_id, role)
    WHERE status = 'PENDING';
CREATE INDEX ix_invitation_user_id ON invitation (user_id);

CREATE UNIQUE INDEX uq_host_application_pending ON host_application (collective_id)
    WHERE status = 'PENDING';
CREATE INDEX ix_host_application_host_id ON host_application (host_id, status);

CREATE INDEX ix_email_token_user_id ON email_token (user_id);

CREATE INDEX ix_token_user_id ON token (user_id);

CREATE INDEX ix_merged_email_user_id ON merged_email (user_id);

CREATE INDEX ix_payment_method_host_id ON payment_method (host_id);

CREATE INDEX ix_payout_method_owner_id ON payout_method (owner_id);

CREATE UNIQUE INDEX uq_order_bonus ON "order" (to_id) WHERE type = 'BONUS';  -- one bonus per user
CREATE UNIQUE INDEX uq_order_import_key ON "order" (import_key) WHERE import_key IS NOT NULL;
CREATE INDEX ix_order_created_at ON "order" (created_at, id);
CREATE INDEX ix_order_event_id ON "order" (event_id, created_at, id) WHERE event_id IS NOT NULL;
CREATE INDEX ix_order_expires_at ON "order" (expires_at) WHERE status = 'PENDING';
CREATE INDEX ix_order_from_id ON "order" (from_id, created_at, id);
CREATE INDEX ix_order_offer_id ON "order" (offer_id, created_at) WHERE offer_id IS NOT NULL;
CREATE INDEX ix_order_open_from_id ON "order" (from_id, type, starts_at)
    WHERE status IN ('PENDING', 'APPROVED');
CREATE INDEX ix_order_open_to_id ON "order" (to_id, type) WHERE status IN ('PENDING', 'APPROVED');
CREATE INDEX ix_order_to_id ON "order" (to_id, created_at, id);

CREATE INDEX ix_order_action_order_id ON order_action (order_id, at, id);

CREATE UNIQUE INDEX uq_offer_active_item ON offer (business_id, lower(item)) WHERE is_active;
CREATE INDEX ix_offer_business_id ON offer (business_id, created_at, id);
CREATE INDEX ix_offer_created_at ON offer (created_at, id);

CREATE INDEX ix_receipt_owner_id ON receipt (owner_id);

CREATE INDEX ix_issuance_cap_nonprofit_id ON issuance_cap (nonprofit_id, valid_from, id);

CREATE UNIQUE INDEX uq_ledger_account_key ON ledger_account (book_id, owner_id, currency, kind);
CREATE INDEX ix_ledger_account_owner_id ON ledger_account (owner_id);

-- At most one transaction of a kind per order, except refunds and covers: their own id makes them distinct.
CREATE UNIQUE INDEX uq_transaction_order_kind ON transaction (
    order_id,
    kind,
    (CASE
        WHEN refund_of_id IS NULL AND kind <> 'PAYMENT_PROCESSOR_COVER'
        THEN '00000000-0000-0000-0000-000000000000'::uuid
        ELSE id
    END)
) WHERE order_id IS NOT NULL;
CREATE INDEX ix_transaction_at ON transaction (at, id);
CREATE INDEX ix_transaction_from_collective_id ON transaction (from_collective_id, at, id);
CREATE INDEX ix_transaction_refund_of_id ON transaction (refund_of_id) WHERE refund_of_id IS NOT NULL;
CREATE INDEX ix_transaction_to_collective_id ON transaction (to_collective_id, at, id);

CREATE INDEX ix_posting_at ON posting (book_id, account_id, at, seq) INCLUDE (balance_after);
CREATE INDEX ix_posting_transaction_id ON posting (transaction_id);

CREATE INDEX ix_hold_open ON hold (book_id, account_id) WHERE released_at IS NULL;

CREATE INDEX ix_outbox_due ON outbox (next_attempt_at, id) WHERE delivered_at IS NULL;
