/*
 * scan.h
 *	  Reading the text of a schedule from left to right.
 */
#ifndef AJ_TIME_SCAN_H
#define AJ_TIME_SCAN_H

#include "base/compat.h"

/* Numbers stop growing here, far above all that any form accepts. */
#define AJ_SCAN_NUMBER_MAX 1000000000

/* Longest word looked at, longer ones are cut; with the final zero. */
#define AJ_SCAN_WORD 16

typedef struct AjScheduleError
{
	int column; /* of the offending character, from 1 */
	char reason[160];
	char hint[160]; /* empty if there is nothing to advise */
} AjScheduleError;

typedef struct AjScan
{
	const char *text; /* the whole schedule */
	const char *at;	  /* the next character to read */
	AjScheduleError *error;
} AjScan;

extern bool aj_scan_fail(AjScan *scan, const char *where, const char *hint,
						 const char *reason, ...) pg_attribute_printf(4, 5);
extern bool aj_scan_expected(AjScan *scan, const char *what, const char *hint);
extern void aj_scan_advise(AjScan *scan, const char *hint, ...)
	pg_attribute_printf(2, 3);
extern bool aj_scan_is_plain(AjScan *scan);
extern bool aj_scan_blanks(AjScan *scan);
extern bool aj_scan_digits(const AjScan *scan);
extern bool aj_scan_letters(const AjScan *scan);
extern bool aj_scan_character(AjScan *scan, char character);
extern int aj_scan_number(AjScan *scan);
extern int aj_scan_word(AjScan *scan, char *word);
extern const char *aj_scan_shown(const char *at, char *shown, size_t size);

#endif /* AJ_TIME_SCAN_H */
