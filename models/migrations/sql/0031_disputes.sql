-- What a bank wants back may be less than the payment.
ALTER TABLE provider_payment ADD COLUMN dispute_amount_minor bigint;  -- In minor units of the order's currency.
UPDATE provider_payment p SET dispute_amount_minor = o.amount FROM "order" o
WHERE o.id = p.order_id AND p.dispute_id IS NOT NULL;
ALTER TABLE provider_payment
    DROP CONSTRAINT ck_provider_payment_dispute_is_whole,
    ADD CONSTRAINT ck_provider_payment_dispute_is_whole CHECK (
        num_nulls(dispute_id, dispute_status, dispute_amount_minor, dispute_fee_minor, is_dispute_held) IN (0, 5)
        AND dispute_amount_minor > 0 AND dispute_fee_minor >= 0
        AND (NOT is_dispute_posted OR dispute_status = 'LOST'));
GRANT UPDATE (dispute_amount_minor) ON provider_payment TO commonweal_app;

-- Who was sent to the provider is asked again when they return; what they return with is kept as a hash.
ALTER TABLE provider_account
    DROP COLUMN connect_state,
    ADD COLUMN connect_state_hash bytea,
    ADD COLUMN connect_by_id uuid CONSTRAINT fk_provider_account_connect_by_id REFERENCES collective (id),
    ADD CONSTRAINT ck_provider_account_connect_is_whole CHECK ((connect_state_hash IS NULL) = (connect_by_id IS NULL)),
    -- The provider's name of an account is the same in its test mode and live.
    DROP CONSTRAINT uq_provider_account_provider_external_id,
    ADD CONSTRAINT uq_provider_account_provider_external_id_livemode UNIQUE (provider, external_id, livemode);
GRANT UPDATE (connect_state_hash, connect_by_id) ON provider_account TO commonweal_app;
