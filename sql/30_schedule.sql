
/*
 * Schedules: looking at one before a job has it.  The language is explained
 * in doc/schedules.md.
 */

CREATE FUNCTION @extschema@.aggjobs_preview_schedule(
  schedule text,
  time_zone text DEFAULT 'UTC',
  n integer DEFAULT 5,
  after timestamptz DEFAULT NULL)
RETURNS SETOF timestamptz
LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 5
AS 'MODULE_PATHNAME', 'aggjobs_preview_schedule';
COMMENT ON FUNCTION @extschema@.aggjobs_preview_schedule(text, text, integer, timestamptz)
IS 'the next n slots of a schedule in a time zone, later than the present or a given instant';

CREATE FUNCTION @extschema@.aggjobs_explain_schedule(
  schedule text,
  time_zone text DEFAULT 'UTC')
RETURNS text
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'aggjobs_explain_schedule';
COMMENT ON FUNCTION @extschema@.aggjobs_explain_schedule(text, text)
IS 'a sentence that says when a schedule is due';
