/* format.h: segment headers and records, to the byte.  README.md has the tables. */
#ifndef STORE_LOG_FORMAT_H
#define STORE_LOG_FORMAT_H

#include "store_log.h"

#define SEGMENT_VERSION     1u
#define SEGMENT_HEADER_SIZE 64u
#define RECORD_HEADER_SIZE  40u
#define RECORD_ALIGNMENT    8u
#define SEGMENT_SIZE_MIN    4096u
#define SEGMENT_SIZE_MAX    (1u << 30)
#define SEGMENT_NAME_SIZE   32

struct segment_header {
    uint32_t version;
    uint32_t segment_size;
    uint8_t node[16];
    uint64_t number;
    uint64_t previous;     /* segment before this one; 0: none */
    uint32_t previous_end; /* where its records end */
};

struct record_view {
    struct store_log_record record; /* the payload points into the bytes decoded */
    uint32_t batch;                 /* offset at which the write that holds it began */
    uint32_t stored_size;           /* header, payload and padding */
    uint32_t payload_size;          /* as stored */
};

void segment_name(uint64_t number, const char *suffix, char name[SEGMENT_NAME_SIZE]);
int segment_name_parse(const char *name, const char *suffix, uint64_t *ret_number);
void segment_header_encode(const struct segment_header *header, uint8_t out[SEGMENT_HEADER_SIZE]);
/* 0; HF_EVERSION; HF_ECORRUPT. */
int32_t segment_header_decode(const uint8_t *data, uint64_t size, struct segment_header *ret_header);

/* Ties a record to one life of one file of one node. */
uint32_t segment_seed(const uint8_t node[16], uint64_t number);

uint32_t record_payload_size(const struct store_log_record *record);
uint32_t record_stored_size(uint32_t payload_size);
/* Writes the header, and for records other than entries also their payload: returns the bytes written. */
uint32_t record_encode(const struct store_log_record *record, uint32_t seed, uint32_t batch, uint8_t *out);
/* Whether a record of this life begins here: the header is intact, the payload may not be. */
int record_begins(const uint8_t *data, uint64_t size, uint32_t seed);
/* Of a header that passed record_begins: its group, and how long the record says it is (0: it cannot be). */
uint64_t record_group(const uint8_t *header);
uint64_t record_claimed_size(const uint8_t *header);
/* HF_OK or HF_ECORRUPT.  `offset` is where in the segment `data` lies. */
int32_t record_decode(const uint8_t *data, uint64_t size, uint32_t seed, uint64_t offset, struct record_view *ret_view);
/* HF_OK, or HF_ECORRUPT: this is not the entry expected (group, index, term, entry_type), or it is damaged. */
int32_t record_check_entry(const uint8_t header[RECORD_HEADER_SIZE], const void *payload, uint32_t payload_size,
                           uint32_t seed, const struct store_log_record *expected);

#endif
