/*
 * tx.h
 *	  Transactions of our own processes.
 */
#ifndef AJ_BASE_TX_H
#define AJ_BASE_TX_H

#include "base/compat.h"

extern void aj_tx_begin(const char *activity);
extern void aj_tx_begin_users(const char *activity);
extern void aj_tx_begin_bare(const char *activity);
extern bool aj_tx_make_own(void);
extern void aj_tx_commit(void);
extern void aj_tx_abort(void);
extern bool aj_tx_try(const char *activity, void (*work)(void *arg), void *arg);
extern bool aj_tx_try_again(const char *activity, void (*work)(void *arg),
							void *arg, int *reported);

#endif /* AJ_BASE_TX_H */
