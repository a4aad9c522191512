/*
 * Tables.  No DML on any of them is granted to anyone: all change goes
 * through the functions, which check rights first.
 *
 * "builtin" marks rows that this script itself makes (the ready-made
 * pipeline); pg_dump leaves them out, since CREATE EXTENSION brings them back.
 */

-- ---------------------------------------------------------------- settings

CREATE TABLE aggjobs.setting (
	name       text NOT NULL CHECK (name ~ '^[A-Za-z_][A-Za-z0-9_.]{0,99}$'),
	value      text NOT NULL,
	builtin    boolean NOT NULL DEFAULT false,
	changed_by name NOT NULL DEFAULT session_user,
	changed_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (name, builtin)
);
COMMENT ON TABLE aggjobs.setting IS
	'values for ${NAME} in schedules, and retention.TABLE periods; a value that was set goes before a built-in one';

-- --------------------------------------------------------------- backfills

CREATE TABLE aggjobs.backfill (
	backfill_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	backfill_name text NOT NULL,
	from_time     timestamptz NOT NULL,
	to_time       timestamptz NOT NULL,
	workers       integer NOT NULL CHECK (workers BETWEEN 1 AND 64),
	newest_first  boolean NOT NULL,
	chunk_width   interval,
	step          jsonb,
	run_id        bigint,
	state         text NOT NULL DEFAULT 'running'
	              CHECK (state IN ('running', 'paused', 'succeeded', 'failed', 'cancelled')),
	created_by    name NOT NULL DEFAULT session_user,
	created_at    timestamptz NOT NULL,
	started_at    timestamptz,
	ended_at      timestamptz
) WITH (fillfactor = 50);
COMMENT ON TABLE aggjobs.backfill IS 'long work that is cut into chunks; its workers are jobs that name it';
COMMENT ON COLUMN aggjobs.backfill.backfill_name IS 'the job or rollup that was asked for';
COMMENT ON COLUMN aggjobs.backfill.chunk_width IS 'width of chunks that was asked for; NULL: they follow the time that they take';
COMMENT ON COLUMN aggjobs.backfill.step IS
	'the step of the run that began it, with the names and types of the columns if its kind is parts; NULL: no run did';
COMMENT ON COLUMN aggjobs.backfill.run_id IS
	'the run that began it and works at it as worker 1: if that ends, so does the backfill; NULL: all workers are jobs';
COMMENT ON COLUMN aggjobs.backfill.from_time IS 'first instant that was asked for; -infinity: all';
COMMENT ON COLUMN aggjobs.backfill.started_at IS 'when the first chunk was taken';

/* One range of one rollup, or one step, each done in a transaction of its own. */
CREATE TABLE aggjobs.chunk (
	backfill_id  bigint NOT NULL REFERENCES aggjobs.backfill ON DELETE CASCADE,
	chunk_no     integer NOT NULL,
	stage        integer NOT NULL,
	kind         text NOT NULL CHECK (kind IN ('copy', 'prepare', 'range', 'step', 'part')),
	rollup_name  text,
	from_time    timestamptz NOT NULL,
	to_time      timestamptz NOT NULL,
	step         jsonb,
	state        text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done', 'skipped', 'failed')),
	worker       integer,
	run_id       bigint,
	attempts     integer NOT NULL DEFAULT 0,
	ready_at     timestamptz,
	started_at   timestamptz,
	ended_at     timestamptz,
	rows_read    bigint,
	rows_deleted bigint,
	rows_written bigint,
	rows_skipped bigint,
	bytes_read   bigint,
	wal_bytes    bigint,
	cpu_seconds  double precision,
	error        text,
	sqlstate     text,
	sample       jsonb,
	PRIMARY KEY (backfill_id, chunk_no)
) WITH (fillfactor = 50);
CREATE INDEX chunk_open_idx ON aggjobs.chunk (backfill_id, chunk_no) WHERE state IN ('waiting', 'running');
COMMENT ON TABLE aggjobs.chunk IS 'the pieces of backfills, with what was done and by whom';
COMMENT ON COLUMN aggjobs.chunk.stage IS
	'a chunk waits until all of a lower stage that overlap its range are over';
