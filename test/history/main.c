/*-------------------------------------------------------------------------
 *
 * main.c
 *	  Random concurrent histories: in every snapshot, the live view of a
 *	  rollup equals its query on the raw rows.
 *
 * Worker processes take groups of seeds in turn, make a world for each group
 * and play its histories.  See test/history/run on how to use it, and
 *
 *	  random.c times.c			  numbers and instants
 *	  world.c rollups.c			  tables, rollups, and what must be equal
 *	  session.c plain.c			  connections, records, errors
 *	  moves.c rows.c parts.c	  what sessions do
 *	  backfills.c			  what background workers do meanwhile
 *	  check.c play.c server.c	  checkers, one history, crashes
 *
 * Exit status: 0 all is well, 1 a history failed (with --until-difference:
 * none did), 2 the test could not be done.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  test/history/main.c
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <inttypes.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "history.h"

Options options = {
	.histories = 500,
	.operations = 200,
	.seed = 1,
	.sessions = 5,
	.workers = 4,
};
Features features;
Figures *figures;

/* What the workers share. */
static struct
{
	uint64_t next_group;
	int64_t began;
	bool stop;
	sem_t turn; /* to print */
	Figures figures[MOST_WORKERS];
} * shared;

bool
told_to_stop(void)
{
	if (options.seconds > 0 &&
		now_us() - shared->began > options.seconds * INT64_C(1000000))
		return true;
	return __atomic_load_n(&shared->stop, __ATOMIC_RELAXED);
}

void
tell_to_stop(void)
{
	__atomic_store_n(&shared->stop, true, __ATOMIC_RELAXED);
}

/* Print something long in one piece. */
void
announce(const char *text)
{
	sem_wait(&shared->turn);
	fputs(text, stdout);
	fflush(stdout);
	sem_post(&shared->turn);
}

static const struct option long_options[] = {
	{"histories", required_argument, NULL, 'n'},
	{"seconds", required_argument, NULL, 'l'},
	{"ops", required_argument, NULL, 'o'},
	{"seed", required_argument, NULL, 's'},
	{"sessions", required_argument, NULL, 'k'},
	{"workers", required_argument, NULL, 'w'},
	{"gate", required_argument, NULL, 'g'},
	{"template", required_argument, NULL, 't'},
	{"crash", no_argument, NULL, 'c'},
	{"until-difference", no_argument, NULL, 'u'},
	{"own-writes", no_argument, NULL, 'y'},
	{"backfills", no_argument, NULL, 'b'},
	{"keep", no_argument, NULL, 'K'},
	{"show", no_argument, NULL, 'S'},
	{NULL, 0, NULL, 0},
};

static void
usage(void)
{
	fprintf(
		stderr,
		"usage: history [--histories N] [--seconds N] [--ops N] [--seed S] "
		"[--sessions K] [--workers W]\n"
		"    [--gate on|off] [--crash] [--until-difference] "
		"[--own-writes] [--backfills] [--keep] [--show] [--template DATABASE]\n");
	exit(2);
}

static int
number(const char *text, int least, int most)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*end != '\0' || n < least || n > most)
		usage();
	return (int) n;
}

static void
set_option(int which, const char *value)
{
	switch (which)
	{
		case 'n':
			options.histories = number(value, 1, 100000000);
			break;
		case 'l':
			options.seconds = number(value, 1, 1000000);
			break;
		case 'o':
			options.operations = number(value, 1, 1000000);
			break;
		case 's':
			options.seed = strtoull(value, NULL, 10);
			break;
		case 'k':
			options.sessions = number(value, 2, 9);
			break;
		case 'w':
			options.workers = number(value, 1, MOST_WORKERS);
			break;
		case 'g':
			options.gate_off = strcmp(value, "off") == 0;
			break;
		case 't':
			options.template = value;
			break;
		case 'c':
			options.crash = true;
			break;
		case 'u':
			options.until_difference = true;
			break;
		case 'y':
			options.own_writes = true;
			break;
		case 'b':
			options.backfills = true;
			break;
		case 'K':
			options.keep = true;
			break;
		case 'S':
			options.show = true;
			break;
		default:
			usage();
	}
}

/* Does the server have the settings of a test build? */
static void
detect_features(void)
{
	PGconn *conn = connect_plainly("postgres");

	features.gate = ask_plainly(conn,
								"SELECT count(*) FROM pg_settings "
								"WHERE name = 'aggjobs.gate'") > 0;
	features.commit_delay =
		ask_plainly(conn,
					"SELECT count(*) FROM pg_settings "
					"WHERE name = 'aggjobs.test_commit_delay'") > 0;
	features.cell_width =
		ask_plainly(conn,
					"SELECT count(*) FROM pg_settings "
					"WHERE name = 'aggjobs.test_cell_width'") > 0;
	PQfinish(conn);
	if (options.gate_off && !features.gate)
	{
		fprintf(stderr,
				"the server has no setting aggjobs.gate; "
				"it needs a test build (make TESTING=1)\n");
		exit(2);
	}
}

/* ------------------------------------------------------------------ workers */

