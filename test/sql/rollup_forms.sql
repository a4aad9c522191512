--
-- Rollups of many forms and over sources of many kinds, through their lives:
-- each is compared with its query over the raw rows before it is computed,
-- after, with changes that have not been computed, and when these have been
--
\set VERBOSITY default
\pset null ~
SET TIME ZONE 'America/New_York';
SET datestyle = 'ISO, YMD';
SET client_min_messages = warning;
CREATE SCHEMA forms;
CREATE SCHEMA "Other.One";
SET search_path = forms, public;

-- -------------------------------------------------------------- the sources
-- "make" turns an instant w into the time of the source
CREATE TABLE source (name text PRIMARY KEY, make text NOT NULL);
INSERT INTO source VALUES
	('events', 'w'),
	('stamps', $$w AT TIME ZONE 'UTC'$$),
	('days', $$(w AT TIME ZONE 'UTC')::date$$),
	('seconds', 'floor(extract(epoch FROM w))'),
	('millis', 'floor(extract(epoch FROM w) * 1000)'),
	('micros', 'floor(extract(epoch FROM w) * 1000000)'),
	('nanos', 'floor(extract(epoch FROM w) * 1000000) * 1000 + 999'),
	('by_range', 'w'), ('by_list', 'w'), ('by_hash', 'w'), ('by_both', 'w'), ('one_part', 'w'),
	('generated', 'w'),
	('"Other.One"."it''s a ""Table"" \ äöü"', 'w');
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN small AS int CHECK (VALUE < 1000);
CREATE DOMAIN word AS text COLLATE "C";
CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE events (id int PRIMARY KEY, t timestamptz NOT NULL, k text, v int,
	c text COLLATE "C", ci text COLLATE any_case, n numeric(10,2), m numeric, b boolean, j jsonb, a int[], s small, w word, ch char(5), vc varchar(10),
	e mood, u uuid, iv interval(0), r int4range, ip inet, bits bit(3), by bytea, js json, d date, "Odd ""Col"".\x é" text);
CREATE FUNCTION fill_events() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.c := NEW.k;
	NEW.ci := CASE WHEN NEW.id % 2 = 0 THEN upper(NEW.k) ELSE NEW.k END;
	NEW.n := NEW.v / 7.0;
	NEW.m := CASE WHEN NEW.id % 2 = 0 THEN NEW.v % 3 ELSE NEW.v % 3 + 0.00 END;
	NEW.b := NULLIF(NEW.v % 3, 0) = 1;
	NEW.j := jsonb_build_object('k', NEW.k, 'a', jsonb_build_array(NEW.v % 2));
	NEW.a := CASE WHEN NEW.v % 4 > 0 THEN ARRAY[NEW.v % 4, NULL] END;
	NEW.s := NEW.v % 5;
	NEW.w := NEW.k;
	NEW.ch := NEW.k;
	NEW.vc := NEW.k;
	NEW.e := (ARRAY['sad', 'ok', 'happy', NULL]::mood[])[1 + NEW.v % 4];
	NEW.u := md5((NEW.v % 3)::text)::uuid;
	NEW.iv := make_interval(secs => NEW.v % 90);
	NEW.r := int4range(NEW.v % 3, NEW.v % 3 + 2);
	NEW.ip := '10.0.0.0'::inet + NEW.v % 3;
	NEW.bits := (NEW.v % 8)::bit(3);
	NEW.by := decode(lpad(to_hex(NEW.v % 3), 2, '0'), 'hex');
	NEW.js := NEW.j;
	NEW.d := date '2020-01-01' + NEW.v % 3;
	NEW."Odd ""Col"".\x é" := NEW.k;
	RETURN NEW;
END $$;
CREATE TRIGGER fill BEFORE INSERT OR UPDATE ON events FOR EACH ROW EXECUTE FUNCTION fill_events();
CREATE TABLE stamps (id int, t timestamp NOT NULL, k text, v int);
CREATE TABLE days (id int, t date NOT NULL, k text, v int);
CREATE TABLE seconds (id int, t bigint NOT NULL, k text, v int);
CREATE TABLE millis (LIKE seconds);
CREATE TABLE micros (LIKE seconds);
CREATE TABLE nanos (LIKE seconds);
CREATE TABLE by_range (id int, t timestamptz NOT NULL, k text, v int) PARTITION BY RANGE (t);
CREATE TABLE range_1 PARTITION OF by_range FOR VALUES FROM (MINVALUE) TO ('2025-03-30');
-- another order of columns, one of them dropped
CREATE TABLE range_2 (v int, gone int, k text, t timestamptz NOT NULL, id int);
ALTER TABLE range_2 DROP COLUMN gone;
ALTER TABLE by_range ATTACH PARTITION range_2 FOR VALUES FROM ('2025-03-30') TO ('2025-04-01');
CREATE TABLE range_default PARTITION OF by_range DEFAULT;
CREATE TABLE by_list (id int, t timestamptz NOT NULL, k text, v int) PARTITION BY LIST (k);
CREATE TABLE list_1 PARTITION OF by_list FOR VALUES IN ('key 0', 'key 1', NULL);
CREATE TABLE list_default PARTITION OF by_list DEFAULT;
CREATE TABLE by_hash (id int, t timestamptz NOT NULL, k text, v int) PARTITION BY HASH (id);
CREATE TABLE hash_0 PARTITION OF by_hash FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE hash_1 PARTITION OF by_hash FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE by_both (id int, t timestamptz NOT NULL, k text, v int) PARTITION BY RANGE (t);
CREATE TABLE both_1 PARTITION OF by_both FOR VALUES FROM (MINVALUE) TO ('2025-03-30') PARTITION BY LIST (k);
CREATE TABLE both_1_1 PARTITION OF both_1 FOR VALUES IN ('key 0', 'key 1');
CREATE TABLE both_1_default PARTITION OF both_1 DEFAULT;
CREATE TABLE both_2 PARTITION OF by_both FOR VALUES FROM ('2025-03-30') TO (MAXVALUE);
-- a rollup of one partition, which is written through the whole
CREATE TABLE one_part (id int, t timestamptz NOT NULL, k text, v int) PARTITION BY LIST (k);
CREATE TABLE the_part PARTITION OF one_part FOR VALUES IN ('key 0', 'key 1', NULL);
CREATE TABLE the_rest PARTITION OF one_part DEFAULT;
CREATE TABLE generated (id int, t timestamptz NOT NULL, k text, v int,
	made timestamp NOT NULL GENERATED ALWAYS AS (t AT TIME ZONE 'UTC' + coalesce(v, 0) * interval '1 minute') STORED, doubled int GENERATED ALWAYS AS (v * 2) STORED);