COMMENT ON COLUMN aggjobs.chunk.kind IS
	'copy: keep what a rollup says; prepare: take in changes and move the horizon of a rollup; range: compute; step: run a step of the job; part: run the command of a step of kind parts';
COMMENT ON COLUMN aggjobs.chunk.step IS 'the step; of a part, its columns and their values as text';
COMMENT ON COLUMN aggjobs.chunk.rows_skipped IS 'rows of the source in a range that was given up';
COMMENT ON COLUMN aggjobs.chunk.sample IS 'some of them';
COMMENT ON COLUMN aggjobs.chunk.attempts IS 'how often it was taken';
COMMENT ON COLUMN aggjobs.chunk.ready_at IS 'not to be taken before; NULL: at once';

/* What rollups said before a backfill, until that is confirmed or undone. */
CREATE TABLE aggjobs.backfill_copy (
	backfill_id bigint NOT NULL REFERENCES aggjobs.backfill ON DELETE CASCADE,
	rollup_name text NOT NULL,
	target      regclass NOT NULL,
	copy        regclass NOT NULL,
	from_time   timestamptz NOT NULL,
	to_time     timestamptz NOT NULL,
	PRIMARY KEY (backfill_id, rollup_name)
);
COMMENT ON TABLE aggjobs.backfill_copy IS 'copies of the tables of rollups from before a backfill';
COMMENT ON COLUMN aggjobs.backfill_copy.target IS 'the table of the rollup that was copied';
COMMENT ON COLUMN aggjobs.backfill_copy.from_time IS 'first instant of what was copied';

-- -------------------------------------------------------------------- jobs

