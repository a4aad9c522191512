/*
 * history.h
 *	  Random concurrent histories: what the parts of the program share.
 *
 * A history is some hundred operations of several sessions on one table and
 * the rollups over it.  A world is a database in which histories are played
 * one after the other; a worker process plays in one world at a time.
 */
#ifndef HISTORY_H
#define HISTORY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "libpq-fe.h"

/* The header asks for postgres_fe.h only to get this. */
#define pg_attribute_printf(f, a) __attribute__((format(printf, f, a)))
#include "pqexpbuffer.h"

#define MOST_SESSIONS 16
#define MOST_WORKERS 16
#define MOST_ROLLUPS 4
#define MOST_PARTS 6
#define MOST_PREPARED 3
#define MOST_ERRORS 48

/* Seeds that follow each other in one world, and so share its tables. */
#define SEEDS_PER_WORLD 16

/* Seconds after which a history hangs. */
#define HISTORY_LIMIT 60

#define lengthof(array) ((int) (sizeof(array) / sizeof((array)[0])))

typedef struct Options
{
	int histories;
	int seconds; /* no history begins later; 0: no limit */
	int operations;
	uint64_t seed;
	int sessions;
	int workers;
	bool gate_off;
	bool crash;
	bool until_difference;
	bool own_writes;
	bool backfills; /* in all histories */
	bool keep;
	bool show;
	const char *template;
} Options;

/* Settings that only a test build of the extension has. */
typedef struct Features
{
	bool gate;
	bool commit_delay;
	bool cell_width;
} Features;

typedef struct Random
{
	uint64_t state;
} Random;

/*
 * Which errors an operation may meet, beside those that any statement of a
 * busy server can.
 */
enum
{
	ERR_ANY = 1,		  /* locks, serialization, being cancelled */
	ERR_ROWS = 2,		  /* duplicate keys, no partition for the row */
	ERR_PARTS = 4,		  /* a partition is not, or no longer, as expected */
	ERR_PREPARED = 8,	  /* somebody else ended the prepared transaction */
	ERR_REFRESH = 16,	  /* somebody else refreshes */
	ERR_TRANSACTION = 32, /* statements in a transaction that failed */
	ERR_ALTER = 64,		  /* somebody else alters, or has done it */
	ERR_BACKFILL = 128	  /* nothing to compute; is in another state by now */
};

typedef struct Record
{
	const char *session;
	int64_t sent;
	int64_t done; /* 0: was never answered */
	char *sql;
	char *outcome;
} Record;

typedef enum SessionState
{
	SESSION_CLOSED,
	SESSION_IDLE,
	SESSION_BUSY
} SessionState;

typedef struct World World;
typedef struct Session Session;

struct Session
{
	World *world;
	char name[16];
	bool checker;
	PGconn *conn;
	SessionState state;
	Random random;
	bool doomed; /* its connection may break at any time */

	/* the operation in flight */
	PQExpBuffer sql;
	PQExpBuffer copy;
	bool copy_breaks; /* the client gives up in the middle */
	PQExpBuffer outcome;
	unsigned allowed;
	int record;
	bool refused; /* it met an error */
	char error[6];
	void (*on_rows)(Session *session, PGresult *rows);
	void (*on_done)(Session *session);
	int argument; /* for on_done */
	char gid[40]; /* prepared transaction it makes or ends */

	/* the open transaction */
	int left;		/* operations before it ends */
	int wait_until; /* it rests until that many operations were done */
	int savepoints;
	bool ddl; /* it has locks that stop everybody */

	/* of a checker */
	int held_until; /* the snapshot is kept until that operation; 0: none */
	int look_again; /* and looked at once in between */
	bool differs;
	bool has_prepared;
};

typedef enum TimeType
{
	TIME_TIMESTAMPTZ,
	TIME_TIMESTAMP,
	TIME_DATE,
	TIME_BIGINT
} TimeType;

/* How the rollups make buckets. */
typedef enum BucketKind
{
	BY_DATE_BIN,
	BY_DATE_TRUNC, /* of a second, a minute, ... whatever the width */
	BY_AGGJOBS_BUCKET
} BucketKind;

typedef struct Rollup
{
	const char *name;
	int child;			 /* index of the rollup it reads, or -1 */
	int multiple;		 /* of the world's width */
	const char *columns; /* all of them, bucket first */
	char *query;		 /* as the extension gets it */
	char *variants[4];	 /* the same, said in other ways and with more */
	char *raw;			 /* the same on raw rows only */
	char *checks[2];	 /* queries that find differences */
} Rollup;

