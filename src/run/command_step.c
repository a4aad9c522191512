/*-------------------------------------------------------------------------
 *
 * command_step.c
 *	  Step {"kind": "command", "command": SQL}: run what the user wrote.
 *
 * In a worker the text runs as if a client had sent it as one message: all of
 * its statements in one transaction, whose commit also stores the step's
 * result; but a single statement that manages transactions itself (CALL, DO,
 * VACUUM, CREATE INDEX CONCURRENTLY and the like) runs on its own, outside
 * any block, and its result is stored after it.
 *
 * The first row that the last statement returns is part of the result.
 *
 * In a session's CALL everything runs inside the caller's transaction, so
 * such statements fail there with the server's own error.
 *
 * Runs as the current user, with the search_path of the session.  No state.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/run/command_step.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/xact.h"
#include "base/errors.h"
#include "base/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "parser/analyze.h"
#include "run/command.h"
#include "run/first_row.h"
#include "run/limits.h"
#include "run/step.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"

static const char *const keys[] = {"kind", "command", NULL};

/* Statements that insist on being outside a transaction block. */
static const NodeTag bare_statements[] = {
	T_CallStmt,
	T_DoStmt,
	T_VacuumStmt,
	T_ReindexStmt,
	T_ClusterStmt,
	T_AlterSystemStmt,
	T_CreatedbStmt,
	T_DropdbStmt,
	T_CreateTableSpaceStmt,
	T_DropTableSpaceStmt,
	T_CreateSubscriptionStmt,
	T_DropSubscriptionStmt,
	T_DiscardStmt,
};

static char *
command_text(const Jsonb *step)
{
	char *text = aj_json_text_field(step, "command");

	if (text == NULL || text[strspn(text, " \t\r\n;")] == '\0')
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(
				 "a step of kind \"command\" needs the key \"command\" with SQL text"),
			 errhint(
				 "Write {\"kind\": \"command\", \"command\": \"SELECT 1\"}.")));
	return text;
}

static bool
detaches_concurrently(const AlterTableStmt *statement)
{
	ListCell *cell;

	foreach (cell, statement->cmds)
	{
		const AlterTableCmd *command = lfirst_node(AlterTableCmd, cell);

		if (command->subtype == AT_DetachPartition &&
			castNode(PartitionCmd, command->def)->concurrent)
			return true;
	}
	return false;
}

static bool
is_bare_statement(Node *statement)
{
	for (size_t i = 0; i < lengthof(bare_statements); i++)
		if (nodeTag(statement) == bare_statements[i])
			return true;
	if (IsA(statement, IndexStmt))
		return castNode(IndexStmt, statement)->concurrent;
	if (IsA(statement, DropStmt))
		return castNode(DropStmt, statement)->concurrent;
	if (IsA(statement, AlterTableStmt))
		return detaches_concurrently(castNode(AlterTableStmt, statement));
	return false;
}

/*
 * A worker has no client: what is copied to one would land in the server's
 * log, where anybody could forge lines, and from one would be read from the
 * server's own input.
 */
static void
refuse_copy_with_client(Node *statement)
{
	if (IsA(statement, CopyStmt) &&
		castNode(CopyStmt, statement)->filename == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg(
				 "COPY from or to the client is not allowed in the command of a job"),
			 errhint(
				 "A job has no client: use INSERT ... SELECT, or COPY with a file or program.")));
}

/*
 * Syntax errors, transaction control and COPY with a client are found when
 * the job is made.
 */
static List *
parse(const char *text)
{
	List *statements = pg_parse_query(text);
	ListCell *cell;

	if (statements == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("command contains no statement"),
				 errdetail("The command is: %s", aj_clip(text))));
	foreach (cell, statements)
	{
		Node *statement = lfirst_node(RawStmt, cell)->stmt;

		refuse_copy_with_client(statement);
		if (!IsA(statement, TransactionStmt))
			continue;
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s is not allowed in the command of a job",
					GetCommandTagName(CreateCommandTag(statement))),
			 errhint(
				 "The statements of a command are one transaction already; to commit in between, CALL a procedure.")));
	}
	return statements;
}

/* Error 42601 or 0A000 for a command that no job can run. */
void
aj_command_check(const char *text)
{
	(void) parse(text);
}

/* Error 22023 for what is not one query. */
void
aj_command_check_query(const char *text)
{
	List *statements = parse(text);
	Node *statement = linitial_node(RawStmt, statements)->stmt;

	if (list_length(statements) != 1 || !IsA(statement, SelectStmt) ||
		castNode(SelectStmt, statement)->intoClause != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("what lists the parts must be one SELECT"),
				 errdetail("It is: %s", aj_clip(text))));
}

