/* message.c: the fixed header of a message: version, type, flags, 0, 0 0 0 0, then nine little-endian 64-bit
 * numbers. */
#include "raft.h"

#define VERSION     2
#define NUMBERS     9
#define HEADER_SIZE (8 + 8 * NUMBERS)

enum { FLAG_REJECT = 1, FLAG_FORCE = 2, FLAG_QUIET = 4 };

static void put(uint8_t *to, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get(const uint8_t *from)
{
    uint64_t value = 0;

    for (int i = 0; i < 8; i++)
        value |= (uint64_t)from[i] << (8 * i);
    return value;
}

void raft_message_encode(const raft_message *m, hf_replication_message *to)
{
    const uint64_t numbers[NUMBERS] = {m->term,      m->index, m->log_term, m->commit, m->hint,
                                       m->hint_term, m->round, m->sent,     m->clock};

    to->header_size = HEADER_SIZE;
    to->header[0] = VERSION;
    to->header[1] = m->type;
    to->header[2] =
        (uint8_t)((m->reject ? FLAG_REJECT : 0) | (m->force ? FLAG_FORCE : 0) | (m->quiet ? FLAG_QUIET : 0));
    for (int i = 3; i < 8; i++)
        to->header[i] = 0;
    for (int i = 0; i < NUMBERS; i++)
        put(to->header + 8 + 8 * i, numbers[i]);
}

int32_t raft_message_decode(const hf_replication_message *from, raft_message *ret_m, hf_error *error)
{
    const uint8_t *h = from->header, *numbers = h + 8;

    if (from->header_size != HEADER_SIZE)
        return hf_error_set(error, HF_EPROTOCOL, "Raft header of %u bytes, expected %d", from->header_size,
                            HEADER_SIZE);
    if (h[0] != VERSION)
        return hf_error_set(error, HF_EPROTOCOL, "Raft header of version %u, expected %d", h[0], VERSION);
    if (h[1] < RAFT_PREVOTE || h[1] > RAFT_TIMEOUT_NOW || h[2] > (FLAG_REJECT | FLAG_FORCE | FLAG_QUIET))
        return hf_error_set(error, HF_EPROTOCOL, "Raft message of unknown type %u, flags %u", h[1], h[2]);
    *ret_m = (raft_message){.type = h[1],
                            .reject = h[2] & FLAG_REJECT,
                            .force = h[2] & FLAG_FORCE,
                            .quiet = h[2] & FLAG_QUIET,
                            .term = get(numbers),
                            .index = get(numbers + 8),
                            .log_term = get(numbers + 16),
                            .commit = get(numbers + 24),
                            .hint = get(numbers + 32),
                            .hint_term = get(numbers + 40),
                            .round = get(numbers + 48),
                            .sent = get(numbers + 56),
                            .clock = get(numbers + 64)};
    /* Terms and indices far beyond any life would let one bad peer exhaust the numbers. */
    if (ret_m->term == 0 || ret_m->term >= UINT64_MAX / 2 || ret_m->index >= UINT64_MAX / 2)
        return hf_error_set(error, HF_EPROTOCOL, "Raft message with an impossible term or index");
    return 0;
}
