/*-------------------------------------------------------------------------
 *
 * verify_step.c
 *	  Step {"kind": "verify", "rollup": NAME | "rollups": [NAME, ...],
 *	  "sample": N}: compare rollups with their queries.
 *
 * Without "sample" all computed buckets are compared.  All rollups of the step
 * are looked at before it fails: with SQLSTATE AJ001 if any differs, and what
 * was found in the detail.  The work is done in rollup/verify.c.  No state, no
 * locks of its own.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/run/verify_step.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/errors.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "rollup/verify.h"
#include "run/step.h"
#include "utils/builtins.h"

static const char *const keys[] = {"kind", "rollup", "rollups", "sample", NULL};

/* What was found while the rollups of a step were compared. */
typedef struct Findings
{
	int64 buckets;		   /* of samples */
	int64 differences;	   /* rows */
	StringInfoData detail; /* a line for each rollup that differs */
	char *hint;			   /* for the first of them */
} Findings;

/* The rollups that a step names. */
static AjRollup **
rollups_of(const Jsonb *step, int *n)
{
	Jsonb *list = aj_json_field(step, "rollups");
	char *single = aj_json_text_field(step, "rollup");
	AjRollup **rollups;

	if ((list == NULL) == (single == NULL) ||
		(list != NULL &&
		 (!aj_json_is_array(list) || aj_json_length(list) == 0)))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(
				 "a step of kind \"verify\" needs either \"rollup\" or a list of \"rollups\""),
			 errhint(
				 "Write {\"kind\": \"verify\", \"rollup\": \"NAME\", \"sample\": 20}.")));
	*n = single != NULL ? 1 : aj_json_length(list);
	rollups = palloc(sizeof(AjRollup *) * (Size) *n);
	for (int i = 0; i < *n; i++)
		rollups[i] = aj_rollup_find(
			single != NULL ? single : aj_json_as_text(aj_json_element(list, i)),
			false);
	return rollups;
}

/* How many buckets to draw of each rollup; 0: all are wanted. */
static int
sample_of(const Jsonb *step)
{
	char *text = aj_json_text_field(step, "sample");
	char *end;
	long sample;

	if (text == NULL)
		return 0;
	errno = 0;
	sample = strtol(text, &end, 10);
	if (errno != 0 || *end != '\0' || sample < 1 || sample > AJ_MOST_SAMPLED)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a sample must have 1 to %d buckets, not %s",
						AJ_MOST_SAMPLED, aj_clip(text)),
				 errhint("Leave \"sample\" out to compare all buckets.")));
	return (int) sample;
}

static void
check(const Jsonb *step)
{
	int n;

	(void) rollups_of(step, &n);
	(void) sample_of(step);
}

static void
plan(const Jsonb *step, const AjStepHost *host)
{
	int n;
	AjRollup **rollups = rollups_of(step, &n);
	int sample = sample_of(step);

	for (int i = 0; i < n; i++)
		if (sample > 0)
			ereport(
				NOTICE,
				(errmsg(
					"rollup \"%s\" would be compared with its query in %d buckets",
					rollups[i]->name, sample)));
		else
			ereport(NOTICE,
					(errmsg("rollup \"%s\" would be compared with its query",
							rollups[i]->name)));
}

/* How to mend what differs in a range. */
static char *
repair_hint(const AjRollup *rollup, AjRange range)
{
	char *name = quote_literal_cstr(rollup->name);

	if (TIMESTAMP_NOT_FINITE(range.from))
		return psprintf("aggjobs_repair(%s)", name);
	return psprintf("aggjobs_repair(%s, '%s', '%s')", name,
					pstrdup(timestamptz_to_str(range.from)),
					pstrdup(timestamptz_to_str(range.to)));
}

/* Compare within a range; returns how many rows differ, and tells the first. */
static int64
compare_range(const AjRollup *rollup, AjRange range, char **first)
{
	TupleDesc desc;
	Tuplestorestate *store =
		aj_verify(rollup, range, CurrentMemoryContext, &desc);
	int64 rows = tuplestore_tuple_count(store);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);

	if (rows > 0 && tuplestore_gettupleslot(store, true, false, slot))
	{
		slot_getallattrs(slot);
		*first = psprintf("bucket %s, key %s: %s",
						  TextDatumGetCString(slot->tts_values[0]),
						  aj_json_as_text(DatumGetJsonbP(slot->tts_values[1])),
						  TextDatumGetCString(slot->tts_values[2]));
	}
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_end(store);
	return rows;
}

static void
compare_rollup(const AjRollup *rollup, int wanted, Findings *findings)
{
	AjRange everything = {DT_NOBEGIN, DT_NOEND};
	AjSample sample = {.nranges = 1, .ranges = &everything};
	int64 differences = 0;
	char *first = NULL;

	if (wanted > 0)
		sample = aj_verify_sample(rollup, everything, wanted);
	findings->buckets += sample.nbuckets;
	for (int i = 0; i < sample.nranges; i++)
	{
		char *here = NULL;
		int64 rows = compare_range(rollup, sample.ranges[i], &here);

		differences += rows;
		if (first == NULL)
			first = here;
		if (rows > 0 && findings->hint == NULL)
			findings->hint = repair_hint(rollup, sample.ranges[i]);
	}
	findings->differences += differences;
	if (differences > 0)
		appendStringInfo(&findings->detail,
						 "%sRollup \"%s\": " INT64_FORMAT " rows; %s.",
						 findings->detail.len > 0 ? "\n" : "", rollup->name,
						 differences, first);
}

static void
run(const Jsonb *step, AjStepHost *host, AjJson *result)
{
	int n;
	AjRollup **rollups = rollups_of(step, &n);
	int wanted = sample_of(step);
	Findings findings = {0};

	initStringInfo(&findings.detail);
	for (int i = 0; i < n; i++)
		compare_rollup(rollups[i], wanted, &findings);
	if (findings.differences > 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_AJ_ROLLUP_DIFFERS),
			 errmsg("rollups differ from their queries in " INT64_FORMAT
					" rows",
					findings.differences),
			 errdetail("%s", findings.detail.data),
			 errhint(
				 "See all with aggjobs_verify(); compute them again with SELECT %s.",
				 findings.hint)));
	aj_json_add_int(result, "rollups", n);
	if (wanted > 0)
		aj_json_add_int(result, "buckets", findings.buckets);
	aj_json_add_int(result, "differences", 0);
}

const AjStepKind aj_step_verify = {
	.name = "verify",
	.keys = keys,
	.check = check,
	.plan = plan,
	.run = run,
};
