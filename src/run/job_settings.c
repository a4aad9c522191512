/*-------------------------------------------------------------------------
 *
 * job_settings.c
 *	  The server settings that a job brings along.
 *
 * A JSON object of names and values, like {"work_mem": "64MB"}; the current
 * user must be allowed to SET each of them.  No state, no locks.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/run/job_settings.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/errors.h"
#include "base/json.h"
#include "miscadmin.h"
#include "run/job_settings.h"

/* Settings that would make the run somebody else's. */
static const char *const refused[] = {
	"role",
	"session_authorization",
	"is_superuser",
};

static void
check_name(const char *name)
{
	for (size_t i = 0; i < lengthof(refused); i++)
		if (pg_strcasecmp(name, refused[i]) == 0)
			ereport(
				ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("setting \"%s\" can't be set for a job", name),
				 errhint(
					 "A job runs as its owner; change that with aggjobs_alter_job(name, owner => role).")));
	if (GetConfigOption(name, true, false) == NULL && strchr(name, '.') == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("unrecognized configuration parameter \"%s\"",
						aj_clip(name)),
				 errhint("List them with SELECT name FROM pg_settings.")));
}

static void
apply(const Jsonb *settings, GucAction action, bool really)
{
	JsonbIterator *it = JsonbIteratorInit((JsonbContainer *) &settings->root);
	GucContext context = superuser() ? PGC_SUSET : PGC_USERSET;
	JsonbValue value;
	JsonbIteratorToken token;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		char *name;

		if (token != WJB_KEY)
			continue;
		name = pnstrdup(value.val.string.val, (Size) value.val.string.len);
		check_name(name);
		(void) set_config_option(name, aj_json_text_field(settings, name),
								 context, PGC_S_SESSION, action, really, 0,
								 false);
	}
}

/*
 * aj_job_settings_check
 *		Refuse settings that are not an object, unknown, not allowed to the
 *		current user, or have a value that the server refuses.
 */
void
aj_job_settings_check(const Jsonb *settings)
{
	if (!aj_json_is_object(settings))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("settings must be a JSON object"),
				 errhint("Write settings like {\"work_mem\": \"64MB\"}.")));
	apply(settings, GUC_ACTION_SET, false);
}

/* Set them, for the session or for the current level of nesting. */
void
aj_job_settings_apply(const Jsonb *settings, GucAction action)
{
	apply(settings, action, true);
}
