/* reader.h: finds the records in a segment's bytes, and what is damaged. */
#ifndef STORE_LOG_READER_H
#define STORE_LOG_READER_H

#include "format.h"

struct segment_scan {
    const uint8_t *data; /* the whole segment, with its header */
    uint64_t size;
    uint32_t seed;
    uint64_t known_end; /* where the records end, as the next segment says; 0: nobody says, this is the last one */
    void (*record)(void *argument, const struct record_view *view, uint64_t offset);
    void (*damage)(void *argument, uint64_t offset, uint64_t size, const char *reason);
    void *argument;
    uint64_t end;        /* result: where the records end */
    uint64_t torn_bytes; /* result: what an interrupted last write left behind `end` */
    uint64_t last_write; /* result: where the write that holds the last record began; 0: no record */
    uint64_t records;    /* result */
};

/* Calls `record` and `damage` in the order of offsets; the regions do not overlap. */
void segment_scan_run(struct segment_scan *scan);

#endif
