-- A rollup gets another query: what differs is shown, it is computed anew
-- beside the old one, and takes its place, with all that hangs on it.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA alter_test;
SET search_path = alter_test, public;

CREATE TABLE events (
	at     timestamptz NOT NULL,
	usr    int,
	kind   text,
	amount numeric,
	ms     float8
);
CREATE INDEX ON events (at);
INSERT INTO events
SELECT '2026-01-01 00:00+00'::timestamptz + i * interval '7 minutes', i % 5, 'k' || i % 3, i % 100, i % 50
FROM generate_series(1, 5000) i;

CREATE TABLE queries (name text PRIMARY KEY, query text);
INSERT INTO queries VALUES
	('plain',  $$SELECT date_trunc('hour', at, 'UTC') AS hour, usr, count(*) AS n, sum(amount) AS total FROM events GROUP BY 1, 2$$),
	('spelt otherwise',
	           $$SELECT date_trunc('hour', e.at, 'UTC') AS hour, e.usr, count(*) AS n, sum(e.amount) AS total FROM alter_test.events AS e GROUP BY hour, usr$$),
	('wider',  $$SELECT date_trunc('hour', at, 'UTC') AS hour, usr, count(*) AS n, sum(amount) AS total, avg(ms) AS avg_ms FROM events GROUP BY 1, 2$$),
	('narrow', $$SELECT date_trunc('hour', at, 'UTC') AS hour, usr, count(*) AS n FROM events GROUP BY 1, 2$$),
	('some',   $$SELECT date_trunc('hour', at, 'UTC') AS hour, usr, count(*) AS n FROM events WHERE kind <> 'k1' GROUP BY 1, 2$$),
	('by kind',$$SELECT date_trunc('hour', at, 'UTC') AS hour, kind, usr, count(*) AS n FROM events WHERE kind <> 'k1' GROUP BY 1, 2, 3$$),
	('of n',   $$SELECT date_trunc('hour', at, 'UTC') AS hour, usr, count(ms) AS n FROM events GROUP BY 1, 2$$),
	('as text',$$SELECT date_trunc('hour', at, 'UTC') AS hour, usr, count(*)::text AS n FROM events GROUP BY 1, 2$$),
	('by day', $$SELECT date_trunc('day', at, 'UTC') AS hour, usr, count(*) AS n FROM events GROUP BY 1, 2$$);

CREATE FUNCTION query(text) RETURNS text LANGUAGE sql AS 'SELECT query FROM alter_test.queries WHERE name = $1';

-- Rows in which a live view and a query differ, and a table and a live view.
CREATE FUNCTION differences(live regclass, query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM ((TABLE %s EXCEPT ALL (%s)) UNION ALL ((%s) EXCEPT ALL TABLE %s)) d',
	               live, query, query, live) INTO n;
	RETURN n;
END $$;

SELECT aggjobs_create_rollup('hourly', query('plain'), schedule => NULL) > 0 AS made;
SELECT aggjobs_create_rollup('daily',
	$$SELECT date_trunc('day', hour, 'UTC') AS day, usr, sum(n) AS n FROM hourly GROUP BY 1, 2$$, schedule => NULL) > 0 AS made;
SELECT aggjobs_create_rollup('monthly',
	$$SELECT date_trunc('month', day, 'UTC') AS month, sum(n) AS n FROM daily GROUP BY 1$$, schedule => NULL) > 0 AS made;
CALL aggjobs_refresh('monthly');

-- What would change.
SELECT * FROM aggjobs_alter_rollup('hourly', query('spelt otherwise'), dry_run => true);
SELECT * FROM aggjobs_alter_rollup('hourly', query('wider'), dry_run => true);
SELECT * FROM aggjobs_alter_rollup('hourly', query('narrow'), dry_run => true);
SELECT * FROM aggjobs_alter_rollup('hourly', query('some'), dry_run => true);
SELECT * FROM aggjobs_alter_rollup('hourly', query('by kind'), dry_run => true);
SELECT * FROM aggjobs_alter_rollup('hourly', query('of n'), dry_run => true);
SELECT * FROM aggjobs_alter_rollup('monthly',
	$$SELECT date_trunc('month', day, 'UTC') AS month, sum(n) AS n, max(n) AS most FROM daily d WHERE usr > 1 GROUP BY 1$$, dry_run => true);
