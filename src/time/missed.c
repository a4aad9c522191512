#include "base/compat.h"
#include "time/missed.h"
bool
aj_previous_slot(const AjSchedule *schedule, pg_tz *zone, TimestampTz after,
				 TimestampTz upto, TimestampTz *slot)
{
	TimestampTz low = after, high = upto, next;
	if (!aj_next_slot(schedule, zone, after, &next) || next > upto)
		return false;
	while (low < high)
	{
		TimestampTz mid = low + (high - low) / 2;
		if (aj_next_slot(schedule, zone, mid, &next) && next <= upto)
			low = next;
		else
			high = mid;
	}
	*slot = low;
	return true;
}
int64
aj_count_slots(const AjSchedule *schedule, pg_tz *zone, TimestampTz after,
			   TimestampTz upto)
{
	int64 n = 0;
	TimestampTz next = after;
	while (aj_next_slot(schedule, zone, next, &next) && next <= upto)
		n++;
	return n;
}