struct World
{
	char database[64];
	PGconn *control; /* to set up, to clean up, to look what went wrong */
	Random random;
	TimeType type;
	BucketKind buckets;
	int width; /* of the smallest bucket, in milliseconds; or in days */
	bool partitioned;
	bool has_default;
	bool has_gap;
	int nparts;
	int commit_delay; /* of the first session, in milliseconds */
	bool fine;		  /* changes are noted to the millisecond */
	int64_t born;
	int nrollups;
	Rollup rollups[MOST_ROLLUPS];
	int nsessions; /* without checkers */
	Session sessions[MOST_SESSIONS];
	Session checkers[2];

	/* the history that is being played */
	uint64_t seed;
	int64_t began;
	int operations;
	int next_id;
	int next_gid;
	int next_check;
	int next_crash;
	bool failed;
	bool differs;
	bool backfills; /* begun by sessions */
	bool ending;
	bool refreshed;			   /* all of it, and nobody writes any more */
	bool attached[MOST_PARTS]; /* a guess */
	char prepared[MOST_PREPARED][40];
	char urgent[40]; /* prepared transaction that holds up everybody */
	Record *records;
	int nrecords;
	int room_for_records;
	PQExpBuffer failure; /* what is wrong, for people */
};

/* Figures of one worker, in shared memory. */
typedef struct Figures
{
	long histories;
	long operations;
	long failed;
	long differences;
	long checks;
	long old_checks;
	long clean_rows;
	long refreshes;
	long prepared;
	long crashes;
	long lost_connections;
	long backfills;
	long chunks;
	struct
	{
		char code[6];
		long count;
	} errors[MOST_ERRORS];
} Figures;

extern Options options;
extern Features features;
extern Figures *figures;

/* main.c */
extern void announce(const char *text);
extern bool told_to_stop(void);
extern void tell_to_stop(void);

/* random.c */
extern void random_start(Random *random, uint64_t seed, uint64_t stream);
extern int below(Random *random, int n);
extern bool chance(Random *random, int percent);
extern int64_t now_us(void);

/* plain.c */
extern PGconn *connect_with(const char *database, const char *name,
							const char *settings);
extern PGconn *connect_plainly(const char *database);
extern void run_plainly(PGconn *conn, const char *sql);
extern long ask_plainly(PGconn *conn, const char *sql);

/* world.c */
extern void template_make(void);
extern void template_drop(void);
extern void world_make(World *world, uint64_t group, const char *database);
extern void world_clear(World *world);
extern void world_drop(World *world);

/* rollups.c */
extern void append_bucket(PQExpBuffer to, const World *world, int multiple,
						  const char *column);
extern void rollups_plan(World *world);
extern void alter_some(Session *session);
extern void rollups_give_up_altering(World *world);
extern void rollups_create(World *world, PGconn *conn);
extern void rollups_free(World *world);

/* session.c */
extern void session_open(Session *session);
extern void session_close(Session *session);
extern bool session_in_transaction(const Session *session);
extern bool session_broken_transaction(const Session *session);
extern void session_send(Session *session, unsigned allowed);
extern void sessions_wait(World *world, int timeout_ms);
extern int add_record(World *world, const char *session, const char *sql);
extern void end_record(World *world, int record, const char *outcome);
extern void fail(World *world, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* times.c */
extern void append_time(PQExpBuffer to, Session *session, bool copied);
extern void append_instant(PQExpBuffer to, const World *world, int64_t us);
extern void append_now(PQExpBuffer to, const World *world);
extern void append_moved(PQExpBuffer to, const World *world, const char *from,
						 const char *times, int64_t us);
extern int64_t random_distance(Session *session);

/* rows.c */
extern unsigned append_row_change(PQExpBuffer to, Session *session, bool alone);
extern void append_commit_loop(PQExpBuffer to, Session *session);

/* parts.c */
extern void parts_create(PQExpBuffer to, const World *world);
extern void parts_finish(PQExpBuffer to);
extern void parts_restore(PQExpBuffer to, const World *world);
extern void part_operation(Session *session);

/* moves.c */
extern void next_operation(Session *session);
extern void end_transaction(Session *session);
extern void refresh(Session *session, int rollup);

/* backfills.c */
extern void backfills_start(World *world);
extern void backfills_configure(const World *world, PGconn *conn);
extern void backfill_some(Session *session);
extern void backfills_end(World *world);

/* check.c */
extern void checks_start(World *world);
extern void check_as_writer(Session *session);
extern void checks_end(World *world);
extern void check_at_the_end(World *world);

/* play.c */
extern void play(World *world, uint64_t seed);

/* server.c */
extern void server_crash(World *world);

#endif /* HISTORY_H */