SELECT count(*) AS successors FROM aggjobs.rollups WHERE replaces IS NOT NULL;

-- The same query is no change.
SELECT * FROM aggjobs_alter_rollup('hourly', query('spelt otherwise'));
SELECT count(*) AS successors FROM aggjobs.rollups WHERE replaces IS NOT NULL;

-- A measure more: all that the table was given is there afterwards.
CREATE ROLE alter_reader;
GRANT SELECT ON hourly TO alter_reader WITH GRANT OPTION;
GRANT SELECT (hour, n) ON hourly_live TO alter_reader;
CREATE INDEX hourly_by_user ON hourly (usr, hour) WHERE usr > 0;
CREATE INDEX ON hourly ((n + 1));
ALTER TABLE hourly SET (fillfactor = 70);
ALTER TABLE hourly ALTER usr SET STATISTICS 500;
COMMENT ON COLUMN hourly.n IS 'number of events';
ALTER VIEW hourly_live SET (security_barrier = true);
CREATE VIEW mine AS SELECT hour, n FROM hourly_live;
BEGIN;
SELECT * FROM aggjobs_alter_rollup('hourly', query('wider'));
SELECT rollup_name, replaces, complete_from, live_view FROM aggjobs.rollups WHERE replaces IS NOT NULL;
SELECT differences('hourly_live', query('plain')) AS as_before, differences('hourly_next_live', query('wider')) AS next;
CALL aggjobs_refresh('hourly_next');
COMMIT;
SELECT differences('hourly_live', query('wider')) AS hourly, to_regclass('hourly_next') AS next,
       (SELECT count(*) FROM mine) = (SELECT count(*) FROM hourly_live) AS mine;
\d hourly
SELECT obj_description('hourly'::regclass, 'pg_class'), obj_description('hourly_live'::regclass, 'pg_class');
SELECT relname, replace(relacl::text, 'tm/', 't/') AS relacl FROM pg_class WHERE oid = 'hourly'::regclass AND relacl::text ~ 'alter_reader=r\*/' OR relname = 'hourly_live' AND relacl IS NOT NULL;
SELECT count(*) AS columns_granted FROM pg_attribute WHERE attrelid = 'hourly_live'::regclass AND attacl::text ~ 'alter_reader=r';
SELECT relname, reloptions FROM pg_class WHERE oid IN ('hourly'::regclass, 'hourly_live'::regclass) ORDER BY 1;
SELECT attname, greatest(attstattarget, 0) AS target, col_description(attrelid, attnum) FROM pg_attribute
WHERE attrelid = 'hourly'::regclass AND attname IN ('usr', 'n') ORDER BY 1;
-- Nothing that the rollups above read has changed.
SELECT rollup_name, source, source_rollup, stale_ranges FROM aggjobs.rollups
WHERE rollup_name IN ('hourly', 'daily', 'monthly') ORDER BY rollup_name;
SELECT count(*) AS wrong FROM aggjobs_verify('hourly');

-- Late rows climb from the new table as from the old one.
INSERT INTO events VALUES ('2026-01-10 10:10+00', 1, 'k0', 5, 5);
UPDATE events SET usr = 9 WHERE at = '2026-01-01 00:07+00';
CALL aggjobs_refresh('monthly');
SELECT differences('daily_live', $$SELECT date_trunc('day', at, 'UTC'), usr, count(*) FROM events GROUP BY 1, 2$$) AS daily,
       (SELECT sum(n) FROM monthly) = (SELECT count(*) FROM events WHERE at < date_trunc('month', now(), 'UTC')) AS monthly,
       (SELECT count(*) FROM aggjobs.stale s JOIN aggjobs.rollup r USING (rollup_id) WHERE r.rollup_name IN ('hourly', 'daily', 'monthly')) AS stale;

