/* internal.h: what the files of table/ share.  Pure; [any]. */
#ifndef STORE_TABLE_INTERNAL_H
#define STORE_TABLE_INTERNAL_H

#include "table/table.h"

/* How a value's bytes stand to a text: below 0, 0 or above 0, byte by byte, as strcmp does. */
int store_compare_text(hf_slice slice, const char *text);

/* Sorts values into the order of strcmp, which is that of a table's partitions. */
void store_sort_values(const char **values, uint32_t count);

/* A copy of a string of JSON as text.  NULL: no memory.  The caller has refused strings with a zero byte. */
const char *store_copy_text(hf_arena *arena, hf_slice text);

#endif
