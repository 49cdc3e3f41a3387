/* Bytes: format 4, phase 1, id 16, and
 *   PREPARE  home 8, participants: count 1 and 8 each, the command
 *   DECIDE   decision 1, patience 8
 *   FINISH   decision 1
 *   FORGET   patience 8
 * Releases before this format stop at it, as they must: they could not perform it. */
#include "phase.h"

#include "bytes.h"

#include <holdfast/lib/error.h>

#include <string.h>

enum { FORMAT = 4, HEAD_SIZE = 1 + 1 + STORE_TRANSACTION_ID_SIZE, PREPARE_SIZE = HEAD_SIZE + 8 + 1 };

int store_is_phase(hf_slice bytes)
{
    return bytes.size > 0 && bytes.data[0] == FORMAT;
}

static uint64_t encoded_size(const struct store_phase *phase)
{
    switch (phase->phase) {
    case STORE_PHASE_PREPARE:
        return PREPARE_SIZE + phase->participant_count * UINT64_C(8) + phase->command.size;
    case STORE_PHASE_DECIDE:
        return HEAD_SIZE + 1 + 8;
    case STORE_PHASE_FINISH:
        return HEAD_SIZE + 1;
    default:
        return HEAD_SIZE + 8;
    }
}

static void write_prepare(uint8_t *to, const struct store_phase *phase)
{
    store_write_be(to, phase->home, 8);
    to[8] = (uint8_t)phase->participant_count;
    to += 9;
    for (uint32_t i = 0; i < phase->participant_count; i++, to += 8)
        store_write_be(to, phase->participants[i], 8);
    memcpy(to, phase->command.data, phase->command.size);
}

int32_t store_phase_encode(hf_buffer *buffer, const struct store_phase *phase, hf_error *error)
{
    uint64_t size = encoded_size(phase);
    int32_t r = hf_buffer_reserve(buffer, size);

    if (r < 0)
        return hf_error_set(error, r, "there is no room for a transaction's step of %llu bytes",
                            (unsigned long long)size);
    uint8_t *to = buffer->data + buffer->size;

    to[0] = FORMAT;
    to[1] = (uint8_t)phase->phase;
    memcpy(to + 2, phase->id, sizeof phase->id);
    if (phase->phase == STORE_PHASE_PREPARE)
        write_prepare(to + HEAD_SIZE, phase);
    if (phase->phase == STORE_PHASE_DECIDE || phase->phase == STORE_PHASE_FINISH)
        to[HEAD_SIZE] = (uint8_t)phase->decision;
    if (phase->phase == STORE_PHASE_DECIDE)
        store_write_be(to + HEAD_SIZE + 1, phase->patience_us, 8);
    if (phase->phase == STORE_PHASE_FORGET)
        store_write_be(to + HEAD_SIZE, phase->patience_us, 8);
    buffer->size += size;
    return 0;
}

/* 1 when the rest of a PREPARE is whole. */
static int read_prepare(hf_slice bytes, struct store_phase *phase)
{
    if (bytes.size < PREPARE_SIZE)
        return 0;
    const uint8_t *at = bytes.data + PREPARE_SIZE;

    phase->home = store_read_be(bytes.data + HEAD_SIZE, 8);
    phase->participant_count = bytes.data[HEAD_SIZE + 8];
    if (phase->participant_count > STORE_PARTICIPANTS_MAX ||
        bytes.size <= PREPARE_SIZE + phase->participant_count * UINT64_C(8))
        return 0;
    for (uint32_t i = 0; i < phase->participant_count; i++, at += 8)
        phase->participants[i] = store_read_be(at, 8);
    phase->command = (hf_slice){at, bytes.size - (uint64_t)(at - bytes.data)};
    return phase->home != 0;
}

static int read_rest(hf_slice bytes, struct store_phase *phase)
{
    if (phase->phase == STORE_PHASE_PREPARE)
        return read_prepare(bytes, phase);
    if (bytes.size != encoded_size(phase))
        return 0;
    if (phase->phase == STORE_PHASE_FORGET) {
        phase->patience_us = store_read_be(bytes.data + HEAD_SIZE, 8);
        return 1;
    }
    phase->decision = bytes.data[HEAD_SIZE];
    if (phase->phase == STORE_PHASE_FINISH)
        return phase->decision == STORE_DECISION_COMMIT || phase->decision == STORE_DECISION_ABORT;
    phase->patience_us = store_read_be(bytes.data + HEAD_SIZE + 1, 8);
    return phase->decision >= STORE_DECISION_COMMIT && phase->decision <= STORE_DECISION_ASK;
}

int32_t store_phase_decode(hf_slice bytes, struct store_phase *ret_phase, hf_error *error)
{
    if (bytes.size >= HEAD_SIZE && store_is_phase(bytes)) {
        *ret_phase = (struct store_phase){.phase = bytes.data[1]};
        memcpy(ret_phase->id, bytes.data + 2, sizeof ret_phase->id);
        if (ret_phase->phase >= STORE_PHASE_PREPARE && ret_phase->phase <= STORE_PHASE_FORGET &&
            read_rest(bytes, ret_phase))
            return 0;
    }
    return hf_error_set(error, HF_ECORRUPT, "a transaction's step of %llu bytes is damaged",
                        (unsigned long long)bytes.size);
}
