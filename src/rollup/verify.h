/*
 * verify.h
 *	  Compares the table of a rollup with its query.
 */
#ifndef AJ_ROLLUP_VERIFY_H
#define AJ_ROLLUP_VERIFY_H

#include "base/compat.h"
#include "catalog/rollup.h"
#include "utils/tuplestore.h"

/* Buckets drawn at random. */
typedef struct AjSample
{
	int nbuckets;
	int nranges; /* neighbours are one range */
	AjRange *ranges;
} AjSample;

#define AJ_MOST_SAMPLED 1000

extern Tuplestorestate *aj_verify(const AjRollup *rollup, AjRange within,
								  MemoryContext context, TupleDesc *desc);
extern AjSample aj_verify_sample(const AjRollup *rollup, AjRange within,
								 int wanted);
extern char *aj_verify_sample_text(const AjSample *sample);

#endif /* AJ_ROLLUP_VERIFY_H */
