#include "base/compat.h"
#include "time/backoff.h"
int64
aj_backoff_ms(int attempt, int64 first_ms, int64 longest_ms, double random)
{
	int64 delay = first_ms;
	for (int i = 1; i < attempt && delay < longest_ms; i++)
		delay = delay > longest_ms / 2 ? longest_ms : delay * 2;
	if (delay > longest_ms)
		delay = longest_ms;
	return (int64) ((double) delay * (0.5 + random / 2));
}
