-- Constraints across tables: foreign keys, and volunteers' hours that may not overlap.

-- Nobody volunteers in two places at once. GiST supports equality of uuids only with a contrib extension: a
-- range of one uuid stands in for it.

CREATE TYPE uuid_span AS RANGE (subtype = uuid);

ALTER TABLE "order" ADD CONSTRAINT ex_order_hours_overlap EXCLUDE USING gist (
    uuid_span(to_id, to_id, '[]') WITH &&, tstzrange(starts_at, ends_at) WITH &&
) WHERE (type = 'HOURS' AND status IN ('PENDING', 'APPROVED', 'PAID'));

-- Foreign keys ------------------------------------------------------------------------------------------

ALTER TABLE fx_rate
    ADD CONSTRAINT fk_fx_rate_base FOREIGN KEY (base) REFERENCES currency,
    ADD CONSTRAINT fk_fx_rate_quote FOREIGN KEY (quote) REFERENCES currency;

ALTER TABLE platform_policy
    ADD CONSTRAINT fk_platform_policy_created_by_id FOREIGN KEY (created_by_id) REFERENCES collective;

ALTER TABLE collective
    ADD CONSTRAINT fk_collective_currency FOREIGN KEY (currency) REFERENCES currency,
    ADD CONSTRAINT fk_collective_host_id FOREIGN KEY (host_id) REFERENCES collective,
    ADD CONSTRAINT fk_collective_parent_id FOREIGN KEY (parent_id) REFERENCES collective,
    ADD CONSTRAINT fk_collective_coordinator_id FOREIGN KEY (coordinator_id) REFERENCES collective,
    ADD CONSTRAINT fk_collective_merged_into_id FOREIGN KEY (merged_into_id) REFERENCES collective,
    ADD CONSTRAINT fk_collective_created_by_id FOREIGN KEY (created_by_id) REFERENCES collective;

ALTER TABLE slug_redirect
    ADD CONSTRAINT fk_slug_redirect_collective_id FOREIGN KEY (collective_id) REFERENCES collective;

ALTER TABLE member
    ADD CONSTRAINT fk_member_collective_id FOREIGN KEY (collective_id) REFERENCES collective,
    ADD CONSTRAINT fk_member_member_id FOREIGN KEY (member_id) REFERENCES collective,
    ADD CONSTRAINT fk_member_created_by_id FOREIGN KEY (created_by_id) REFERENCES collective;

ALTER TABLE invitation
    ADD CONSTRAINT fk_invitation_collective_id FOREIGN KEY (collective_id) REFERENCES collective,
    ADD CONSTRAINT fk_invitation_user_id FOREIGN KEY (user_id) REFERENCES collective,
    ADD CONSTRAINT fk_invitation_created_by_id FOREIGN KEY (created_by_id) REFERENCES collective;

ALTER TABLE host_application
    ADD CONSTRAINT fk_host_application_collective_id FOREIGN KEY (collective_id) REFERENCES collective,
    ADD CONSTRAINT fk_host_application_host_id FOREIGN KEY (host_id) REFERENCES collective,
    ADD CONSTRAINT fk_host_application_created_by_id FOREIGN KEY (created_by_id) REFERENCES collective,
    ADD CONSTRAINT fk_host_application_decided_by_id FOREIGN KEY (decided_by_id) REFERENCES collective;

ALTER TABLE credential
    ADD CONSTRAINT fk_credential_user_id FOREIGN KEY (user_id) REFERENCES collective;

ALTER TABLE email_token
    ADD CONSTRAINT fk_email_token_user_id FOREIGN KEY (user_id) REFERENCES collective;

ALTER TABLE token
    ADD CONSTRAINT fk_token_user_id FOREIGN KEY (user_id) REFERENCES collective;

ALTER TABLE merged_email
    ADD CONSTRAINT fk_merged_email_user_id FOREIGN KEY (user_id) REFERENCES collective;

ALTER TABLE payment_method
    ADD CONSTRAINT fk_payment_method_host_id FOREIGN KEY (host_id) REFERENCES collective,
    ADD CONSTRAINT fk_payment_method_created_by_id FOREIGN KEY (created_by_id) REFERENCES collective;

ALTER TABLE payout_method
    ADD CONSTRAINT fk_payout_method_owner_id FOREIGN KEY (owner_id) REFERENCES collective,
    ADD CONSTRAINT fk_payout_method_created_by_id FOREIGN KEY (created_by_id) REFERENCES collective;

