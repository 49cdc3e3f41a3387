#include "replica/snapshot.h"

#include "bytes.h"

#include <stdlib.h>
#include <string.h>

uint64_t store_snapshot_write(uint8_t to[STORE_SNAPSHOT_BEGIN_MAX], const struct store_snapshot_request *request)
{
    uint8_t *at = to + STORE_SNAPSHOT_HEAD_SIZE;

    to[0] = STORE_SNAPSHOT_VERSION;
    to[1] = (uint8_t)request->kind;
    store_write_be(to + 2, request->partition, 8);
    store_write_be(to + 10, request->session, 8);
    if (request->kind != STORE_SNAPSHOT_BEGIN)
        return STORE_SNAPSHOT_HEAD_SIZE;
    store_write_be(at, request->state.applied_index, 8);
    store_write_be(at + 8, request->state.applied_term, 8);
    at[16] = (uint8_t)request->state.member_count;
    at += 17;
    for (uint32_t i = 0; i < request->state.member_count; i++, at += 9) {
        store_write_be(at, request->state.members[i].replica, 8);
        at[8] = request->state.members[i].learner != 0;
    }
    return (uint64_t)(at - to);
}

static int32_t read_state(hf_slice bytes, struct store_machine_state *state)
{
    const uint8_t *at = bytes.data + 17;

    if (bytes.size < 17 || bytes.data[16] > STORE_MEMBERS_MAX || bytes.size != 17 + (uint64_t)bytes.data[16] * 9)
        return HF_EPROTOCOL;
    state->applied_index = store_read_be(bytes.data, 8);
    state->applied_term = store_read_be(bytes.data + 8, 8);
    state->member_count = bytes.data[16];
    for (uint32_t i = 0; i < state->member_count; i++, at += 9)
        state->members[i] = (hf_replication_member){.replica = store_read_be(at, 8), .learner = at[8]};
    return state->applied_index == 0 || state->member_count == 0 ? HF_EPROTOCOL : HF_OK;
}

int32_t store_snapshot_read(hf_slice bytes, struct store_snapshot_request *ret_request)
{
    hf_slice rest;

    *ret_request = (struct store_snapshot_request){0};
    if (bytes.size < STORE_SNAPSHOT_HEAD_SIZE || bytes.data[0] != STORE_SNAPSHOT_VERSION)
        return HF_EPROTOCOL;
    rest = (hf_slice){bytes.data + STORE_SNAPSHOT_HEAD_SIZE, bytes.size - STORE_SNAPSHOT_HEAD_SIZE};
    ret_request->kind = bytes.data[1];
    ret_request->partition = store_read_be(bytes.data + 2, 8);
    ret_request->session = store_read_be(bytes.data + 10, 8);
    switch (ret_request->kind) {
    case STORE_SNAPSHOT_BEGIN:
        return read_state(rest, &ret_request->state);
    case STORE_SNAPSHOT_DATA:
        ret_request->bytes = rest;
        return rest.size ? HF_OK : HF_EPROTOCOL;
    case STORE_SNAPSHOT_COMMIT:
    case STORE_SNAPSHOT_WANT:
        return rest.size ? HF_EPROTOCOL : HF_OK;
    default:
        return HF_EPROTOCOL;
    }
}

int32_t store_snapshot_arrived_create(hf_slice bytes, struct store_snapshot_arrived **ret_arrived)
{
    struct store_snapshot_arrived *arrived = malloc(sizeof *arrived + bytes.size);
    int32_t code;

    if (!arrived)
        return HF_ENOMEM;
    *arrived = (struct store_snapshot_arrived){0};
    memcpy(arrived->bytes, bytes.data, bytes.size);
    code = store_snapshot_read((hf_slice){arrived->bytes, bytes.size}, &arrived->request);
    if (code != HF_OK) {
        free(arrived);
        return code;
    }
    *ret_arrived = arrived;
    return HF_OK;
}
