/*-------------------------------------------------------------------------
 *
 * scan.c
 *	  Reading the text of a schedule from left to right.
 *
 * The parsers of the schedule language stand on these few steps.  A step that
 * reads moves scan->at behind what it took.  Text that is not plain ASCII is
 * refused first of all, so that bytes and columns are the same up to the
 * offending character in every encoding of the server.
 *
 * Nothing here allocates, raises an error or reads behind the final zero.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/time/scan.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "time/scan.h"

static inline bool
is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline char
lower(char c)
{
	return (c >= 'A' && c <= 'Z') ? (char) (c - 'A' + 'a') : c;
}

static inline bool
is_letter(char c)
{
	return lower(c) >= 'a' && lower(c) <= 'z';
}

/*
 * aj_scan_fail
 *		Note why the text is refused, and at which character.
 *
 * Always returns false, so that a parser can return its result.
 */
bool
aj_scan_fail(AjScan *scan, const char *where, const char *hint,
			 const char *reason, ...)
{
	AjScheduleError *error = scan->error;
	va_list args;

	error->column = (int) (where - scan->text) + 1;
	va_start(args, reason);
	vsnprintf(error->reason, sizeof(error->reason), reason, args);
	va_end(args);
	strlcpy(error->hint, hint, sizeof(error->hint));
	return false;
}

/*
 * aj_scan_expected
 *		Refuse the text because "what" should stand at the present character.
 */
bool
aj_scan_expected(AjScan *scan, const char *what, const char *hint)
{
	char shown[32];

	if (*scan->at == '\0')
		return aj_scan_fail(scan, scan->at, hint,
							"expected %s, but the text ends", what);
	aj_scan_shown(scan->at, shown, sizeof(shown));
	if (shown[0] == '\0')
		return aj_scan_fail(scan, scan->at, hint, "expected %s, found a blank",
							what);
	return aj_scan_fail(scan, scan->at, hint, "expected %s, found \"%s\"", what,
						shown);
}

/*
 * aj_scan_advise
 *		Replace the hint by one that is made for this text.
 */
void
aj_scan_advise(AjScan *scan, const char *hint, ...)
{
	va_list args;

	va_start(args, hint);
	vsnprintf(scan->error->hint, sizeof(scan->error->hint), hint, args);
	va_end(args);
}

/*
 * aj_scan_is_plain
 *		Move to the first character that is neither a blank nor printable
 *		ASCII; true if there is none.
 */
bool
aj_scan_is_plain(AjScan *scan)
{
	while (is_blank(*scan->at) || (*scan->at >= ' ' && *scan->at < 0x7f))
		scan->at++;
	return *scan->at == '\0';
}

/*
 * aj_scan_blanks
 *		Skip blanks; true if there was one, or if the text ends here.
 */
bool
aj_scan_blanks(AjScan *scan)
{
	const char *start = scan->at;

	while (is_blank(*scan->at))
		scan->at++;
	return scan->at > start || *scan->at == '\0';
}

/* Does a number come next? */
bool
aj_scan_digits(const AjScan *scan)
{
	return is_digit(*scan->at);
}

/* Does a word come next? */
bool
aj_scan_letters(const AjScan *scan)
{
	return is_letter(*scan->at);
}

/* Take "character" (a letter in either case) if it comes next. */
bool
aj_scan_character(AjScan *scan, char character)
{
	if (lower(*scan->at) != character)
		return false;
	scan->at++;
	return true;
}

/*
 * aj_scan_number
 *		Read digits.  Too large a number comes back as AJ_SCAN_NUMBER_MAX.
 */
int
aj_scan_number(AjScan *scan)
{
	int64 number = 0;

	for (; is_digit(*scan->at); scan->at++)
		number = Min(number * 10 + (*scan->at - '0'), AJ_SCAN_NUMBER_MAX);
	return (int) number;
}

/*
 * aj_scan_word
 *		Read letters into "word" (AJ_SCAN_WORD bytes), in lower case.
 *
 * Returns how many letters there are, which may be more than fit.
 */
int
aj_scan_word(AjScan *scan, char *word)
{
	int length = 0;

	for (; is_letter(*scan->at); scan->at++, length++)
	{
		if (length < AJ_SCAN_WORD - 1)
			word[length] = lower(*scan->at);
	}
	word[Min(length, AJ_SCAN_WORD - 1)] = '\0';
	return length;
}

/*
 * aj_scan_shown
 *		Copy what stands at "at", up to a blank or a character that is not
 *		plain ASCII, to be quoted in a message.  Long text ends in "...".
 */
const char *
aj_scan_shown(const char *at, char *shown, size_t size)
{
	size_t length = 0;

	while (at[length] > ' ' && at[length] < 0x7f && length < size - 4)
	{
		shown[length] = at[length];
		length++;
	}
	shown[length] = '\0';
	if (at[length] > ' ' && at[length] < 0x7f)
		strlcat(shown, "...", size);
	return shown;
}
