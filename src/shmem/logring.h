/*
 * logring.h
 *	  Log lines on their way from a worker to the table.
 */
#ifndef AJ_SHMEM_LOGRING_H
#define AJ_SHMEM_LOGRING_H

#include "base/compat.h"
#include "shmem/segment.h"

#define AJ_LOG_MESSAGE_SIZE 2048

typedef struct AjLogLine
{
	int64 run_id;
	TimestampTz logged_at;
	int32 seq;
	int32 elevel;
	uint32 length; /* of message, without its end */
	char message[AJ_LOG_MESSAGE_SIZE];
} AjLogLine;

extern bool aj_logring_put(AjLogRing *ring, const AjLogLine *line,
						   bool *was_empty);
extern uint64 aj_logring_get(AjLogRing *ring, uint64 position, AjLogLine *line);
extern bool aj_logring_forget(AjLogRing *ring, uint64 position);

#endif /* AJ_SHMEM_LOGRING_H */