CREATE TABLE aggjobs.job (
	job_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	job_name       text NOT NULL UNIQUE,
	description    text,
	owner          regrole NOT NULL,
	owner_name     name NOT NULL,
	schedule       text,
	time_zone      text NOT NULL DEFAULT 'UTC',
	enabled        boolean NOT NULL DEFAULT true,
	steps          jsonb NOT NULL,
	timeout        interval,
	memory_limit   bigint,
	settings       jsonb NOT NULL DEFAULT '{}',
	keep_successes integer CHECK (keep_successes >= 0),
	keep_failures  integer CHECK (keep_failures >= 0),
	keep_age       interval,
	catch_up       text NOT NULL DEFAULT 'last' CHECK (catch_up IN ('skip', 'last', 'all')),
	catch_up_limit integer NOT NULL DEFAULT 100 CHECK (catch_up_limit BETWEEN 1 AND 1000),
	start_deadline interval,
	overlap        text NOT NULL DEFAULT 'skip' CHECK (overlap IN ('skip', 'queue', 'replace')),
	retries        integer CHECK (retries BETWEEN 0 AND 100),
	retry_delay    interval,
	retry_delay_limit interval,
	queue          text,
	priority       integer NOT NULL DEFAULT 0 CHECK (priority BETWEEN -100 AND 100),
	nice           integer NOT NULL DEFAULT 0 CHECK (nice BETWEEN 0 AND 19),
	database_oid   oid NOT NULL,
	backfill_id    bigint REFERENCES aggjobs.backfill ON DELETE CASCADE,
	builtin        boolean NOT NULL DEFAULT false,
	created_by     name NOT NULL DEFAULT session_user,
	created_at     timestamptz NOT NULL DEFAULT now(),
	changed_by     name NOT NULL DEFAULT session_user,
	changed_at     timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE aggjobs.job IS
	'definitions of jobs: who owns them, when they run and the steps they run';
COMMENT ON COLUMN aggjobs.job.owner_name IS
	'name that belonged to owner when the job was written; another name means a reused oid, and the job does not run';
COMMENT ON COLUMN aggjobs.job.database_oid IS
	'database in which the job was made, 0 if it comes from a dump; in a copy or a restored dump the job waits for aggjobs_resume()';
COMMENT ON COLUMN aggjobs.job.memory_limit IS 'bytes of private memory that a run may use';
COMMENT ON COLUMN aggjobs.job.retries IS
	'further attempts after a failure; NULL: three after errors that pass by themselves, none after others';

CREATE INDEX job_backfill_idx ON aggjobs.job (backfill_id) WHERE backfill_id IS NOT NULL;
COMMENT ON COLUMN aggjobs.job.backfill_id IS 'the backfill one of whose workers the job is; NULL for all other jobs';

CREATE TABLE aggjobs.queue (
	queue_id    integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	queue_name  text NOT NULL UNIQUE,
	min_workers integer NOT NULL DEFAULT 0 CHECK (min_workers >= 0),
	max_workers integer NOT NULL CHECK (max_workers BETWEEN 1 AND 1024),
	changed_by  name NOT NULL DEFAULT session_user,
	changed_at  timestamptz NOT NULL DEFAULT now(),
	CHECK (min_workers <= max_workers)
);
COMMENT ON TABLE aggjobs.queue IS
	'groups of jobs with limits of their own for the runs that go on at once';

/* Order between jobs. */
CREATE TABLE aggjobs.job_after (
	job_id       bigint NOT NULL REFERENCES aggjobs.job ON DELETE CASCADE,
	after_job_id bigint NOT NULL REFERENCES aggjobs.job ON DELETE CASCADE,
	run_id       bigint,
	PRIMARY KEY (job_id, after_job_id)
);
CREATE INDEX job_after_idx ON aggjobs.job_after (after_job_id);
COMMENT ON TABLE aggjobs.job_after IS 'which jobs run after the success of which others';
COMMENT ON COLUMN aggjobs.job_after.run_id IS
	'run of the other job that has succeeded since this job was last queued by it; NULL: none yet';

/* What changes with every run is kept apart, narrow, with room for HOT updates. */
CREATE TABLE aggjobs.job_state (
	job_id            bigint PRIMARY KEY REFERENCES aggjobs.job ON DELETE CASCADE,
	last_slot         timestamptz,
	next_slot         timestamptz,
	last_run_id       bigint,
	last_status       text,
	last_run_at       timestamptz,
	last_ended_at     timestamptz,
	failures_in_a_row integer NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
COMMENT ON TABLE aggjobs.job_state IS
	'where each job stands: last and next planned slot, outcome of the last run';

-- -------------------------------------------------------------------- runs

CREATE TABLE aggjobs.run (
	run_id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	job_id          bigint NOT NULL,
	job_name        text NOT NULL,
	owner           regrole NOT NULL,
	slot            timestamptz,
	slots           bigint NOT NULL DEFAULT 1,
	until_slot      timestamptz,
	"at"            timestamptz,
	attempt         integer NOT NULL DEFAULT 1,
	retry_of        bigint,
	ready_at        timestamptz,
	status          text NOT NULL CHECK (status IN ('queued', 'running', 'succeeded', 'failed',
	                'timed_out', 'cancelled', 'crashed', 'skipped', 'missed')),
	trigger         text NOT NULL CHECK (trigger IN ('schedule', 'manual', 'retry', 'dependency', 'backfill')),
	triggered_by    name NOT NULL DEFAULT session_user,
	queued_at       timestamptz NOT NULL,
	started_at      timestamptz,
	ended_at        timestamptz,
	worker_pid      integer,
	worker_start    timestamptz,
	definition      integer,
	steps           jsonb NOT NULL DEFAULT '[]',
	rows_written    bigint,
	wal_bytes       bigint,
	buffers_hit     bigint,
	buffers_read    bigint,
	buffers_written bigint,
	cpu_seconds     double precision,
	peak_memory     bigint,
	note            text,
	error           text,
	sqlstate        text,
	detail          text,
	hint            text,
	context         text,
	log_lines       integer NOT NULL DEFAULT 0,
	log_dropped     integer NOT NULL DEFAULT 0
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX run_slot_key ON aggjobs.run (job_id, slot, attempt) WHERE slot IS NOT NULL;
CREATE UNIQUE INDEX run_running_key ON aggjobs.run (job_id) WHERE status = 'running';
CREATE INDEX run_job_idx ON aggjobs.run (job_id, run_id);
-- By job first: while somebody holds an old snapshot, entries of runs that are over stay.
CREATE INDEX run_open_idx ON aggjobs.run (job_id, run_id) WHERE status IN ('queued', 'running');
COMMENT ON TABLE aggjobs.run IS 'one row per run of a slot or trigger, with its outcome and figures';
COMMENT ON COLUMN aggjobs.run.slot IS 'planned instant; NULL for runs started by hand';
COMMENT ON COLUMN aggjobs.run.slots IS 'how many slots the row stands for: more than 1 where a sequence was missed or skipped';
COMMENT ON COLUMN aggjobs.run.until_slot IS 'the last of them; NULL: there is but one';
COMMENT ON COLUMN aggjobs.run.retry_of IS 'the run that this one tries again';
COMMENT ON COLUMN aggjobs.run.ready_at IS 'a queued run must not start before; NULL: at once';
COMMENT ON COLUMN aggjobs.run.definition IS
	'hash of the steps of the job as it started: another attempt goes on where this one failed only if they are the same';
COMMENT ON COLUMN aggjobs.run."at" IS 'instant whose hour, day, ... is to be computed; NULL computes what is due';
COMMENT ON COLUMN aggjobs.run.steps IS 'one object per finished step, with its result in figures';

CREATE TABLE aggjobs.run_log (
	run_id    bigint NOT NULL,
	seq       integer NOT NULL,
	logged_at timestamptz NOT NULL,
	level     text NOT NULL,
	message   text NOT NULL,
	PRIMARY KEY (run_id, seq)
);
COMMENT ON TABLE aggjobs.run_log IS 'messages of runs, NOTICE and above, readable while the run goes on';

-- ----------------------------------------------------------------- rollups

/*
 * The truth about a rollup's query is its live view, which the server keeps in
 * step when tables and columns are renamed; "query" is what its maker wrote.
 */
CREATE TABLE aggjobs.rollup (
	rollup_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	rollup_name   text NOT NULL UNIQUE,
	target        regclass NOT NULL,
	live          regclass NOT NULL,
	source        regclass NOT NULL,
	source_rollup text,
	time_column   name NOT NULL,
	time_type     regtype NOT NULL,
	epoch         text CHECK (epoch IN ('second', 'millisecond', 'microsecond', 'nanosecond')),
	bucket_column name NOT NULL,
	bucket_type   regtype NOT NULL,
	bucket_kind   text NOT NULL CHECK (bucket_kind IN ('trunc', 'bin', 'width', 'count')),
	bucket_unit   text,
	bucket_width  interval,
	bucket_count  bigint,
	time_zone     text,
	origin        timestamptz,
	count_origin  bigint,
	keys          name[] NOT NULL,
	measures      jsonb NOT NULL,
	query         text NOT NULL,
	lookback      integer CHECK (lookback > 0),
	builtin       boolean NOT NULL DEFAULT false,
	replaces      text UNIQUE
);
CREATE INDEX rollup_source_idx ON aggjobs.rollup (source);
COMMENT ON TABLE aggjobs.rollup IS 'derived tables, one row per bucket and key';
COMMENT ON COLUMN aggjobs.rollup.source_rollup IS
	'the rollup that fills the source, when the source is itself a rollup''s target; the live views depend on each other, so no constraint is needed, and pg_dump does not like one';
COMMENT ON COLUMN aggjobs.rollup.epoch IS 'unit in which a bigint time column counts from 1970';
COMMENT ON COLUMN aggjobs.rollup.bucket_unit IS 'kind trunc: unit of date_trunc';
COMMENT ON COLUMN aggjobs.rollup.bucket_width IS 'kinds bin and width: width of a bucket';
COMMENT ON COLUMN aggjobs.rollup.bucket_count IS 'kind count: width of a bucket in units of the time column';
COMMENT ON COLUMN aggjobs.rollup.origin IS
	'kinds bin and width: an instant at which a bucket begins; times without zone are taken as UTC';
COMMENT ON COLUMN aggjobs.rollup.count_origin IS 'kind count: a value at which a bucket begins';
COMMENT ON COLUMN aggjobs.rollup.keys IS 'key columns of the target beside the bucket, in order';
COMMENT ON COLUMN aggjobs.rollup.measures IS
	'the other columns of the target, as an array of {"name", "kind"} in order; the kind says what may be computed from it';
COMMENT ON COLUMN aggjobs.rollup.query IS 'the defining query as it was written';
COMMENT ON COLUMN aggjobs.rollup.lookback IS
	'number of last buckets that each refresh computes again, for sources that are not tracked; NULL: changes are captured';

COMMENT ON COLUMN aggjobs.rollup.replaces IS
	'the rollup whose place this one takes once it is computed: what aggjobs_alter_rollup() makes';

/*
 * How far a rollup is: dumped also for those of the pipeline, since a restored
 * server must never compute again what was computed from rows that are gone.
 */
CREATE TABLE aggjobs.rollup_state (
	rollup_name   text PRIMARY KEY REFERENCES aggjobs.rollup (rollup_name) ON UPDATE CASCADE ON DELETE CASCADE,
	horizon       timestamptz,
	frozen_before timestamptz,
	late_rows     bigint NOT NULL DEFAULT 0,
	problem       text
) WITH (fillfactor = 50);
COMMENT ON TABLE aggjobs.rollup_state IS 'up to where each rollup is materialised, and from where it is frozen';
COMMENT ON COLUMN aggjobs.rollup_state.horizon IS
	'every bucket that ends at or before this instant is in the target, unless it is stale';
COMMENT ON COLUMN aggjobs.rollup_state.frozen_before IS
	'buckets before this instant are never computed again: their raw rows were retired';
COMMENT ON COLUMN aggjobs.rollup_state.late_rows IS 'rows that were written below the frozen line, which are not computed';
COMMENT ON COLUMN aggjobs.rollup_state.problem IS 'what was found amiss with the capture of the source; NULL: nothing';

/* The tables whose changes are captured, and what is needed to put capture right. */
CREATE TABLE aggjobs.source (
	source       regclass PRIMARY KEY,
	time_column  name NOT NULL,
	epoch        text
);
COMMENT ON TABLE aggjobs.source IS 'tables whose changes are captured, for the rollups over them';

CREATE TABLE aggjobs.source_part (
	source    regclass NOT NULL REFERENCES aggjobs.source ON DELETE CASCADE,
	part      regclass NOT NULL,
	from_time timestamptz NOT NULL,
	to_time   timestamptz NOT NULL,
	PRIMARY KEY (source, part)
);
COMMENT ON TABLE aggjobs.source_part IS
	'partitions of a source as they were last seen, with the range of time that their bounds allow';

/*
 * Rows are appended when there is no snapshot any more, which a TOAST table would
 * want; they are short, and without long columns there is none.
 */
CREATE TABLE aggjobs.change_columns (
	source    regclass NOT NULL,
	from_time timestamptz NOT NULL,
	to_time   timestamptz NOT NULL,
	row_count bigint NOT NULL,
	part      oid,
	tid_epoch bigint,
	tid_xid   xid,
	tids      tid[]
);
ALTER TABLE aggjobs.change_columns ALTER tids SET STORAGE PLAIN;
CREATE TABLE aggjobs.change (LIKE aggjobs.change_columns INCLUDING STORAGE);
DROP TABLE aggjobs.change_columns;
CREATE INDEX change_source_idx ON aggjobs.change (source);
COMMENT ON TABLE aggjobs.change IS
	'ranges of time in which a source was written below its horizon, appended by the writing transaction itself';
COMMENT ON COLUMN aggjobs.change.row_count IS 'how many rows were written in the range';
COMMENT ON COLUMN aggjobs.change.part IS 'table that holds the rows in tids';
COMMENT ON COLUMN aggjobs.change.tid_epoch IS 'says for which files of that table the tids hold';
COMMENT ON COLUMN aggjobs.change.tid_xid IS 'transaction that inserted the rows';
COMMENT ON COLUMN aggjobs.change.tids IS
	'rows inserted, if that was all that was done in the range; NULL: anything may have been done';

CREATE TABLE aggjobs.stale (
	rollup_id bigint NOT NULL REFERENCES aggjobs.rollup ON DELETE CASCADE,
	from_time timestamptz NOT NULL,
	to_time   timestamptz NOT NULL,
	part      oid,
	tid_epoch bigint,
	tid_xid   xid,
	tids      tid[]
);
CREATE INDEX stale_rollup_idx ON aggjobs.stale (rollup_id, from_time);
COMMENT ON TABLE aggjobs.stale IS 'ranges of a rollup to compute again; those with tids only for the keys of these rows';
