/*
 * next_slot.h
 *	  The next planned instant of a schedule in a time zone.
 *
 * aj_next_slot() is declared with the rest of the language in schedule.h.
 */
#ifndef AJ_TIME_NEXT_SLOT_H
#define AJ_TIME_NEXT_SLOT_H

#include "time/schedule.h"

#endif /* AJ_TIME_NEXT_SLOT_H */