-- A measure less: the view is made anew, and with it those above.  Nobody else may read it.
SELECT * FROM aggjobs_alter_rollup('hourly', query('narrow'));
DROP VIEW mine;
GRANT SELECT ON daily_live TO alter_reader;
BEGIN;
SELECT * FROM aggjobs_alter_rollup('hourly', query('narrow'));
CALL aggjobs_refresh('hourly_next');
COMMIT;
SELECT differences('hourly_live', query('narrow')) AS hourly,
       differences('daily_live', $$SELECT date_trunc('day', at, 'UTC'), usr, count(*) FROM events GROUP BY 1, 2$$) AS daily,
       (SELECT count(*) FROM aggjobs.stale s JOIN aggjobs.rollup r USING (rollup_id) WHERE r.rollup_name IN ('daily', 'monthly')) AS stale_above;
SELECT has_table_privilege('alter_reader', 'daily_live', 'SELECT') AS may_read,
       has_column_privilege('alter_reader', 'hourly_live', 'hour', 'SELECT') AS may_read_hour,
       has_column_privilege('alter_reader', 'hourly_live', 'usr', 'SELECT') AS may_read_usr;
SELECT relname FROM pg_class WHERE relname LIKE 'aggjobs_replaced%';

-- Another WHERE: everything above is computed again.
BEGIN;
SELECT * FROM aggjobs_alter_rollup('hourly', query('some'));
CALL aggjobs_refresh('hourly_next');
COMMIT;
SELECT differences('hourly_live', query('some')) AS hourly,
       differences('daily_live', $$SELECT date_trunc('day', at, 'UTC'), usr, count(*) FROM events WHERE kind <> 'k1' GROUP BY 1, 2$$) AS daily,
       (SELECT count(*) > 0 FROM aggjobs.stale s JOIN aggjobs.rollup r USING (rollup_id) WHERE r.rollup_name = 'daily') AS daily_is_stale;
CALL aggjobs_refresh('monthly');
SELECT (SELECT sum(n) FROM monthly) = (SELECT count(*) FROM events WHERE kind <> 'k1' AND at < date_trunc('month', now(), 'UTC')) AS monthly;

-- Conditions may be many, and are compared as such.
BEGIN;
SELECT part, change FROM aggjobs_alter_rollup('hourly', $$SELECT date_trunc('hour', at, 'UTC') AS hour, usr, count(*) AS n FROM events WHERE kind <> 'k1' AND usr > 1 AND amount > 5 GROUP BY 1, 2$$);
CALL aggjobs_refresh('hourly_next');
SELECT part, change, before, after FROM aggjobs_alter_rollup('hourly', $$SELECT date_trunc('hour', at, 'UTC') AS hour, usr, count(*) AS n FROM events WHERE kind <> 'k1' AND usr > 1 AND amount > 5 GROUP BY 1, 2$$);
SELECT part, change, before, after FROM aggjobs_alter_rollup('hourly', query('some'));
ROLLBACK;

-- Another key.
BEGIN;
SELECT * FROM aggjobs_alter_rollup('hourly', query('by kind'));
CALL aggjobs_refresh('hourly_next');
COMMIT;
CALL aggjobs_refresh('monthly');
SELECT differences('hourly_live', query('by kind')) AS hourly,
       differences('daily_live', $$SELECT date_trunc('day', at, 'UTC'), usr, count(*) FROM events WHERE kind <> 'k1' GROUP BY 1, 2$$) AS daily;

-- The background does it, and takes its job away.
SELECT part, column_name, change FROM aggjobs_alter_rollup('hourly', query('narrow'));
SELECT aggjobs_wait(max(run_id)) FROM aggjobs.run WHERE job_name = 'hourly_next';
SELECT differences('hourly_live', query('narrow')) AS hourly, to_regclass('hourly_next') AS next,
       (SELECT count(*) FROM aggjobs.job WHERE job_name = 'hourly_next') AS jobs;

