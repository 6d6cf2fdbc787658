-- What a gift that goes on was stopped for has nobody to be told to.

UPDATE subscription SET notice = NULL WHERE notice IS NOT NULL AND status NOT IN ('PAUSED', 'CANCELLED');

ALTER TABLE subscription
    ADD CONSTRAINT ck_subscription_notice_of_stopped CHECK (notice IS NULL OR status IN ('PAUSED', 'CANCELLED'));