static void
play_group(World *world, uint64_t group, int worker)
{
	uint64_t first = group * SEEDS_PER_WORLD;
	uint64_t end = options.seed + options.histories;
	char database[64];
	static int number_of_worlds;
	bool made = false;

	for (uint64_t seed = first; seed < first + SEEDS_PER_WORLD; seed++)
	{
		if (seed < options.seed || seed >= end || told_to_stop())
			continue;
		if (!made)
		{
			snprintf(database, sizeof(database), "history_%d_%d_%d",
					 (int) getppid(), worker, ++number_of_worlds);
			world_make(world, group, database);
			made = true;
		}
		play(world, seed);
		if (world->failed)
		{
			if (options.keep)
				printf("the database is kept: %s\n", world->database);
			world_drop(world);
			made = false;
		}
		if (world->differs && options.until_difference)
			tell_to_stop();
	}
	if (made)
		world_drop(world);
}

static void
work(int worker)
{
	World *world = calloc(1, sizeof(World));
	uint64_t last = (options.seed + options.histories - 1) / SEEDS_PER_WORLD;

	figures = &shared->figures[worker];
	world->failure = createPQExpBuffer();
	while (!told_to_stop())
	{
		uint64_t group =
			__atomic_fetch_add(&shared->next_group, 1, __ATOMIC_RELAXED);

		if (group > last)
			break;
		play_group(world, group, worker);
	}
	fflush(stdout);
	_exit(0);
}

static bool
run_workers(void)
{
	bool well = true;
	int status;

	fflush(stdout);
	for (int i = 0; i < options.workers; i++)
		if (fork() == 0)
			work(i);
	while (wait(&status) > 0)
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		{
			well = false;
			tell_to_stop();
		}
	return well;
}

/* ------------------------------------------------------------------ figures */

static void
add_errors(Figures *sum, const Figures *one)
{
	for (int i = 0; i < MOST_ERRORS && one->errors[i].count > 0; i++)
		for (int j = 0; j < MOST_ERRORS; j++)
		{
			if (sum->errors[j].count == 0)
				strcpy(sum->errors[j].code, one->errors[i].code);
			if (strcmp(sum->errors[j].code, one->errors[i].code) == 0)
			{
				sum->errors[j].count += one->errors[i].count;
				break;
			}
		}
}

static Figures
sum_of_figures(void)
{
	Figures sum = {0};

	for (int i = 0; i < options.workers; i++)
	{
		const Figures *one = &shared->figures[i];

		sum.histories += one->histories;
		sum.operations += one->operations;
		sum.failed += one->failed;
		sum.differences += one->differences;
		sum.checks += one->checks;
		sum.old_checks += one->old_checks;
		sum.clean_rows += one->clean_rows;
		sum.refreshes += one->refreshes;
		sum.prepared += one->prepared;
		sum.crashes += one->crashes;
		sum.lost_connections += one->lost_connections;
		sum.backfills += one->backfills;
		sum.chunks += one->chunks;
		add_errors(&sum, one);
	}
	return sum;
}

static void
print_figures(const Figures *sum, double seconds)
{
	printf("# %ld histories from seed %" PRIu64 ", %ld operations, %.1f s "
		   "(%.1f histories/s)%s%s%s\n",
		   sum->histories, options.seed, sum->operations, seconds,
		   (double) sum->histories / seconds,
		   options.gate_off ? ", gate off" : "",
		   features.commit_delay ? ", with commit delays" : "",
		   features.cell_width ? ", changes noted finely" : "");
	printf("# %ld checks (%ld in old snapshots), %ld rows of targets compared, "
		   "%ld differences\n",
		   sum->checks, sum->old_checks, sum->clean_rows, sum->differences);
	printf(
		"# %ld refreshes, %ld prepared transactions, %ld lost connections, "
		"%ld crashes\n# %ld backfills, %ld chunks done\n# errors by SQLSTATE:",
		sum->refreshes, sum->prepared, sum->lost_connections, sum->crashes,
		sum->backfills, sum->chunks);
	for (int i = 0; i < MOST_ERRORS && sum->errors[i].count > 0; i++)
		printf(" %s %ld", sum->errors[i].code, sum->errors[i].count);
	printf("\n");
}

/* A run that compared nothing has proved nothing. */
static int
verdict(const Figures *sum)
{
	if (options.until_difference)
	{
		printf("%s difference was found in %ld histories\n",
			   sum->differences > 0 ? "ok a" : "FAIL no", sum->histories);
		return sum->differences > 0 ? 0 : 1;
	}
	if (sum->failed == 0 && (sum->clean_rows == 0 || sum->checks == 0))
	{
		printf("FAIL no row of any target was ever below the horizon\n");
		return 1;
	}
	printf("%s %ld of %ld histories failed\n", sum->failed ? "FAIL" : "ok",
		   sum->failed, sum->histories);
	return sum->failed ? 1 : 0;
}

int
main(int argc, char **argv)
{
	int64_t began = now_us();
	bool well;
	Figures sum;
	int which;

	while ((which = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		set_option(which, optarg);
	if (optind < argc)
		usage();
	if (options.crash)
		options.workers = 1; /* a crash is everybody's */
	signal(SIGPIPE, SIG_IGN);

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return 2;
	sem_init(&shared->turn, 1, 1);
	shared->began = began;
	shared->next_group = options.seed / SEEDS_PER_WORLD;
	detect_features();
	template_make();
	well = run_workers();
	template_drop();

	sum = sum_of_figures();
	print_figures(&sum, (double) (now_us() - began) / 1000000);
	if (!well)
	{
		printf("FAIL the test could not be done\n");
		return 2;
	}
	return verdict(&sum);
}
