/* config/units.h: sizes and durations as people write them.  Pure; [any]. */
#ifndef HOLDFAST_CONFIG_UNITS_H
#define HOLDFAST_CONFIG_UNITS_H

#include <stddef.h>
#include <stdint.h>

/* "64MiB", "1GB", "512": bytes; units B, KiB..PiB (1024) and KB..PB (1000).  1 if understood, else 0. */
int hf_config_size_parse(const char *text, uint64_t *ret_bytes);

/* "300ms", "10s": units us, ms, s, m, h, d; "0" needs none.  1 if understood, else 0. */
int hf_config_duration_parse(const char *text, uint64_t *ret_us);

/* The shortest exact text with one unit. */
void hf_config_size_format(uint64_t bytes, char *text, size_t size);
void hf_config_duration_format(uint64_t us, char *text, size_t size);

/* Insertions, deletions and replacements from one name to another; names over 63 bytes are cut. */
unsigned hf_config_name_distance(const char *a, const char *b);

#endif