ALTER TABLE "order"
    ADD CONSTRAINT fk_order_created_by_id FOREIGN KEY (created_by_id) REFERENCES collective,
    ADD CONSTRAINT fk_order_from_id FOREIGN KEY (from_id) REFERENCES collective,
    ADD CONSTRAINT fk_order_to_id FOREIGN KEY (to_id) REFERENCES collective,
    ADD CONSTRAINT fk_order_currency FOREIGN KEY (currency) REFERENCES currency,
    ADD CONSTRAINT fk_order_payment_method_id FOREIGN KEY (payment_method_id) REFERENCES payment_method,
    ADD CONSTRAINT fk_order_payout_method_id FOREIGN KEY (payout_method_id) REFERENCES payout_method,
    ADD CONSTRAINT fk_order_event_id FOREIGN KEY (event_id) REFERENCES collective,
    ADD CONSTRAINT fk_order_offer_id FOREIGN KEY (offer_id) REFERENCES offer,
    ADD CONSTRAINT fk_order_policy_id FOREIGN KEY (policy_id) REFERENCES platform_policy,
    ADD CONSTRAINT fk_order_addressed_to_id FOREIGN KEY (addressed_to_id) REFERENCES collective;

ALTER TABLE order_item
    ADD CONSTRAINT fk_order_item_order_id FOREIGN KEY (order_id) REFERENCES "order";

ALTER TABLE order_action
    ADD CONSTRAINT fk_order_action_order_id FOREIGN KEY (order_id) REFERENCES "order",
    ADD CONSTRAINT fk_order_action_actor_id FOREIGN KEY (actor_id) REFERENCES collective;

ALTER TABLE idempotency
    ADD CONSTRAINT fk_idempotency_actor_id FOREIGN KEY (actor_id) REFERENCES collective;

ALTER TABLE offer
    ADD CONSTRAINT fk_offer_business_id FOREIGN KEY (business_id) REFERENCES collective,
    ADD CONSTRAINT fk_offer_created_by_id FOREIGN KEY (created_by_id) REFERENCES collective;

ALTER TABLE receipt
    ADD CONSTRAINT fk_receipt_owner_id FOREIGN KEY (owner_id) REFERENCES collective;

ALTER TABLE redemption
    ADD CONSTRAINT fk_redemption_order_id FOREIGN KEY (order_id) REFERENCES "order",
    ADD CONSTRAINT fk_redemption_receipt_id FOREIGN KEY (receipt_id) REFERENCES receipt;

ALTER TABLE attendance
    ADD CONSTRAINT fk_attendance_event_id FOREIGN KEY (event_id) REFERENCES collective,
    ADD CONSTRAINT fk_attendance_user_id FOREIGN KEY (user_id) REFERENCES collective,
    ADD CONSTRAINT fk_attendance_order_id FOREIGN KEY (order_id) REFERENCES "order",
    ADD CONSTRAINT fk_attendance_checked_in_by_id FOREIGN KEY (checked_in_by_id) REFERENCES collective;

ALTER TABLE issuance_cap
    ADD CONSTRAINT fk_issuance_cap_nonprofit_id FOREIGN KEY (nonprofit_id) REFERENCES collective,
    ADD CONSTRAINT fk_issuance_cap_created_by_id FOREIGN KEY (created_by_id) REFERENCES collective;

ALTER TABLE ledger_account
    ADD CONSTRAINT fk_ledger_account_book_id FOREIGN KEY (book_id) REFERENCES collective,
    ADD CONSTRAINT fk_ledger_account_owner_id FOREIGN KEY (owner_id) REFERENCES collective,
    ADD CONSTRAINT fk_ledger_account_currency FOREIGN KEY (currency) REFERENCES currency;

ALTER TABLE transaction
    ADD CONSTRAINT fk_transaction_order_id FOREIGN KEY (order_id) REFERENCES "order";

ALTER TABLE hold
    ADD CONSTRAINT fk_hold_order_id FOREIGN KEY (order_id) REFERENCES "order",
    ADD CONSTRAINT fk_hold_account FOREIGN KEY (book_id, account_id) REFERENCES ledger_account (book_id, id);

ALTER TABLE refund_total
    ADD CONSTRAINT fk_refund_total_transaction_id FOREIGN KEY (transaction_id) REFERENCES transaction;

ALTER TABLE outbox
    ADD CONSTRAINT fk_outbox_order_id FOREIGN KEY (order_id) REFERENCES "order";

ALTER TABLE muted_topic
    ADD CONSTRAINT fk_muted_topic_user_id FOREIGN KEY (user_id) REFERENCES collective;
