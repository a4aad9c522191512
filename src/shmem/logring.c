/*-------------------------------------------------------------------------
 *
 * logring.c
 *	  Log lines on their way from a worker to the table.
 *
 * A worker's transaction can't show its messages before it commits, so the
 * scheduler writes them down.  The way between is a ring of bytes with one
 * writer and one reader and no lock, because messages are raised in places
 * where a lock must not be taken.
 *
 * The reader looks at lines first and moves the tail once they are committed;
 * a line may so be stored twice, and (run_id, seq) makes one of them.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/shmem/logring.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "shmem/logring.h"

#define LINE_HEADER offsetof(AjLogLine, message)

static void
copy_in(AjLogRing *ring, uint64 at, const char *data, size_t length)
{
	size_t start = at % AJ_LOG_RING_SIZE;
	size_t first = Min(length, AJ_LOG_RING_SIZE - start);

	memcpy(ring->data + start, data, first);
	memcpy(ring->data, data + first, length - first);
}

static void
copy_out(const AjLogRing *ring, uint64 at, char *data, size_t length)
{
	size_t start = at % AJ_LOG_RING_SIZE;
	size_t first = Min(length, AJ_LOG_RING_SIZE - start);

	memcpy(data, ring->data + start, first);
	memcpy(data + first, ring->data, length - first);
}

/*
 * aj_logring_put
 *		Worker: add a line; false if it does not fit now.  *was_empty tells
 *		whether the reader may be asleep.
 *
 * The reader moves the tail and then looks at the head, we move the head and
 * then look at the tail: one of the two sees what the other has done.
 */
bool
aj_logring_put(AjLogRing *ring, const AjLogLine *line, bool *was_empty)
{
	uint64 head = pg_atomic_read_u64(&ring->head);
	size_t size = LINE_HEADER + line->length;

	*was_empty = false;
	if (AJ_LOG_RING_SIZE - (head - pg_atomic_read_u64(&ring->tail)) < size)
		return false;
	copy_in(ring, head, (const char *) line, size);
	pg_write_barrier();
	pg_atomic_write_u64(&ring->head, head + size);
	pg_memory_barrier();
	*was_empty = pg_atomic_read_u64(&ring->tail) >= head;
	return true;
}

/*
 * aj_logring_get
 *		Reader: copy the line at "position" and return the position after it;
 *		returns "position" itself if there is no line yet.  Start with 0 for
 *		the oldest line.
 */
uint64
aj_logring_get(AjLogRing *ring, uint64 position, AjLogLine *line)
{
	uint64 head = pg_atomic_read_u64(&ring->head);
	uint64 at = position == 0 ? pg_atomic_read_u64(&ring->tail) : position;

	if (at >= head)
		return position;
	pg_read_barrier();
	copy_out(ring, at, (char *) line, LINE_HEADER);
	if (line->length >= AJ_LOG_MESSAGE_SIZE)
		elog(ERROR, "log ring is damaged");
	copy_out(ring, at + LINE_HEADER, line->message, line->length);
	line->message[line->length] = '\0';
	return at + LINE_HEADER + line->length;
}

/* Reader: lines before "position" are stored; false if there are more by now. */
bool
aj_logring_forget(AjLogRing *ring, uint64 position)
{
	pg_memory_barrier();
	if (position > pg_atomic_read_u64(&ring->tail))
		pg_atomic_write_u64(&ring->tail, position);
	pg_memory_barrier();
	return pg_atomic_read_u64(&ring->tail) == pg_atomic_read_u64(&ring->head);
}