CREATE TABLE "Other.One"."it's a ""Table"" \ äöü" (id int, "T t" timestamptz NOT NULL, "K.k" text, "v""" int);

CREATE TABLE kind (k text PRIMARY KEY, label text, weight int);
INSERT INTO kind VALUES ('key 0', 'zero', 1), ('key 1', 'one', 2), ('key 2', 'one', 3);
CREATE TABLE site (v int, k text, name text);
INSERT INTO site SELECT v, 'key ' || v % 7, 'site ' || v % 4 FROM generate_series(0, 40) AS v;

-- ------------------------------------------------------------- the rollups
/*
 * "expected" is the query over raw rows, where it is another than the one
 * that is kept; "loose" if one of several equal values may be a key.
 */
CREATE TABLE rollup (n int GENERATED ALWAYS AS IDENTITY, name text PRIMARY KEY, query text NOT NULL, expected text,
	loose boolean NOT NULL DEFAULT false, epoch text, schema text);
-- times and buckets
INSERT INTO rollup (name, query) VALUES
('trunc_3', $$SELECT date_trunc('hour', t, 'UTC') AS bucket, k, count(*), sum(v), avg(v) FROM events GROUP BY 1, 2$$),
('trunc_day', $$SELECT k, date_trunc('day', t, 'Europe/Berlin') AS day, count(v) AS n FROM events GROUP BY k, day$$),
('trunc_week', $$SELECT date_trunc('week', t, 'Asia/Kolkata') AS week, max(v) AS most FROM events GROUP BY 1$$),
('trunc_second', $$SELECT date_trunc('Seconds', t, 'UTC') AS s, min(k) AS least FROM events GROUP BY 1$$),
('trunc_year', $$SELECT date_trunc('year', t, 'UTC') AS y, count(*) AS n FROM events GROUP BY 1$$),
('bin', $$SELECT date_bin('90 minutes', t, '2000-01-01 00:10+00') AS bucket, count(*) AS n FROM events GROUP BY 1$$),
('bin_day', $$SELECT date_bin('1 day 6 hours', t, timestamptz '2000-01-01 00:00+00') AS bucket, count(*) AS n FROM events GROUP BY 1$$),
('width_month', $$SELECT aggjobs_bucket('1 month', t, 'Europe/Berlin') AS month, count(*) AS n FROM events GROUP BY 1$$),
('width_quarter', $$SELECT aggjobs_bucket(interval '3 months', t) AS quarter, count(*) AS n FROM events GROUP BY quarter$$),
('width_week', $$SELECT aggjobs_bucket('1 week', t, 'Europe/Berlin') AS week, count(*) AS n FROM events GROUP BY 1$$),
('width_day', $$SELECT aggjobs_bucket('1 day', t, 'Europe/Berlin') AS day, k, count(*) AS n FROM events GROUP BY 1, 2$$),
('width_15', $$SELECT aggjobs_bucket('15 minutes', t) AS quarter, count(*) AS n FROM events GROUP BY 1$$),
('width_half', $$SELECT aggjobs_bucket('1 hour', t, 'Asia/Kolkata') AS hour, count(*) AS n FROM events GROUP BY 1$$),
('width_origin', $$SELECT aggjobs_bucket('1 day', t, 'Europe/Berlin', '2026-01-01 06:00+01') AS day, count(*) AS n FROM events GROUP BY 1$$),
('width_named', $$SELECT public.aggjobs_bucket(zone => 'UTC', "time" => t, origin => NULL, width => '2 hours') AS b, count(*) AS n FROM events GROUP BY 1$$),
('stamp_trunc', $$SELECT date_trunc('hour', t) AS bucket, k, sum(v) AS v FROM stamps GROUP BY 1, 2$$),
('stamp_bin', $$SELECT date_bin('25 minutes', t, '2000-01-01') AS bucket, count(*) AS n FROM stamps GROUP BY 1$$),
('stamp_width', $$SELECT aggjobs_bucket('1 week', t, '2000-01-02') AS bucket, count(*) AS n FROM stamps GROUP BY 1$$),
('date_day', $$SELECT aggjobs_bucket('1 day', t) AS day, k, count(*) AS n FROM days GROUP BY 1, 2$$),
('date_month', $$SELECT aggjobs_bucket('1 month', t) AS month, sum(v) AS v FROM days GROUP BY 1$$),
('date_origin', $$SELECT aggjobs_bucket('3 days', t, '2025-01-01') AS day, count(*) AS n FROM days GROUP BY 1$$),
('by_second', $$SELECT aggjobs_bucket(3600, t) AS hour, k, count(*) AS n FROM seconds GROUP BY 1, 2$$);
INSERT INTO rollup (name, query, epoch) VALUES
('by_milli', $$SELECT aggjobs_bucket(900 * 1000, t) AS quarter, count(*) AS n FROM millis GROUP BY 1$$, 'millisecond'),
('by_milli_2', $$SELECT aggjobs_bucket(86400000::bigint, t, 3600000) AS day, count(*) AS n FROM millis GROUP BY 1$$, NULL),
('by_micro', $$SELECT aggjobs_bucket(3600000000, t) AS hour, count(*) AS n FROM micros GROUP BY 1$$, 'microsecond'),
('by_nano', $$SELECT aggjobs_bucket(3600000000000, t) AS hour, count(*) AS n FROM nanos GROUP BY 1$$, 'nanosecond');
-- partitions, generated columns, odd names
INSERT INTO rollup (name, query) VALUES
('of_range', $$SELECT date_trunc('hour', t, 'UTC') AS bucket, k, count(*) AS n FROM by_range GROUP BY 1, 2$$),
('of_range_2', $$SELECT date_trunc('day', t, 'UTC') AS bucket, sum(v) AS v FROM by_range WHERE id > 10 GROUP BY 1$$),
('of_list', $$SELECT date_trunc('day', t, 'UTC') AS bucket, k, sum(v) AS v FROM by_list GROUP BY 1, 2$$),
('of_hash', $$SELECT date_trunc('day', t, 'UTC') AS bucket, k, sum(v) AS v FROM by_hash GROUP BY 1, 2$$),
('of_both', $$SELECT date_trunc('hour', t, 'UTC') AS bucket, k, sum(v) AS v FROM by_both GROUP BY 1, 2$$),
('of_part', $$SELECT date_trunc('hour', t, 'UTC') AS bucket, k, sum(v) AS v FROM the_part GROUP BY 1, 2$$),
('of_generated', $$SELECT date_trunc('hour', made) AS bucket, sum(doubled) AS v FROM generated GROUP BY 1$$),
(repeat('long', 14) || 'xx', $$SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM events GROUP BY 1$$),
('It''s "odd" \ é', $$SELECT date_trunc('hour', "T t", 'UTC') AS "B ""b"".\", "K.k" AS "it's", sum("v""") AS "SELECT" FROM "Other.One"."it's a ""Table"" \ äöü" GROUP BY 1, 2$$),
('qualified', $$SELECT date_trunc('day', "Other.One"."it's a ""Table"" \ äöü"."T t", 'UTC') AS b, count(*) AS n FROM "Other.One"."it's a ""Table"" \ äöü" GROUP BY 1$$),
('system_words', $$SELECT date_trunc('day', t, 'UTC') AS "time", k AS "user", count(*) AS "order", max(v) AS t FROM events GROUP BY 1, 2$$),
('renamed', $$SELECT date_trunc('day', time, 'UTC') AS t, other AS id, sum(k) AS k FROM events AS e (id, time, other, k) GROUP BY 1, 2$$);
INSERT INTO rollup (name, query, schema) VALUES
('elsewhere', $$SELECT date_trunc('day', t, 'UTC') AS b, count(*) AS n FROM forms.events GROUP BY 1$$, 'Other.One');
-- expressions, conditions, aggregates
INSERT INTO rollup (name, query) VALUES
('filtered', $$SELECT date_trunc('hour', t, 'UTC') AS b, count(*) FILTER (WHERE v % 2 = 0) AS even, count(*) FILTER (WHERE k IS NULL) AS nulls
	FROM events WHERE v > 5 OR k = 'key 1' GROUP BY 1$$),
('bounded', $$SELECT date_trunc('hour', t, 'UTC') AS b, count(*) AS n FROM events WHERE t >= '2025-03-29 12:00+00' AND t < '2025-03-30 12:30+00' GROUP BY 1$$),
('none', $$SELECT date_trunc('hour', t, 'UTC') AS b, count(*) AS n FROM events WHERE false GROUP BY 1$$),
('distincts', $$SELECT date_trunc('day', t, 'UTC') AS b, count(DISTINCT k) AS ks, sum(DISTINCT v) AS vs, string_agg(DISTINCT k, ',') AS list FROM events GROUP BY 1$$),
('ordered', $$SELECT date_trunc('day', t, 'UTC') AS b, percentile_cont(0.5) WITHIN GROUP (ORDER BY v) AS median, mode() WITHIN GROUP (ORDER BY k) AS mode,
	percentile_disc(ARRAY[0.1, 0.9]) WITHIN GROUP (ORDER BY v DESC) AS tails, rank(10) WITHIN GROUP (ORDER BY v) AS rank FROM events GROUP BY 1$$),
('lists', $$SELECT date_trunc('day', t, 'UTC') AS b, k, array_agg(v ORDER BY id DESC) AS a, jsonb_agg(v ORDER BY id) AS j, jsonb_object_agg(id, k ORDER BY id) AS o,
	string_agg(v::text, '/' ORDER BY v, id) AS s FROM events GROUP BY 1, 2$$),
('statistics', $$SELECT date_trunc('day', t, 'UTC') AS b, stddev(v)::numeric(12,4) AS sd, bool_and(b) AS ba, bit_or(v) AS bits, range_agg(r) AS r, every(v > 3) AS e
	FROM events GROUP BY 1$$),
('expressions', $$SELECT lower(k) || '-' || v % 2 AS x, date_trunc('hour', t, 'UTC') AS b, CASE WHEN v > 20 THEN 'big' ELSE 'small' END AS size,
	round(100.0 * count(*) FILTER (WHERE v > 10) / nullif(count(*), 0), 2) AS percent, coalesce(sum(v), 0) + 1 AS v, 'constant' AS label, upper(min(k)) AS u
	FROM events GROUP BY 1, 2, 3$$),
('texts', $$SELECT date_trunc('day', t, 'UTC') AS b, concat(k, v % 2) AS x, k || '#' || v % 2 AS y, format('%s:%s', k, v % 2) AS z, jsonb_build_object('k', k) AS j, count(*) AS n
	FROM events GROUP BY 1, 2, 3, 4, 5$$),
('clock', $$SELECT date_trunc('day', t, 'UTC') AS b, extract(hour FROM t AT TIME ZONE 'Europe/Berlin') AS hour, count(*) AS n FROM events GROUP BY 1, 2$$),
('keys_only', $$SELECT date_trunc('day', t, 'UTC') AS b, k, b AS flag FROM events GROUP BY 1, 2, 3$$),
('whole_row', $$SELECT date_trunc('day', t) AS b, count(DISTINCT stamps) AS n, max((stamps).v) AS v FROM stamps GROUP BY 1$$),
('bucket_twice', $$SELECT date_trunc('day', t) AS b, date_trunc('day', t) + interval '12 hours' AS noon, count(*) AS n FROM stamps GROUP BY 1$$);
-- types of keys
INSERT INTO rollup (name, query, loose) VALUES
('key_c', $$SELECT date_trunc('day', t, 'UTC') AS b, c, min(c) AS least, count(*) AS n FROM events GROUP BY 1, 2$$, false),
('key_collate', $$SELECT date_trunc('day', t, 'UTC') AS b, k COLLATE "C" AS k, max(k COLLATE "POSIX") AS most FROM events GROUP BY 1, 2$$, false),
('key_any_case', $$SELECT date_trunc('day', t, 'UTC') AS b, ci, count(*) AS n FROM events GROUP BY 1, 2$$, true),
('key_numeric', $$SELECT date_trunc('day', t, 'UTC') AS b, n, sum(n)::numeric(12,1) AS rounded, max(n) AS most FROM events GROUP BY 1, 2$$, false),
('key_scale', $$SELECT date_trunc('day', t, 'UTC') AS b, m, count(*) AS n FROM events GROUP BY 1, 2$$, true),
('key_boolean', $$SELECT date_trunc('day', t, 'UTC') AS b, b AS flag, v > 10 AS big, count(*) AS n FROM events GROUP BY 1, 2, 3$$, false),
('key_jsonb', $$SELECT date_trunc('day', t, 'UTC') AS b, j, j -> 'a' AS a, count(*) AS n FROM events GROUP BY 1, 2, 3$$, false),
('key_array', $$SELECT date_trunc('day', t, 'UTC') AS b, a, count(*) AS n FROM events GROUP BY 1, 2$$, false),
('key_domain', $$SELECT date_trunc('day', t, 'UTC') AS b, s, w, max(s) AS most FROM events GROUP BY 1, 2, 3$$, false),
('key_char', $$SELECT date_trunc('day', t, 'UTC') AS b, ch, vc, min(ch) AS least, max(vc) AS most FROM events GROUP BY 1, 2, 3$$, false),
('key_enum', $$SELECT date_trunc('day', t, 'UTC') AS b, e, max(e) AS most, count(*) FILTER (WHERE e = 'ok') AS oks FROM events GROUP BY 1, 2$$, false),
('key_other', $$SELECT date_trunc('day', t, 'UTC') AS b, u, iv, r, ip, bits, by, d, count(*) AS n FROM events GROUP BY 1, 2, 3, 4, 5, 6, 7, 8$$, false),
('key_json', $$SELECT date_trunc('day', t, 'UTC') AS b, js ->> 'k' AS k, json_agg(v ORDER BY id)::jsonb AS vs FROM events GROUP BY 1, 2$$, false),
('key_many', (SELECT format($$SELECT date_trunc('day', t, 'UTC') AS b, %s, count(*) AS n FROM events GROUP BY 1, %s$$,
	string_agg('v % 2 + ' || i || ' AS k' || i, ', ' ORDER BY i), string_agg((i + 1)::text, ', ' ORDER BY i)) FROM generate_series(1, 31) AS i), false);
-- joins
INSERT INTO rollup (name, query) VALUES
('join_inner', $$SELECT date_trunc('day', t, 'UTC') AS b, label, sum(weight * v) AS w FROM events JOIN kind USING (k) GROUP BY 1, 2$$),
('join_left', $$SELECT date_trunc('day', e.t, 'UTC') AS b, d.label, count(*) AS n, count(d.k) AS found FROM events e LEFT JOIN kind d ON d.k = e.k AND e.v > 3 GROUP BY 1, 2$$),
('join_right', $$SELECT date_trunc('day', t, 'UTC') AS b, k, count(label) AS n FROM kind RIGHT JOIN events USING (k) GROUP BY 1, 2$$),
('join_comma', $$SELECT date_trunc('day', t, 'UTC') AS b, label, count(*) AS n FROM kind, events WHERE kind.k = events.k GROUP BY 1, 2$$),
('join_names', $$SELECT date_trunc('day', two, 'UTC') AS b, six, count(*) AS n FROM (stamped AS e (one, two) JOIN site AS d (four, five, six) ON e.one = d.four) GROUP BY 1, 2$$),
('join_using_alias', $$SELECT date_trunc('day', t, 'UTC') AS b, x.k, count(*) AS n FROM events JOIN kind USING (k) AS x GROUP BY 1, 2$$),
('join_two', $$SELECT date_trunc('day', t, 'UTC') AS b, name, count(*) AS n FROM events JOIN kind USING (k) JOIN site USING (k) GROUP BY 1, 2$$),
('join_natural', $$SELECT date_trunc('day', t, 'UTC') AS b, name, sum(id) AS n FROM events NATURAL JOIN site GROUP BY 1, 2$$),
('join_dimension_twice', $$SELECT date_trunc('day', t, 'UTC') AS b, x.label AS lx, y.label AS ly, count(*) AS n FROM events JOIN kind x USING (k) LEFT JOIN kind y ON y.weight = events.v % 4 GROUP BY 1, 2, 3$$),
('join_primary_key', $$SELECT date_trunc('day', t, 'UTC') AS b, kind.k, label, count(*) AS n FROM events JOIN kind USING (k) GROUP BY 1, kind.k$$),
('join_view', $$SELECT date_trunc('day', t, 'UTC') AS b, s.name, count(*) AS n FROM events JOIN sites AS s ON s.v = events.v GROUP BY 1, 2$$),
('join_same_name', $$SELECT date_trunc('day', twin.t, 'UTC') AS b, o.name, count(*) AS n FROM "Other.One".twin AS o, forms.twin WHERE forms.twin.v = o.v GROUP BY 1, 2$$);
CREATE VIEW sites AS SELECT DISTINCT v, name FROM site;
CREATE TABLE stamped (id int, t timestamptz NOT NULL, k text, v int);
CREATE TABLE twin (id int, t timestamptz NOT NULL, k text, v int);
CREATE TABLE "Other.One".twin AS TABLE site;
INSERT INTO source VALUES ('stamped', 'w'), ('twin', 'w');
-- of columns that only a join reads, changes are seen as well
CREATE TABLE joined_only (id int, t timestamptz NOT NULL, k text, v int);
CREATE TABLE joined_too (LIKE joined_only);
INSERT INTO source VALUES ('joined_only', 'w'), ('joined_too', 'w');
INSERT INTO rollup (name, query) VALUES
('join_only', $$SELECT date_trunc('day', t, 'UTC') AS b, label, count(*) AS n FROM joined_only JOIN (kind JOIN site USING (k)) USING (k) GROUP BY 1, 2$$),
('join_only_2', $$SELECT date_trunc('day', t, 'UTC') AS b, label, count(*) AS n FROM (joined_too JOIN kind USING (k)) JOIN site AS x (v2, k2, name) ON k = k2 GROUP BY 1, 2$$);
-- rollups over rollups
INSERT INTO rollup (name, query, expected) VALUES
('h_hour', $$SELECT date_trunc('hour', t, 'UTC') AS bucket, k, count(*) AS n, count(v) AS vs, sum(v) AS total, min(v) AS least, max(v) AS most FROM events GROUP BY 1, 2$$, NULL),
('h_day', $$SELECT date_trunc('day', bucket, 'UTC') AS bucket, k, sum(n) AS n, sum(vs) AS vs, sum(total) AS total, round(sum(total) / nullif(sum(vs), 0), 3) AS mean,
	min(least) AS least, max(most) AS most FROM h_hour GROUP BY 1, 2$$,
	$$SELECT date_trunc('day', t, 'UTC'), k, count(*)::numeric, count(v)::numeric, sum(v)::numeric, round(avg(v), 3), min(v), max(v) FROM events GROUP BY 1, 2$$),
('h_month', $$SELECT aggjobs_bucket('1 month', forms.h_day.bucket) AS bucket, forms.h_day.k, sum(forms.h_day.n) AS n, round(sum(total) / sum(vs), 3) AS mean
	FROM forms.h_day WHERE h_day.k IS NOT NULL GROUP BY 1, 2$$,
	$$SELECT date_trunc('month', t, 'UTC'), k, count(*)::numeric, round(avg(v), 3) FROM events WHERE k IS NOT NULL GROUP BY 1, 2$$),
('h_join', $$SELECT date_trunc('day', h.bucket, 'UTC') AS bucket, label, sum(n * weight) AS w FROM kind JOIN h_hour AS h USING (k) GROUP BY 1, 2$$,
	$$SELECT date_trunc('day', t, 'UTC'), label, sum(weight)::numeric FROM kind JOIN events USING (k) GROUP BY 1, 2$$),
('h_berlin', $$SELECT date_trunc('day', bucket, 'Europe/Berlin') AS bucket, sum(n) AS n FROM h_hour GROUP BY 1$$,
	$$SELECT date_trunc('day', t, 'Europe/Berlin'), count(*)::numeric FROM events GROUP BY 1$$),
('h_nano', $$SELECT aggjobs_bucket(86400000000000, hour) AS day, sum(n) AS n FROM by_nano GROUP BY 1$$,
	$$SELECT aggjobs_bucket(86400000000000, t), count(*)::numeric FROM nanos GROUP BY 1$$),
('h_date', $$SELECT aggjobs_bucket('1 month', day) AS month, k, sum(n) AS n FROM date_day GROUP BY 1, 2$$,
	$$SELECT aggjobs_bucket('1 month', t), k, count(*)::numeric FROM days GROUP BY 1, 2$$),
('h_odd', $$SELECT date_trunc('day', "B ""b"".\", 'UTC') AS b, "it's", sum("SELECT") AS "SELECT" FROM "It's ""odd"" \ é" GROUP BY 1, 2$$,
	$$SELECT date_trunc('day', "T t", 'UTC'), "K.k", sum("v""")::numeric FROM "Other.One"."it's a ""Table"" \ äöü" GROUP BY 1, 2$$);

-- -------------------------------------------------------------- the helpers
CREATE PROCEDURE write_rows(ids int4range) LANGUAGE plpgsql AS $$
DECLARE
	s source;
BEGIN
	FOR s IN SELECT * FROM source LOOP
		EXECUTE format('INSERT INTO %s SELECT id, %s, k, v FROM forms.make_rows(%L)', s.name, s.make, ids);
	END LOOP;
END $$;
-- five days with a change to summer time, some rows a year before, some keys and values NULL
CREATE FUNCTION make_rows(ids int4range) RETURNS TABLE (id int, w timestamptz, k text, v int) LANGUAGE sql AS $$
	SELECT i, timestamptz '2025-03-28 00:00+00' + i * 7919 % 7200 * interval '1 minute' + i % 7 * interval '0.1 seconds' - (i % 23 = 0)::int * interval '400 days',
		'key ' || nullif(i % 5, 4), nullif(i % 37, 36)
	FROM generate_series(lower(ids), upper(ids) - 1) AS i
$$;
-- one statement on each source; %t, %k, %v are its columns, %w(x) is an instant in its type
CREATE PROCEDURE change_rows(statement text) LANGUAGE plpgsql AS $$
DECLARE
	s source;
	names text[];
	command text;
	part text;
BEGIN
	FOR s IN SELECT * FROM source LOOP
		SELECT array_agg(quote_ident(attname) ORDER BY attnum) INTO names FROM pg_attribute
		WHERE attrelid = s.name::regclass AND attnum > 0 AND NOT attisdropped;
		command := replace(replace(replace(replace(statement, '%s', s.name), '%t', names[2]), '%k', names[3]), '%v', names[4]);
		FOR part IN SELECT m[1] FROM regexp_matches(command, '%w\(([^)]*)\)', 'g') AS m LOOP
			command := replace(command, '%w(' || part || ')', '(' || regexp_replace(s.make, '\mw\M', quote_literal(part) || '::timestamptz', 'g') || ')');
		END LOOP;
		EXECUTE command;
	END LOOP;
END $$;
CREATE PROCEDURE refresh_all() LANGUAGE plpgsql AS $$
DECLARE
	r text;
BEGIN
	FOR r IN SELECT name FROM rollup ORDER BY n LOOP
		CALL aggjobs_refresh(r);
	END LOOP;
END $$;
/*
 * How many rows of the query are not in the table or view, and the other way
 * round; compared as text, if values that are equal must also look alike.
 */
CREATE FUNCTION difference(query text, relation text, loose boolean, OUT missing bigint, OUT surplus bigint, OUT rows bigint) LANGUAGE plpgsql AS $$
DECLARE
	a text := CASE WHEN loose THEN format('SELECT * FROM (%s) AS q', query) ELSE format('SELECT q::text FROM (%s) AS q', query) END;
	b text := CASE WHEN loose THEN format('SELECT * FROM %s AS q', relation) ELSE format('SELECT q::text FROM %s AS q', relation) END;
BEGIN
	EXECUTE format('SELECT (SELECT count(*) FROM (%1$s EXCEPT ALL %2$s) AS d), (SELECT count(*) FROM (%2$s EXCEPT ALL %1$s) AS d), (SELECT count(*) FROM (%1$s) AS d)', a, b)
	INTO missing, surplus, rows;
END $$;
-- What is wrong anywhere; all times are old, so that after a refresh the table has everything.
CREATE FUNCTION wrong(refreshed boolean) RETURNS TABLE (name text, live_missing bigint, live_surplus bigint, table_missing bigint, table_surplus bigint)
LANGUAGE sql AS $$
	SELECT r.name, l.missing, l.surplus, t.missing, t.surplus
	FROM rollup AS r JOIN aggjobs.rollup AS a ON a.rollup_name = r.name,
		difference(coalesce(r.expected, r.query), a.live::text, r.loose) AS l,
		difference(CASE WHEN refreshed THEN coalesce(r.expected, r.query) ELSE 'TABLE ' || a.target END, a.target::text, r.loose) AS t
	WHERE l.missing + l.surplus + t.missing + t.surplus > 0
	ORDER BY n
$$;

-- --------------------------------------------------------------- the course
CALL write_rows('[1,300]');
DO $$
DECLARE
	r rollup;
BEGIN
	FOR r IN SELECT * FROM rollup ORDER BY n LOOP
		PERFORM aggjobs_create_rollup(r.name, r.query, NULL, schema => r.schema, epoch => r.epoch);
	END LOOP;
END $$;
SELECT count(*) AS rollups, count(*) FILTER (WHERE rows = 0) AS empty, sum(rows) AS rows
FROM rollup JOIN aggjobs.rollup AS a ON rollup_name = name, difference(coalesce(expected, rollup.query), live::text, loose);
\echo not computed
SELECT * FROM wrong(false);
CALL refresh_all();
\echo computed
SELECT * FROM wrong(true);
\echo a few late rows
CALL write_rows('[301,302]');
SELECT * FROM wrong(false);
CALL refresh_all();
SELECT * FROM wrong(true);
\echo many rows, written in this transaction, then committed
BEGIN;
CALL write_rows('[303,600]');
SELECT * FROM wrong(false);
COMMIT;
SELECT * FROM wrong(false);
CALL refresh_all();
SELECT * FROM wrong(true);
\echo values, keys and times updated
CALL change_rows('UPDATE %s SET %v = coalesce(%v, 0) + 1 WHERE id % 50 = 1');
CALL change_rows($$UPDATE %s SET %k = CASE WHEN id % 3 = 0 THEN 'key ' || id % 8 END WHERE id % 20 = 2$$);
CALL change_rows('UPDATE %s SET %t = %w(2025-03-30 01:30+00) WHERE id % 40 = 3');
SELECT * FROM wrong(false);
CALL refresh_all();
SELECT * FROM wrong(true);
\echo the same in one transaction, and undone in part
BEGIN;
CALL change_rows('UPDATE %s SET %v = coalesce(%v, 0) + 1 WHERE id % 50 = 4');
SAVEPOINT s;
CALL change_rows('UPDATE %s SET %t = %w(2025-03-29 23:30+00) WHERE id % 40 = 5');
CALL change_rows('DELETE FROM %s WHERE id % 60 = 6');
SELECT * FROM wrong(false);
ROLLBACK TO s;
SELECT * FROM wrong(false);
COMMIT;
CALL refresh_all();
SELECT * FROM wrong(true);
\echo some rows, and all of a day, then all rows deleted
CALL change_rows('DELETE FROM %s WHERE id % 60 = 7');
CALL change_rows('DELETE FROM %s WHERE %t >= %w(2025-03-30 00:00+00) AND %t < %w(2025-03-31 00:00+00)');
SELECT * FROM wrong(false);
CALL refresh_all();
SELECT * FROM wrong(true);
CALL change_rows('DELETE FROM %s');
SELECT * FROM wrong(false);
CALL refresh_all();
SELECT * FROM wrong(true);
SELECT sum(rows) AS rows FROM rollup JOIN aggjobs.rollup AS a ON rollup_name = name, difference('TABLE ' || target, target::text, loose);
\echo and anew
CALL write_rows('[601,700]');
SELECT * FROM wrong(false);
CALL refresh_all();
SELECT * FROM wrong(true);

-- ------------------------------------------------- what comes after creation
-- Renamed: table, columns, schema; each time the definition follows.
CREATE TABLE before (id int, t timestamptz NOT NULL, k text, v int);
CREATE TABLE parts_before (id int, t timestamptz NOT NULL, k text, v int) PARTITION BY RANGE (t);
CREATE TABLE part_before PARTITION OF parts_before DEFAULT;
INSERT INTO before SELECT id, w, k, v FROM make_rows('[1,100]');
INSERT INTO parts_before TABLE before;
TRUNCATE rollup;
INSERT INTO rollup (name, query, expected) VALUES
('names', $$SELECT date_trunc('hour', t, 'UTC') AS b, k, sum(v) AS v FROM before GROUP BY 1, 2$$,
	$$SELECT date_trunc('hour', "new T", 'UTC'), "new K", sum("new v") FROM "Other.One"."after" GROUP BY 1, 2$$),
('names_day', $$SELECT date_trunc('day', b, 'UTC') AS b, sum(v) AS v FROM names GROUP BY 1$$,
	$$SELECT date_trunc('day', "new T", 'UTC'), sum("new v")::numeric FROM "Other.One"."after" GROUP BY 1$$),
('part_names', $$SELECT date_trunc('hour', t, 'UTC') AS b, k, sum(v) AS v FROM parts_before GROUP BY 1, 2$$,
	$$SELECT date_trunc('hour', "new T", 'UTC'), "new K", sum("new v") FROM "Other.One".parts_after GROUP BY 1, 2$$);
SELECT aggjobs_create_rollup(name, query, NULL) > 0 AS made FROM rollup ORDER BY n;
CALL refresh_all();
ALTER TABLE before RENAME TO "after";
ALTER TABLE "after" RENAME t TO "new T";
ALTER TABLE "after" RENAME k TO "new K";
ALTER TABLE "after" RENAME v TO "new v";
ALTER TABLE "after" SET SCHEMA "Other.One";
ALTER TABLE parts_before RENAME TO parts_after;
ALTER TABLE parts_after RENAME t TO "new T";
ALTER TABLE parts_after RENAME k TO "new K";
ALTER TABLE parts_after RENAME v TO "new v";
ALTER TABLE parts_after SET SCHEMA "Other.One";
ALTER SCHEMA "Other.One" RENAME TO "Another";
UPDATE rollup SET expected = replace(expected, 'Other.One', 'Another');
ALTER TABLE "Another"."after" ADD more int DEFAULT 7, DROP id;
SELECT * FROM wrong(true);
INSERT INTO "Another"."after" SELECT w, k, v FROM make_rows('[101,150]');
INSERT INTO "Another".parts_after SELECT id, w, k, v FROM make_rows('[101,150]');
SELECT * FROM wrong(false);
CALL refresh_all();
SELECT * FROM wrong(true);
UPDATE "Another"."after" SET "new v" = "new v" + 1 WHERE "new v" % 10 = 1;
UPDATE "Another".parts_after SET "new T" = "new T" + interval '1 day' WHERE "new v" % 10 = 1;
DELETE FROM "Another"."after" WHERE "new v" % 10 = 2;
SELECT * FROM wrong(false);
CALL refresh_all();
SELECT * FROM wrong(true);
-- what is told of them has the new names
SELECT rollup_name, source, time_column FROM aggjobs.rollup WHERE rollup_name ~ 'names' ORDER BY 1;

-- Types of the columns read, and the columns, can't be changed or dropped under a rollup.
ALTER TABLE "Another"."after" ALTER "new v" TYPE numeric;
ALTER TABLE "Another"."after" DROP "new K";
DROP TABLE "Another"."after";
-- Dropping: not while another reads it, or a view.
SELECT aggjobs_drop_rollup('names');
CREATE VIEW reader AS SELECT * FROM names_day_live;
SELECT aggjobs_drop_rollup('names_day');
DROP VIEW reader;
SELECT aggjobs_drop_rollup('names_day');
SELECT aggjobs_drop_rollup('names', keep_table => true);
\d names
SELECT count(*) > 0 AS kept FROM names;
SELECT rollup_name FROM aggjobs.rollup WHERE rollup_name ~ '^names';
-- nothing is left at the source
\d "Another"."after"
DROP TABLE "Another"."after";
-- the kept table is in the way of a new one, until it is gone
CREATE TABLE again (t timestamptz NOT NULL);
SELECT aggjobs_create_rollup('names', $$SELECT date_trunc('hour', t, 'UTC') AS b FROM again GROUP BY 1$$, NULL);
DROP TABLE names;
SELECT aggjobs_create_rollup('names', $$SELECT date_trunc('hour', t, 'UTC') AS b FROM again GROUP BY 1$$, 'every 1 hour') > 0 AS made;
SELECT job_name, schedule FROM aggjobs.jobs WHERE job_name = 'names';
-- With the source goes the live view; the table stays, and the name is free when that is dropped.
DROP TABLE again CASCADE;
SELECT to_regclass('names') AS target, to_regclass('names_live') AS live;
CALL aggjobs_refresh('names');
DROP TABLE names;
CREATE TABLE again (t timestamptz NOT NULL);
SELECT aggjobs_create_rollup('names', $$SELECT date_trunc('hour', t, 'UTC') AS b FROM again GROUP BY 1$$, NULL) > 0 AS made;
SELECT aggjobs_drop_rollup('names');
-- A name that the key of the table would have is no hindrance.
CREATE TABLE names_key ();
CREATE TABLE names_b_key ();
SELECT aggjobs_create_rollup('names', $$SELECT date_trunc('hour', t, 'UTC') AS b FROM again GROUP BY 1$$, NULL) > 0 AS made;
SELECT aggjobs_drop_rollup('names');

-- ------------------------------------------------------------------ lookback
CREATE TABLE looked_at (id int, t timestamptz, k text, v int);
INSERT INTO looked_at SELECT id, w, k, v FROM make_rows('[1,200]');
CREATE VIEW a_view AS SELECT id, t, k, v FROM looked_at WHERE t IS NOT NULL;
CREATE MATERIALIZED VIEW a_matview AS TABLE a_view;
CREATE EXTENSION postgres_fdw;
CREATE SERVER here FOREIGN DATA WRAPPER postgres_fdw;
DO $$
BEGIN
	EXECUTE format('ALTER SERVER here OPTIONS (ADD host %L, ADD port %L, ADD dbname %L)',
		split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database());
	EXECUTE format('CREATE USER MAPPING FOR CURRENT_USER SERVER here OPTIONS (user %L)', session_user);
END $$;
CREATE FOREIGN TABLE a_foreign_table (id int, t timestamptz, k text, v int) SERVER here OPTIONS (schema_name 'forms', table_name 'looked_at');
TRUNCATE rollup;
INSERT INTO rollup (name, query) VALUES
('look_table', $$SELECT date_trunc('day', t, 'UTC') AS b, k, sum(v) AS v FROM looked_at WHERE t IS NOT NULL GROUP BY 1, 2$$),
('look_view', $$SELECT date_trunc('day', t, 'UTC') AS b, label, sum(v) AS v FROM a_view LEFT JOIN kind USING (k) GROUP BY 1, 2$$),
('look_matview', $$SELECT date_trunc('day', t, 'UTC') AS b, sum(v) AS v FROM a_matview GROUP BY 1$$),
('look_foreign', $$SELECT date_trunc('day', t, 'UTC') AS b, k, sum(v) AS v FROM a_foreign_table WHERE t IS NOT NULL GROUP BY 1, 2$$);
SELECT aggjobs_create_rollup(name, query, NULL, lookback => 100000) > 0 AS made FROM rollup ORDER BY n;
SELECT * FROM wrong(false);
CALL refresh_all();
SELECT * FROM wrong(true);
INSERT INTO looked_at SELECT id, w, k, v FROM make_rows('[201,300]');
INSERT INTO looked_at VALUES (0, NULL, 'key 0', 1);
REFRESH MATERIALIZED VIEW a_matview;
CALL refresh_all();
SELECT * FROM wrong(true);
UPDATE looked_at SET v = v + 1, t = t + interval '1 hour' WHERE id % 7 = 3;
DELETE FROM looked_at WHERE id % 7 = 4;
REFRESH MATERIALIZED VIEW a_matview;
CALL refresh_all();
SELECT * FROM wrong(true);
SELECT rollup_name, tracking, exact FROM aggjobs.rollups WHERE rollup_name ~ '^look' ORDER BY 1;
SELECT aggjobs_drop_rollup(name) FROM rollup;
DROP EXTENSION postgres_fdw CASCADE;

-- ------------------------------------------------------------- what is told
SET client_min_messages = notice;
SET TIME ZONE 'Europe/Berlin';
TRUNCATE rollup;
INSERT INTO rollup (name, query, expected) VALUES
('zoneless', $$SELECT date_trunc('day', t) AS b, k, min(date_trunc('month', events.t)) AS m FROM events GROUP BY date_trunc('day', events.t), k$$,
	$$SELECT date_trunc('day', t, 'Europe/Berlin') AS b, k, min(date_trunc('month', t, 'Europe/Berlin')) AS m FROM events GROUP BY 1, 2$$),
('told', $$SELECT date_trunc('day', t, 'UTC') AS b, count(*) AS n FROM events JOIN kind USING (k) JOIN site ON events.v = site.v GROUP BY 1$$, NULL);
SELECT aggjobs_create_rollup(name, query, NULL) > 0 AS made FROM rollup ORDER BY n;
SET client_min_messages = warning;
SET TIME ZONE 'Asia/Tokyo';
SELECT * FROM wrong(false);
CALL refresh_all();
SELECT * FROM wrong(true);
SET TIME ZONE 'America/New_York';
SELECT * FROM wrong(true);
-- Dimensions are not followed, and told about by the one who changes them.
UPDATE kind SET k = 'key 3' WHERE k = 'key 2';
SELECT name FROM wrong(true);
SELECT aggjobs_mark_changed('events');
SELECT * FROM wrong(false);
CALL refresh_all();
SELECT * FROM wrong(true);

-- ---------------------------------------------------------------- the ends of time
CREATE TABLE ends (t timestamptz NOT NULL, v int);
CREATE TABLE date_ends (t date NOT NULL, v int);
INSERT INTO ends VALUES ('-infinity', 1), ('4713-01-02 00:00+00 BC', 2), ('1600-02-29 12:00+00', 3), ('2025-01-01', 4), ('9999-12-31 23:59+00', 5), ('infinity', 6);
INSERT INTO date_ends SELECT t::date, v FROM ends;
TRUNCATE rollup;
INSERT INTO rollup (name, query) VALUES
('ends_hour', $$SELECT date_trunc('hour', t, 'UTC') AS b, sum(v) AS v FROM ends GROUP BY 1$$),
('ends_month', $$SELECT aggjobs_bucket('1 month', t, 'Europe/Berlin') AS b, sum(v) AS v FROM ends GROUP BY 1$$),
('ends_date', $$SELECT aggjobs_bucket('1 week', t) AS b, sum(v) AS v FROM date_ends GROUP BY 1$$);
SELECT aggjobs_create_rollup(name, query, NULL) > 0 AS made FROM rollup ORDER BY n;
SELECT * FROM wrong(false);
CALL refresh_all();
SELECT name, live_missing, live_surplus FROM wrong(true) WHERE live_missing + live_surplus > 0;
INSERT INTO ends VALUES ('-infinity', 10), ('1600-02-29 12:30+00', 30), ('infinity', 60);
INSERT INTO date_ends VALUES ('-infinity', 10), ('1600-02-29', 30), ('infinity', 60);
SELECT * FROM wrong(false);
UPDATE ends SET t = '-infinity' WHERE v = 3;
UPDATE ends SET t = 'infinity' WHERE v = 4;
UPDATE date_ends SET t = '-infinity' WHERE v = 3;
SELECT * FROM wrong(false);
CALL refresh_all();
SELECT * FROM wrong(false);
SET TIME ZONE 'UTC';
TABLE ends_hour ORDER BY 1;
TABLE ends_date ORDER BY 1;

-- ---------------------------------------------------------------- other roles
CREATE ROLE regress_forms_maker;
CREATE ROLE regress_forms_reader;
CREATE ROLE regress_forms_writer;
CREATE ROLE regress_forms_nobody;
SELECT aggjobs_grant('regress_forms_maker');
CREATE SCHEMA made AUTHORIZATION regress_forms_maker;
SET SESSION AUTHORIZATION regress_forms_maker;
SET search_path = made, public;
CREATE TABLE s (t timestamptz NOT NULL, k text, v int);
CREATE TABLE d (k text, label text);
INSERT INTO s SELECT timestamptz '2025-06-01 00:00+00' + i * interval '10 minutes', 'k' || i % 3, i FROM generate_series(1, 100) AS i;
INSERT INTO d VALUES ('k1', 'one');
SELECT aggjobs_create_rollup('made_hour', $$SELECT date_trunc('hour', t, 'UTC') AS b, k, label, sum(v) AS v FROM s LEFT JOIN d USING (k) GROUP BY 1, 2, 3$$, NULL) > 0 AS made;
SELECT aggjobs_create_rollup('made_day', $$SELECT date_trunc('day', b, 'UTC') AS b, sum(v) AS v FROM made_hour GROUP BY 1$$, NULL) > 0 AS made;
CALL aggjobs_refresh('made_day');
GRANT USAGE ON SCHEMA made TO regress_forms_reader, regress_forms_writer, regress_forms_nobody;
GRANT SELECT ON made_hour_live, made_day_live TO regress_forms_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON s TO regress_forms_writer;
-- who writes needs no more rights than on the table
SET SESSION AUTHORIZATION regress_forms_writer;
INSERT INTO made.s VALUES ('2025-06-01 03:00+00', 'k1', 1000);
UPDATE made.s SET v = v + 1 WHERE v = 7;
DELETE FROM made.s WHERE v = 9;
-- who reads the live view none but on it
SET SESSION AUTHORIZATION regress_forms_reader;
SELECT * FROM made.made_day_live ORDER BY 1;
SELECT sum(v) FROM made.made_hour_live;
SELECT count(*) FROM made.made_hour;
SELECT count(*) FROM made.s;
-- the definitions and functions are for those who were granted them
SELECT aggjobs_create_rollup('other', 'SELECT 1');
CALL aggjobs_refresh('made_hour');
SET SESSION AUTHORIZATION regress_forms_nobody;
SELECT count(*) FROM made.made_hour_live;
-- another maker can't change, refresh or drop it
RESET SESSION AUTHORIZATION;
SELECT aggjobs_grant('regress_forms_nobody');
SET SESSION AUTHORIZATION regress_forms_nobody;
SET search_path = made, public;
CALL aggjobs_refresh('made_hour');
SELECT aggjobs_drop_rollup('made_day');
SELECT aggjobs_drop_rollup('made_day', true);
SELECT aggjobs_create_rollup('not_mine', 'SELECT date_trunc(''day'', b, ''UTC'') AS b FROM made_hour GROUP BY 1', NULL);
SELECT aggjobs_create_rollup('not_mine', 'SELECT date_trunc(''day'', t, ''UTC'') AS b FROM s GROUP BY 1', NULL, lookback => 3);
SET SESSION AUTHORIZATION regress_forms_maker;
CALL aggjobs_refresh('made_day');
SELECT live.b, live.v, made.v AS stored FROM made_day_live AS live JOIN made_day AS made USING (b) ORDER BY 1;
SELECT (SELECT sum(v) FROM s) AS raw, (SELECT sum(v) FROM made_hour) AS hours, (SELECT sum(v) FROM made_hour_live) AS live;
SELECT aggjobs_drop_rollup('made_day');
SELECT aggjobs_drop_rollup('made_hour');
RESET SESSION AUTHORIZATION;

SET client_min_messages = error;
SELECT aggjobs_revoke('regress_forms_maker'), aggjobs_revoke('regress_forms_nobody');
SET search_path = forms, public;
DO $$
DECLARE
	r text;
BEGIN
	FOR r IN SELECT rollup_name FROM aggjobs.rollup
	         WHERE target IN (SELECT oid FROM pg_class WHERE relnamespace IN ('forms'::regnamespace, '"Another"'::regnamespace)) ORDER BY rollup_id DESC LOOP
		PERFORM aggjobs_drop_rollup(r);
	END LOOP;
END $$;
-- the tables are as they were
SELECT relname FROM pg_class WHERE relnamespace IN ('forms'::regnamespace, '"Another"'::regnamespace)
	AND (relname ~ '_live$' OR relam = (SELECT oid FROM pg_am WHERE amname = 'aggjobs'));
SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE tgname ~ '^aggjobs' AND tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'forms'::regnamespace);
DROP SCHEMA forms, "Another", made CASCADE;
DROP ROLE regress_forms_maker, regress_forms_reader, regress_forms_writer, regress_forms_nobody;
