/*
 * setting.h
 *	  aggjobs.setting: named values, and ${NAME} in texts.
 */
#ifndef AJ_CATALOG_SETTING_H
#define AJ_CATALOG_SETTING_H

#include "base/compat.h"

extern char *aj_setting_get(const char *name);
extern void aj_setting_put(const char *name, const char *value);
extern bool aj_setting_remove(const char *name);
extern char *aj_setting_expand(const char *text);
extern char *aj_setting_try_expand(const char *text);

/* A retention period: the table it is for and how long its rows stay. */
typedef struct AjRetentionSetting
{
	char *table; /* name as set: TABLE or SCHEMA.TABLE */
	char *keep;	 /* text of an interval, or "forever" */
} AjRetentionSetting;

extern AjRetentionSetting *aj_setting_retentions(int *n);

#endif /* AJ_CATALOG_SETTING_H */
