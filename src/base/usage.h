/*
 * usage.h
 *	  What a run has used: CPU, WAL, buffers, memory.
 */
#ifndef AJ_BASE_USAGE_H
#define AJ_BASE_USAGE_H

#include "base/compat.h"
#include "executor/instrument.h"

typedef struct AjUsageStart
{
	WalUsage wal;
	BufferUsage buffers;
	double cpu_seconds;
} AjUsageStart;

typedef struct AjUsage
{
	int64 wal_bytes;
	int64 buffers_hit;
	int64 buffers_read;
	int64 buffers_written;
	double cpu_seconds;
	int64 peak_memory; /* bytes; 0 if the system does not tell */
} AjUsage;

extern void aj_usage_start(AjUsageStart *start);
extern void aj_usage_since(const AjUsageStart *start, AjUsage *usage);
extern int64 aj_usage_private_memory(void);
extern void aj_memory_limit_set(int64 bytes);
extern void aj_memory_limit_clear(void);

#endif /* AJ_BASE_USAGE_H */