-- What was begun is given up: by hand, by another query, by the present one, with the rollup.
BEGIN;
SELECT part, change FROM aggjobs_alter_rollup('hourly', query('wider'));
SELECT aggjobs_drop_rollup('hourly_next');
SELECT part, change FROM aggjobs_alter_rollup('hourly', query('wider'));
SELECT part, change FROM aggjobs_alter_rollup('hourly', query('some'));
SELECT query = query('some') AS some FROM aggjobs.rollup WHERE replaces = 'hourly';
SELECT part, change FROM aggjobs_alter_rollup('hourly', query('narrow'));
SELECT count(*) AS successors, count(j) AS jobs FROM aggjobs.rollup r LEFT JOIN aggjobs.job j ON j.job_name = 'hourly_next' WHERE r.replaces = 'hourly';
SELECT part, change FROM aggjobs_alter_rollup('monthly', $$SELECT date_trunc('month', day, 'UTC') AS month, max(n) AS n FROM daily GROUP BY 1$$);
SELECT aggjobs_drop_rollup('monthly');
SELECT rollup_name FROM aggjobs.rollup WHERE NOT builtin ORDER BY 1;
ROLLBACK;

-- What is refused.
\set VERBOSITY default
SELECT aggjobs_alter_rollup('nope', query('plain'));
SELECT aggjobs_alter_rollup('hourly', NULL);
SELECT aggjobs_alter_rollup('hourly', 'SELECT 1');
SELECT aggjobs_alter_rollup('hourly_analytics', query('plain'));
CREATE TABLE others (LIKE events);
SELECT aggjobs_alter_rollup('hourly', $$SELECT date_trunc('hour', at, 'UTC') AS hour, usr, count(*) AS n FROM others GROUP BY 1, 2$$);
SELECT aggjobs_alter_rollup('hourly', query('as text'));
SELECT aggjobs_alter_rollup('hourly', $$SELECT date_trunc('hour', at, 'UTC') AS hour, usr FROM events GROUP BY 1, 2$$);
CREATE VIEW on_table AS SELECT count(*) FROM hourly;
SELECT aggjobs_alter_rollup('hourly', query('wider'));
DROP VIEW on_table;
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER mine AFTER INSERT ON hourly FOR EACH STATEMENT EXECUTE FUNCTION nothing();
ALTER TABLE hourly ADD CONSTRAINT positive CHECK (n > 0);
CREATE STATISTICS usr_n ON usr, n FROM hourly;
SELECT aggjobs_alter_rollup('hourly', query('wider'));
DROP TRIGGER mine ON hourly;
ALTER TABLE hourly DROP CONSTRAINT positive;
DROP STATISTICS usr_n;
CREATE TABLE hourly_next (a int);
SELECT aggjobs_alter_rollup('hourly', query('wider'));
DROP TABLE hourly_next;
SET ROLE alter_reader;
SELECT aggjobs_alter_rollup('hourly', 'SELECT 1');
RESET ROLE;
BEGIN;
SELECT part, change FROM aggjobs_alter_rollup('hourly', query('wider'));
SELECT aggjobs_alter_rollup('hourly_next', query('some'));
ROLLBACK;

-- What was computed from rows that are retired is kept, with NULL in new columns.
\set VERBOSITY terse
SELECT aggjobs_drop_rollup('monthly'), aggjobs_drop_rollup('daily');
SELECT aggjobs_retire('events', '2026-01-05 00:00+00');
BEGIN;
SELECT part, column_name, change FROM aggjobs_alter_rollup('hourly', query('wider'));
CALL aggjobs_refresh('hourly_next');
COMMIT;
SELECT count(*) AS hours, sum(n) AS n, count(avg_ms) AS filled FROM hourly WHERE hour < '2026-01-05 00:00+00';
SELECT count(*) AS missing FROM hourly WHERE hour >= '2026-01-05 00:00+00' AND avg_ms IS NULL;
SELECT frozen_before FROM aggjobs.rollups WHERE rollup_name = 'hourly';
SELECT aggjobs_alter_rollup('hourly', query('by kind'));
SELECT aggjobs_alter_rollup('hourly', query('by day'));

-- A job that refreshes the rollup goes on as before.
SELECT aggjobs_drop_rollup('hourly');
DROP SCHEMA alter_test CASCADE;
DROP ROLE alter_reader;
