/* Asks the leader for its index, so that a replica knows how old what it has may be (replica/stale.c). */
#include "service/private.h"

#include <stdlib.h>

enum { TIMEOUT_US = 1000000 };

struct refresh {
    struct store_call call; /* first */
    struct store_shard *shard;
    uint64_t asked_us;
};

static void finished(struct store_call *call)
{
    struct refresh *refresh = (struct refresh *)(void *)call;
    struct store_replica *replica = store_shard_replica(refresh->shard, call->op.partition);

    if (replica)
        store_replica_refreshed(replica, refresh->asked_us, call->op.code, call->op.version);
    hf_buffer_done(&call->op.result);
    free(refresh);
}

void store_service_refresh(void *arg, struct store_replica *replica, uint64_t now_us)
{
    struct store_service *service = arg;
    struct refresh *refresh = calloc(1, sizeof *refresh);

    if (!refresh) {
        store_replica_refreshed(replica, now_us, HF_ENOMEM, 0);
        return;
    }
    refresh->asked_us = now_us;
    refresh->shard = store_shard_of(service, store_replica_partition(replica));
    refresh->call.op = (struct store_op){
        .type = STORE_OP_MEMBERS, .partition = store_replica_partition(replica), .deadline_us = now_us + TIMEOUT_US};
    refresh->call.finished = finished;
    store_call_start(service, &refresh->call);
}
