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

/* Names of fields and values appear in headers, logs and messages: 1 to STORE_TABLE_TEXT_MAX bytes of UTF-8 without
 * control characters.  HF_EINVAL, with `what` in the message. */
int32_t store_check_text(const char *what, hf_slice text, hf_error *error);

/* Such a text as a string of JSON.  HF_EINVAL, HF_ENOMEM. */
int32_t store_read_text(const char *what, const hf_value *value, hf_arena *arena, const char **ret_text,
                        hf_error *error);

/* 16 digits of 0-9 and a-f; 0: it is not that. */
int store_read_hash(hf_slice text, uint64_t *ret_number);

#endif
