-- Updates and deletes are noted alike whether our own function stands in for
-- the condition of a trigger ("quick") or the server evaluates it ("slow").
\set VERBOSITY terse
\pset footer off
\pset null ~
SET client_min_messages = warning;
SET timezone = 'UTC';
CREATE SCHEMA updates;
SET search_path = updates, public;
SET track_functions = 'all';

-- Two partitions: one made by the server, one with its columns in another order.
CREATE PROCEDURE make(name text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE %I (kind text PRIMARY KEY)', name || '_kinds');
	EXECUTE format('INSERT INTO %I VALUES (''a''), (''b''), (''c'')', name || '_kinds');
	EXECUTE format('CREATE TABLE %I (gone integer, id integer NOT NULL, unread text, at timestamptz NOT NULL,
		kind text REFERENCES %I ON UPDATE CASCADE ON DELETE CASCADE, amount integer,
		doubled integer GENERATED ALWAYS AS (amount * 2) STORED, big text, price numeric, UNIQUE (id, at))
		PARTITION BY RANGE (at)', name, name || '_kinds');
	EXECUTE format('ALTER TABLE %I DROP COLUMN gone', name);
	EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (''2024-01-01'') TO (''2024-01-02'')', name || '_1', name);
	EXECUTE format('CREATE TABLE %I (price numeric, big text, lost integer, amount integer, lost_too text,
		doubled integer GENERATED ALWAYS AS (amount * 2) STORED, kind text, at timestamptz NOT NULL, unread text,
		id integer NOT NULL)', name || '_2');
	EXECUTE format('ALTER TABLE %I DROP COLUMN lost, DROP COLUMN lost_too', name || '_2');
	EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (''2024-01-02'') TO (''2024-01-03'')', name, name || '_2');
	EXECUTE format('INSERT INTO %I (id, unread, at, kind, amount, big, price)
		SELECT i, ''u'', timestamptz ''2024-01-01'' + i * interval ''1 hour'', (ARRAY[''a'', ''b'', NULL])[1 + i %% 3], i,
			(SELECT string_agg(md5(i || '' '' || j), '''') FROM generate_series(1, 300) AS j), i / 8.0
		FROM generate_series(0, 47) AS i', name);
	PERFORM aggjobs_create_rollup('updates_' || name, format('SELECT date_trunc(''hour'', t.at, ''UTC'') AS bucket, t.kind,
		count(*) AS n, sum(t.doubled) AS doubled, max(md5(t.big)) AS big, sum(t.price) AS price FROM %I AS t GROUP BY 1, 2', name),
		schedule => NULL);
END $$;
CALL make('quick');
CALL make('slow');
-- A condition that is not exactly ours is the server's to evaluate.
CREATE PROCEDURE make_slow(name text) LANGUAGE plpgsql AS $$
DECLARE
	definition text;
BEGIN
	FOR definition IN SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = name::regclass AND tgname LIKE 'aggjobs%' LOOP
		EXECUTE replace(replace(definition, 'CREATE TRIGGER', 'CREATE OR REPLACE TRIGGER'), 'WHEN (', 'WHEN (true AND ');
	END LOOP;
	EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER aggjobs_capture_update, ENABLE ALWAYS TRIGGER aggjobs_capture_delete', name);
END $$;
CALL make_slow('slow');
CALL aggjobs_refresh('updates_quick');
CALL aggjobs_refresh('updates_slow');
CREATE FUNCTION calls() RETURNS bigint LANGUAGE sql AS $$
	SELECT coalesce(sum(pg_stat_get_xact_function_calls(oid)), 0)
	FROM pg_proc WHERE proname LIKE 'note\_%' AND pronamespace = 'aggjobs'::regnamespace $$;
CREATE FUNCTION hours(rollup text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(to_char(from_time, 'DD"_"HH24'), ' ' ORDER BY from_time) FROM aggjobs.dirty_buckets(rollup, NULL::timestamptz)
	WHERE from_time < aggjobs.open_from(rollup, NULL::timestamptz) $$;
-- Do a thing to both, look, and undo it.
CREATE PROCEDURE try(statement text, INOUT noted text DEFAULT NULL, INOUT same boolean DEFAULT NULL,
	INOUT by_server boolean DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
	before bigint;
	wanted text;
BEGIN
	EXECUTE replace(statement, '@', 'slow');
	wanted := hours('updates_slow');
	ROLLBACK;
	before := calls();
	EXECUTE replace(statement, '@', 'quick');
	noted := hours('updates_quick');
	by_server := calls() > before;
	same := noted IS NOT DISTINCT FROM wanted;
	ROLLBACK;
END $$;
-- The server is at work where it should be.
SELECT calls() AS before \gset
BEGIN;
UPDATE slow SET kind = 'c' WHERE id IN (1, 25);
DELETE FROM slow WHERE id IN (1, 25);
SELECT calls() - :before AS calls;
ROLLBACK;

-- columns that are read, that are not, and that stay as they are
CALL try('UPDATE @ SET kind = ''c'' WHERE id IN (1, 25)');
CALL try('UPDATE @ SET unread = ''x''');
CALL try('UPDATE @ SET kind = kind, price = price * 1, unread = ''x''');
CALL try('UPDATE @ SET kind = NULL WHERE id IN (1, 2, 25, 26)');
CALL try('UPDATE @ SET kind = ''a'' WHERE kind IS NULL AND id > 40');
CALL try('UPDATE @ SET price = 0 WHERE id IN (0, 5, 30)');
-- generated from a column that is not read
CALL try('UPDATE @ SET amount = amount + 1 WHERE id IN (2, 26)');
-- stored elsewhere: not touched, the same bytes again, others
SELECT relname, pg_relation_size(reltoastrelid) > 0 AS stored_elsewhere
FROM pg_class WHERE relname LIKE 'quick\__' ORDER BY relname;
CALL try('UPDATE @ SET big = big, unread = ''x''');
CALL try('UPDATE @ SET big = big || '''' WHERE id IN (3, 27)');
CALL try('UPDATE @ SET big = reverse(reverse(big)), unread = ''x''');
CALL try('UPDATE @ SET big = reverse(big) WHERE id IN (3, 27)');
-- time that moves: within a partition, to another one, and there and back
CALL try('UPDATE @ SET at = at + interval ''2 hours'' WHERE id IN (4, 30)');
CALL try('UPDATE @ SET at = at + interval ''1 day'' WHERE id = 6');
CALL try('UPDATE @ SET at = timestamptz ''2024-01-02 23:00'' - (at - timestamptz ''2024-01-01'') WHERE id IN (7, 40)');
CALL try('UPDATE @ SET at = at + interval ''1 minute'' WHERE id IN (8, 31)');
-- deletes
CALL try('DELETE FROM @ WHERE id IN (0, 23, 24, 47)');
CALL try('DELETE FROM @ WHERE at >= ''2024-01-01 20:00'' AND at < ''2024-01-02 03:00''');
CALL try('DELETE FROM @_2 WHERE id < 27');
CALL try('UPDATE @_2 SET kind = ''c'' WHERE id < 27');

-- statements of all kinds
CALL try('MERGE INTO @ AS t USING (VALUES (1, true), (25, false), (26, true)) AS v (id, keep) ON t.id = v.id
	WHEN MATCHED AND v.keep THEN UPDATE SET kind = ''c'' WHEN MATCHED THEN DELETE');
CALL try('WITH u AS (UPDATE @ SET kind = ''c'' WHERE id IN (2, 26) RETURNING id), d AS (DELETE FROM @ WHERE id = 30 RETURNING id)
	SELECT count(*) FROM u, d');
CALL try('WITH u AS (UPDATE @ SET kind = ''c'' WHERE id IN (2, 26) RETURNING id) INSERT INTO @_kinds SELECT ''k'' || id FROM u');
CALL try('UPDATE @ AS t SET price = o.price + 1 FROM @ AS o WHERE o.id = t.id + 1 AND t.id IN (23, 24)');
CALL try('UPDATE ONLY @_1 SET price = 0 WHERE id = 10');
CALL try('CREATE VIEW writable AS SELECT id AS number, price * 1 AS same, price AS cost, unread FROM @;
	UPDATE writable SET cost = 0 WHERE number IN (11, 33)');
CALL try('CREATE RULE r AS ON UPDATE TO @_kinds DO ALSO UPDATE @ SET price = 0 WHERE kind = OLD.kind AND id < 4; UPDATE @_kinds SET kind = kind');
CALL try('EXPLAIN UPDATE @ SET price = 0');
CALL try('EXPLAIN ANALYZE UPDATE @ SET price = 0 WHERE id IN (12, 34)');
CALL try('DO $d$ BEGIN FOR i IN 1..12 LOOP UPDATE @ SET price = 0 WHERE id = i; END LOOP; END $d$');
-- what a savepoint takes back stays noted
CALL try('DO $d$ BEGIN UPDATE @ SET price = 0 WHERE id = 13; RAISE SQLSTATE ''22000''; EXCEPTION WHEN OTHERS THEN DELETE FROM @ WHERE id = 14; END $d$');
SET session_replication_role = replica;
CALL try('UPDATE @ SET price = 0 WHERE id IN (15, 35)');
RESET session_replication_role;
-- rows routed to partitions are out of our sight, and left to the server
CALL try('INSERT INTO @ (id, at, kind) VALUES (1, ''2024-01-01 01:00'', ''c''), (26, ''2024-01-02 02:00'', ''c'')
	ON CONFLICT (id, at) DO UPDATE SET kind = excluded.kind');
CALL try('INSERT INTO @_1 (id, at, kind) VALUES (1, ''2024-01-01 01:00'', ''c'') ON CONFLICT (id, at) DO UPDATE SET kind = excluded.kind');
CALL try('INSERT INTO @_1 (id, at, kind) VALUES (1, ''2024-01-01 01:00'', ''c'') ON CONFLICT (id, at) DO UPDATE SET unread = excluded.kind');
CALL try('INSERT INTO @_1 (id, at, kind) VALUES (1, ''2024-01-01 01:00'', ''c'') ON CONFLICT DO NOTHING');
CALL try('WITH i AS (INSERT INTO @_1 (id, at, kind) VALUES (1, ''2024-01-01 01:00'', ''c'')
	ON CONFLICT (id, at) DO UPDATE SET kind = excluded.kind RETURNING id) INSERT INTO @_kinds SELECT ''k'' || id FROM i');
-- foreign keys
CALL try('DELETE FROM @_kinds WHERE kind = ''b''');
CALL try('UPDATE @_kinds SET kind = ''z'' WHERE kind = ''a''');

-- what a BEFORE trigger changes is seen, though the statement sets another column
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.price := 0;
	IF NEW.id % 8 = 0 THEN
		NEW.at := NEW.at + interval '3 hours';
	END IF;
	RETURN NEW;
END $$;
CALL try('CREATE TRIGGER meddle BEFORE UPDATE ON @ FOR EACH ROW EXECUTE FUNCTION meddle();
	UPDATE @ SET unread = ''x'' WHERE id IN (1, 25)');
CALL try('CREATE TRIGGER meddle BEFORE UPDATE ON @_2 FOR EACH ROW EXECUTE FUNCTION meddle();
	UPDATE @ SET unread = ''x'' WHERE id IN (1, 25, 32)');
-- one statement within another, which changes the table's entry in the catalog
CREATE FUNCTION meddle_more() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('DELETE FROM %I WHERE id = %s', TG_ARGV[0], NEW.id + 1);
	EXECUTE format('GRANT SELECT ON TABLE %I, %I TO PUBLIC', TG_ARGV[0], TG_ARGV[0] || '_2');
	RETURN NEW;
END $$;
CALL try('CREATE TRIGGER more BEFORE UPDATE ON @ FOR EACH ROW EXECUTE FUNCTION meddle_more(''@'');
	UPDATE @ SET price = 0 WHERE id IN (1, 5, 25)');

-- what is known of a table is forgotten when it changes
CALL try('ALTER TABLE @ DROP COLUMN unread; ALTER TABLE @ RENAME kind TO sort; UPDATE @ SET sort = ''c'' WHERE id IN (1, 25)');
CALL try('CREATE TABLE @_3 (big text, id integer NOT NULL, doubled integer GENERATED ALWAYS AS (amount * 2) STORED, price numeric,
	kind text, unread text, at timestamptz NOT NULL, amount integer); INSERT INTO @_3 (id, at) VALUES (50, ''2024-01-03 05:00'');
	UPDATE @_3 SET kind = ''a'';
	ALTER TABLE @ ATTACH PARTITION @_3 FOR VALUES FROM (''2024-01-03'') TO (''2024-01-04''); UPDATE @ SET kind = ''c'' WHERE id IN (1, 50)');

-- in earnest: the live view is right before a refresh and after
CREATE VIEW raw AS SELECT date_trunc('hour', at, 'UTC') AS bucket, kind, count(*) AS n, sum(doubled) AS doubled,
	max(md5(big)) AS big, sum(price) AS price FROM quick GROUP BY 1, 2;
CREATE VIEW wrong AS SELECT count(*) FROM ((TABLE updates_quick_live EXCEPT ALL TABLE raw)
	UNION ALL (TABLE raw EXCEPT ALL TABLE updates_quick_live)) AS d;
UPDATE quick SET at = timestamptz '2024-01-02 23:30' - (at - timestamptz '2024-01-01') WHERE id % 5 = 0;
UPDATE quick SET amount = amount + 1 WHERE id % 7 = 0;
UPDATE quick_kinds SET kind = 'z' WHERE kind = 'a';
DELETE FROM quick WHERE id % 11 = 0;
SELECT hours('updates_quick');
TABLE wrong;
CALL aggjobs_refresh('updates_quick');
SELECT hours('updates_quick');
TABLE wrong;

-- a rollup that reads one more column changes the condition
SELECT aggjobs_create_rollup('updates_unread', $$
	SELECT date_trunc('hour', q.at, 'UTC') AS bucket, max(q.unread) AS unread FROM quick AS q GROUP BY 1 $$, schedule => NULL) > 0 AS made;
CALL aggjobs_refresh('updates_unread');
BEGIN;
UPDATE quick SET unread = 'y' WHERE id IN (2, 27);
SELECT hours('updates_unread');
ROLLBACK;
SELECT aggjobs_drop_rollup('updates_unread');

-- time by numbers
CREATE TABLE numbers (id integer PRIMARY KEY, ms bigint NOT NULL, v integer);
INSERT INTO numbers SELECT i, 1704067200000 + i * 3600000, i FROM generate_series(0, 47) AS i;
SELECT aggjobs_create_rollup('updates_numbers', $$
	SELECT aggjobs_bucket(3600000::bigint, n.ms) AS bucket, sum(n.v) AS v FROM numbers AS n GROUP BY 1 $$,
	schedule => NULL, epoch => 'millisecond') > 0 AS made;
CALL aggjobs_refresh('updates_numbers');
SELECT calls() AS before \gset
BEGIN;
UPDATE numbers SET v = v + 1 WHERE id = 3;
UPDATE numbers SET ms = ms + 2 * 3600000 WHERE id = 10;
DELETE FROM numbers WHERE id = 20;
SELECT (bucket - 1704067200000) / 3600000 AS hour FROM aggjobs.dirty_buckets('updates_numbers', NULL::bigint)
WHERE from_time < aggjobs.open_from('updates_numbers', NULL::bigint) ORDER BY bucket;
SELECT calls() - :before AS calls;
ROLLBACK;

SELECT aggjobs_drop_rollup('updates_numbers');
UPDATE numbers SET v = v + 1;

DROP VIEW wrong;
SELECT aggjobs_drop_rollup('updates_quick');
SELECT aggjobs_drop_rollup('updates_slow');
DROP SCHEMA updates CASCADE;
