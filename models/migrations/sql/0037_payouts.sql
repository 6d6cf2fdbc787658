-- Who may see a payout method depends on the orders that are paid to it, which were read from the first to the last.

CREATE INDEX ix_order_payout_method_id ON "order" (payout_method_id) WHERE payout_method_id IS NOT NULL;
