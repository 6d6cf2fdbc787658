-- Search over names, slugs, tags and descriptions, and tags that are one whatever their case and accents.

DO $$
BEGIN
    IF current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION 'the database must have the encoding UTF8, not %', current_setting('server_encoding');
    END IF;
END $$;

-- Of tags that now are one, the first stays.
UPDATE collective SET tags = ARRAY(
    SELECT tag FROM (
        SELECT DISTINCT ON (fold_text(tag)) tag, position
        FROM unnest(tags) WITH ORDINALITY AS t (tag, position) ORDER BY fold_text(tag), position
    ) AS kept ORDER BY position)
WHERE NOT tags_differ(tags);

ALTER TABLE collective ADD CONSTRAINT ck_collective_tags_differ CHECK (tags_differ(tags));

CREATE INDEX ix_collective_folded_tags ON collective USING gin (fold_tags(tags)) WHERE tags <> '{}';
CREATE INDEX ix_collective_search ON collective USING gin (collective_words(name, slug, description, tags));
CREATE INDEX ix_offer_search ON offer USING gin (offer_words(item, description));
