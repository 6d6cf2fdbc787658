-- Search: folded text, so that accents, case, composition and the order of words do not matter.
--
-- Indexes and a constraint are built on these functions: a change of what they return needs a new revision that
-- rebuilds `ix_collective_search`, `ix_collective_folded_tags` and `ix_offer_search`.

-- Letters without case and marks, in compatibility form: 'Café', in either composition, is 'cafe', 'Straße' is
-- 'strasse'. Case is folded by a list of our own, because `lower` depends on the database's locale. Letters are
-- of Latin, Greek, Cyrillic, Armenian and Georgian script. `services.core.text_folding` does the same.
CREATE OR REPLACE FUNCTION fold_text(p_text text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT CASE WHEN octet_length(p_text) = length(p_text) THEN lower(p_text COLLATE "C")
        WHEN octet_length(plain) = length(plain) THEN plain
        ELSE replace(replace(replace(replace(replace(replace(replace(replace(translate(plain,
            'ØøĐđŁłĦħıÐðŦŧŊŋĸƏəƁɓƊɗƘƙƳƴςͰͲͶͿΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩϏϘϚϜϞϠϢϤϦϨϪϬϮϷϺϽϾϿЂЄЅІЈЉЊЋЏАБВГДЕЖЗ'
            || 'ИКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯѠѢѤѦѨѪѬѮѰѲѴѸѺѼѾҀҊҌҎҐҒҔҖҘҚҜҞҠҢҤҦҨҪҬҮҰҲҴҶҸҺҼҾӀӃӅӇӉӋӍӔӘӠӨӶӺӼӾԀԂԄԆԈԊԌԎԐ'
            || 'ԒԔԖԘԚԜԞԠԢԤԦԨԪԬԮԱԲԳԴԵԶԷԸԹԺԻԼԽԾԿՀՁՂՃՄՅՆՇՈՉՊՋՌՍՎՏՐՑՒՓՔՕՖᲐᲑᲒᲓᲔᲕᲖᲗᲘᲙᲚᲛᲜᲝᲞᲟᲠᲡᲢᲣᲤᲥᲦᲧᲨᲩᲪᲫᲬᲭᲮᲯᲰᲱᲲᲳᲴ'
            || 'ᲵᲶᲷᲸᲹᲺᲽᲾᲿ',
            'ooddllhhiddttnnkaabbddkkyyσͱͳͷϳαβγδεζηθικλμνξοπρστυφχψωϗϙϛϝϟϡϣϥϧϩϫϭϯϸϻͻͼͽђєѕіјљњћџабвгдежз'
            || 'иклмнопрстуфхцчшщъыьэюяѡѣѥѧѩѫѭѯѱѳѵѹѻѽѿҁҋҍҏґғҕҗҙқҝҟҡңҥҧҩҫҭүұҳҵҷҹһҽҿӏӄӆӈӊӌӎӕәӡөӷӻӽӿԁԃԅԇԉԋԍԏԑ'
            || 'ԓԕԗԙԛԝԟԡԣԥԧԩԫԭԯաբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆაბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰჱჲჳჴ'
            || 'ჵჶჷჸჹჺჽჾჿ'),
            'ß', 'ss'), 'ẞ', 'ss'), 'æ', 'ae'), 'Æ', 'ae'), 'œ', 'oe'), 'Œ', 'oe'), 'þ', 'th'), 'Þ', 'th')
        END
    FROM lower(regexp_replace(normalize(p_text, NFKD),
        '[\u00ad\u0300-\u036f\u0591-\u05bd\u064b-\u065f\u0670\u200b-\u200f]', '', 'g') COLLATE "C") AS plain
$$;

-- Folded words, separated by spaces: what is no letter and no digit separates. Of a long text, its beginning.
CREATE OR REPLACE FUNCTION fold_words(p_text text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT regexp_replace(fold_text(left(p_text, 4000)),
        '[\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00bf\u00d7\u00f7\u2000-\u206f\u20a0-\u2bff\u3000-\u303f]+',
        ' ', 'g')
$$;

-- Tags in folded form, in their order.
CREATE OR REPLACE FUNCTION fold_tags(p_tags text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT coalesce(array_agg(fold_text(tag) ORDER BY position), '{}')
    FROM unnest(p_tags) WITH ORDINALITY AS t (tag, position)
$$;

CREATE OR REPLACE FUNCTION tags_differ(p_tags text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT count(*) = count(DISTINCT tag) FROM unnest(fold_tags(p_tags)) AS tag
$$;

-- What a search finds a collective by, heaviest first: its name; its slug and tags; its description.
CREATE OR REPLACE FUNCTION collective_words(p_name text, p_slug text, p_description text, p_tags text[])
RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT setweight(to_tsvector('simple', fold_words(p_name)), 'A')
        || setweight(to_tsvector('simple', fold_words(
               p_slug || ' ' || coalesce((SELECT string_agg(tag, ' ') FROM unnest(p_tags) AS tag), ''))), 'B')
        || setweight(to_tsvector('simple', fold_words(coalesce(p_description, ''))), 'D')
$$;

-- What a search finds an offer by, heaviest first: its item; its description.
CREATE OR REPLACE FUNCTION offer_words(p_item text, p_description text)
RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT setweight(to_tsvector('simple', fold_words(p_item)), 'A')
        || setweight(to_tsvector('simple', fold_words(coalesce(p_description, ''))), 'D')
$$;

-- The query for texts that have a word beginning with each word of `p_text`; with ' | ' as operator, with any of
-- them; with 'A' as weight, in the name or item. NULL, which matches nothing, without a word.
CREATE OR REPLACE FUNCTION search_query(p_text text, p_operator text, p_weight text) RETURNS tsquery
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT string_agg(quote_literal(word) || ':*' || p_weight, p_operator)::tsquery
    FROM unnest(tsvector_to_array(to_tsvector('simple', fold_words(p_text)))) AS word
$$;

REVOKE ALL ON FUNCTION fold_text(text), fold_words(text), fold_tags(text[]), tags_differ(text[]),
    collective_words(text, text, text, text[]), offer_words(text, text), search_query(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION fold_text(text), fold_words(text), fold_tags(text[]), tags_differ(text[]),
    collective_words(text, text, text, text[]), offer_words(text, text), search_query(text, text, text)
    TO commonweal_app;