/* Is it one statement that must run outside of a transaction block? */
bool
aj_command_is_bare(const char *text)
{
	List *statements = parse(text);

	return list_length(statements) == 1 &&
		is_bare_statement(linitial_node(RawStmt, statements)->stmt);
}

static void
check(const Jsonb *step)
{
	aj_command_check(command_text(step));
}

static bool
is_bare(const Jsonb *step)
{
	return aj_command_is_bare(command_text(step));
}

static void
plan(const Jsonb *step, const AjStepHost *host)
{
	ereport(NOTICE, (errmsg("command would be run: %s", command_text(step))));
}

static List *
plan_statement(RawStmt *statement, const char *text,
			   const AjCommandValues *values)
{
	bool snapshot_needed = analyze_requires_snapshot(statement);
	List *plans;

	if (snapshot_needed)
		PushActiveSnapshot(GetTransactionSnapshot());
	plans = pg_analyze_and_rewrite_fixedparams(statement, text, values->types,
											   values->n, NULL);
	plans = pg_plan_queries(plans, text, CURSOR_OPT_PARALLEL_OK, values->list);
	if (snapshot_needed)
		PopActiveSnapshot();
	return plans;
}

/* Run one statement as the server runs those of a client. */
static void
run_statement(RawStmt *statement, const char *text,
			  const AjCommandValues *values, DestReceiver *dest,
			  QueryCompletion *done)
{
	CommandTag tag = CreateCommandTag(statement->stmt);
	List *plans = plan_statement(statement, text, values);
	Portal portal = CreatePortal("", true, true);

	CHECK_FOR_INTERRUPTS();
	InitializeQueryCompletion(done);
	portal->visible = false;
	PortalDefineQuery(portal, NULL, text, tag, plans, NULL);
	PortalStart(portal, values->list, 0, InvalidSnapshot);
	aj_statement_limit_start();
	(void) aj_portal_run(portal, dest, done);
	aj_statement_limit_stop(false);
	PortalDrop(portal, false);
}

/* Rows that a statement wrote or returned. */
static int64
rows_of(const QueryCompletion *done)
{
	return command_tag_display_rowcount(done->commandTag)
		? (int64) done->nprocessed
		: 0;
}

/*
 * aj_command_run
 *		Run the statements of a command in a worker, with values for its
 *		parameters; what they did goes to "result", if that is not NULL.
 *
 * Returns how many rows they wrote or returned.  The caller has opened the
 * transaction as aj_command_is_bare() says.
 */
int64
aj_command_run(const char *text, const AjCommandValues *values,
			   MemoryContext context, AjJson *result)
{
	List *statements = parse(text);
	QueryCompletion done;
	AjFirstRow first;
	int64 rows = 0;
	ListCell *cell;

	InitializeQueryCompletion(&done);
	foreach (cell, statements)
	{
		aj_first_row_init(&first, context);
		run_statement(lfirst_node(RawStmt, cell), text, values, &first.receiver,
					  &done);
		rows += rows_of(&done);
		if (lnext(statements, cell) != NULL)
			CommandCounterIncrement();
		MemoryContextSwitchTo(context);
	}
	if (result == NULL)
		return rows;
	aj_json_add_text(result, "command", GetCommandTagName(done.commandTag));
	aj_json_add_int(result, "statements", list_length(statements));
	aj_json_add_int(result, "rows", rows);
	if (statements != NIL)
		aj_json_add_json(result, "first_row", first.row);
	return rows;
}

static void
run_in_session(const char *text, AjStepHost *host, AjJson *result)
{
	AjSpi spi;
	int64 rows;

	aj_spi_open(&spi, AJ_RIGHTS_SESSION);
	rows = (int64) aj_spi_run_command(text);
	aj_spi_close(&spi);
	host->rows_written += rows;
	aj_json_add_int(result, "rows", rows);
}

static void
run(const Jsonb *step, AjStepHost *host, AjJson *result)
{
	char *text = command_text(step);
	AjCommandValues none = {0};

	if (host->in_worker)
		host->rows_written +=
			aj_command_run(text, &none, host->context, result);
	else
		run_in_session(text, host, result);
}

const AjStepKind aj_step_command = {
	.name = "command",
	.keys = keys,
	.check = check,
	.plan = plan,
	.run = run,
	.is_bare = is_bare,
};
