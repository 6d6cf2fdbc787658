-- Tips to the platform that come with gifts.

ALTER TABLE "order"
    ADD COLUMN tip bigint,  -- In the order's currency, beside its amount; null for none.
    ADD CONSTRAINT ck_order_tip_of_gift CHECK (
        tip IS NULL OR tip >= 1 AND tip <= COALESCE(approved_amount, amount) AND type = 'DONATION' AND currency <> 'CUR');

ALTER TABLE subscription
    ADD COLUMN tip_minor bigint,  -- The tip of each charge.
    ADD CONSTRAINT ck_subscription_tip_at_most_amount CHECK (tip_minor IS NULL OR tip_minor >= 1 AND tip_minor <= amount_minor);

-- What a host keeps for the platform may be less than what it gives back of it: a gift is refunded after the host
-- has settled its fee. The platform then owes the host. Nothing but fees and tips moves these balances.
UPDATE ledger_account a SET floor = NULL
FROM collective c WHERE c.is_platform AND a.owner_id = c.id AND a.book_id <> c.id AND a.kind = 'BALANCE';
GRANT UPDATE (tip_minor) ON subscription TO commonweal_app;
