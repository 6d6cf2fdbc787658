-- The language that a person chose, and the one that their browser asked for.

ALTER TABLE collective
    ADD COLUMN locale text,
    ADD CONSTRAINT ck_collective_locale_known CHECK (locale IN ('EN', 'DE', 'FR', 'ES')),
    ADD CONSTRAINT ck_collective_locale_of_user CHECK (locale IS NULL OR type = 'USER');

ALTER TABLE credential
    ADD COLUMN browser_locale text,
    ADD CONSTRAINT ck_credential_browser_locale_known CHECK (browser_locale IN ('EN', 'DE', 'FR', 'ES'));
