/*-------------------------------------------------------------------------
 *
 * disk.c
 *	  How much room there is on disk.
 *
 * The one place that asks the operating system for it.  No state, no locks.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/base/disk.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include <sys/statvfs.h>

#include "base/disk.h"
#include "catalog/pg_tablespace_d.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

/*
 * aj_disk_free
 *		Bytes that the server may still write where a tablespace is; InvalidOid
 *		is that of the database.  -1 if the system does not tell.
 */
int64
aj_disk_free(Oid tablespace)
{
	struct statvfs space;
	const char *path = DataDir;

	if (!OidIsValid(tablespace))
		tablespace = MyDatabaseTableSpace;
	if (tablespace != DEFAULTTABLESPACE_OID &&
		tablespace != GLOBALTABLESPACE_OID)
		path = psprintf("%s/pg_tblspc/%u", DataDir, tablespace);
	if (statvfs(path, &space) != 0)
		return -1;
	return (int64) space.f_bavail * (int64) space.f_frsize;
}

/* A number of bytes for people: "12 MB". */
char *
aj_disk_pretty(int64 bytes)
{
	return text_to_cstring(DatumGetTextPP(
		DirectFunctionCall1(pg_size_pretty, Int64GetDatum(bytes))));
}
