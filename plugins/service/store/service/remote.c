/* What other nodes send: messages of replication groups, operations for partitions that this node leads, and snapshots.
 * It arrives on any worker loop and goes on to the one that has the replica. */
#include "service/private.h"

#include "bytes.h"
#include "replica/snapshot.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>
#include <string.h>

/* ---- Messages of groups --------------------------------------------------------------------------------------- */

struct arrived {
    hf_task task;
    struct store_shard *shard;
    struct store_message message;
};

static void deliver(struct store_shard *shard, struct store_message *message)
{
    struct store_replica *replica = store_shard_replica(shard, message->partition);

    if (replica) {
        store_replica_receive(replica, message);
        return;
    }
    if (message->partition == STORE_CATALOG_PARTITION && store_replica_node(message->to) == shard->service->nodes.self)
        store_hello_join(shard->service, store_replica_node(message->from), message->to);
    store_message_done(message); /* not made here yet; it will be sent again */
}

static void deliver_task(hf_task *task)
{
    struct arrived *arrived = (struct arrived *)(void *)task;

    deliver(arrived->shard, &arrived->message);
    free(arrived);
}

static void message_arrived(void *arg, uint32_t node, hf_slice bytes)
{
    struct store_service *service = arg;
    struct store_message message;
    struct store_shard *shard;
    struct arrived *arrived;

    if (!store_hello_trusts(service, node))
        return;
    if (bytes.size >= STORE_MESSAGE_POSITION_SIZE) {
        store_witness_hear(&service->witness, node, store_read_be(bytes.data, STORE_MESSAGE_POSITION_SIZE));
        bytes.data += STORE_MESSAGE_POSITION_SIZE;
        bytes.size -= STORE_MESSAGE_POSITION_SIZE;
    }
    if (store_message_read(bytes, &message) != HF_OK || store_replica_node(message.from) != node) {
        store_service_log(service, HF_LOG_WARNING, "a malformed message of node %s was dropped",
                          service->nodes.names[node]);
        return;
    }
    shard = store_shard_of(service, message.partition);
    if (shard->loop == service->loops->current(service->host)) {
        deliver(shard, &message);
        return;
    }
    arrived = malloc(sizeof *arrived);
    if (!arrived) {
        store_message_done(&message);
        return;
    }
    *arrived = (struct arrived){.task.run = deliver_task, .shard = shard, .message = message};
    service->loops->post(shard->loop, &arrived->task);
}

/* ---- Links ---------------------------------------------------------------------------------------------------- */

static void link_changed(void *arg, uint32_t node, int32_t up)
{
    struct store_service *service = arg;
    struct store_shard *shard = store_shard_current(service);

    store_hello_link(service, node, up);
    if (!up)
        store_shard_hurry(shard); /* elections may be to come */
    for (uint64_t i = 0; i < shard->replica_count; i++)
        if (shard->replicas[i])
            store_replica_link_changed(shard->replicas[i], node, up);
}

/* ---- Operations ----------------------------------------------------------------------------------------------- */

struct asked {
    struct store_work work;
    hf_task task;
    struct store_service *service;
    hf_peer_request *request;
    struct store_op op;
    uint8_t bytes[];
};

static void asked_done(struct store_work *work)
{
    struct asked *asked = (struct asked *)(void *)work;
    const hf_peer_interface *peers = asked->service->peers;
    hf_buffer answer;

    hf_buffer_init(&answer, HF_PEER_MESSAGE_MAX);
    if (store_op_write_answer(&answer, &asked->op) == HF_OK)
        peers->respond(asked->request, HF_OK, (hf_slice){answer.data, answer.size});
    else /* too much for one message, or no memory: what was asked for may be done */
        peers->respond(asked->request, HF_EIO, (hf_slice){NULL, 0});
    hf_buffer_done(&answer);
    store_op_done(&asked->op);
    free(asked);
}

static void execute(hf_task *task)
{
    struct asked *asked = (struct asked *)((char *)task - offsetof(struct asked, task));
    struct store_shard *shard = store_shard_of(asked->service, asked->op.partition);
    struct store_replica *replica = store_shard_replica(shard, asked->op.partition);

    if (replica) {
        store_replica_execute(replica, &asked->work);
        return;
    }
    asked->op.code = HF_ENOTLEADER;
    asked_done(&asked->work);
}

static void operation_arrived(void *arg, uint32_t node, hf_peer_request *request, hf_slice bytes)
{
    struct store_service *service = arg;
    hf_loop *loop = service->loops->current(service->host);
    struct asked *asked;

    if (!store_hello_trusts(service, node)) {
        service->peers->respond(request, HF_ECLOSED, (hf_slice){NULL, 0});
        return;
    }
    asked = malloc(sizeof *asked + bytes.size);
    if (!asked) {
        service->peers->respond(request, HF_EBUSY, (hf_slice){NULL, 0});
        return;
    }
    *asked = (struct asked){.service = service, .request = request};
    memcpy(asked->bytes, bytes.data, bytes.size);
    if (store_op_read_request((hf_slice){asked->bytes, bytes.size}, service->loops->now_us(loop), &asked->op) !=
        HF_OK) {
        store_service_log(service, HF_LOG_WARNING, "a malformed operation of node %s was refused",
                          service->nodes.names[node]);
        service->peers->respond(request, HF_EPROTOCOL, (hf_slice){NULL, 0});
        free(asked);
        return;
    }
    asked->work.op = &asked->op;
    asked->work.done = asked_done;
    asked->task.run = execute;
    service->loops->post(store_shard_of(service, asked->op.partition)->loop, &asked->task);
}

/* ---- Snapshots ------------------------------------------------------------------------------------------------ */

struct asked_for_snapshot {
    hf_task task;
    struct store_shard *shard;
    struct store_snapshot_arrived *arrived;
};

static void snapshot_task(hf_task *task)
{
    struct asked_for_snapshot asked = *(struct asked_for_snapshot *)(void *)task;
    struct store_service *service = asked.shard->service;
    struct store_replica *replica = store_shard_replica(asked.shard, asked.arrived->request.partition);

    free(task);
    if (replica && store_hello_trusts(service, asked.arrived->node)) {
        store_replica_snapshot_request(replica, asked.arrived);
        return;
    }
    service->peers->respond(asked.arrived->peer, replica ? HF_ECLOSED : HF_ENOTFOUND, (hf_slice){NULL, 0});
    free(asked.arrived);
}

/* [the bulk loop; a worker, for WANT] */
static void snapshot_arrived(void *arg, uint32_t node, hf_peer_request *request, hf_slice bytes)
{
    struct store_service *service = arg;
    struct asked_for_snapshot *asked = malloc(sizeof *asked);
    struct store_snapshot_arrived *arrived = NULL;
    int32_t code = asked ? store_snapshot_arrived_create(bytes, &arrived) : HF_ENOMEM;

    if (code != HF_OK) {
        service->peers->respond(request, code == HF_ENOMEM ? HF_EBUSY : code, (hf_slice){NULL, 0});
        free(asked);
        return;
    }
    arrived->peer = request;
    arrived->node = node;
    *asked = (struct asked_for_snapshot){
        .task.run = snapshot_task, .shard = store_shard_of(service, arrived->request.partition), .arrived = arrived};
    service->loops->post(asked->shard->loop, &asked->task);
}

int32_t store_remote_open(struct store_service *service, hf_error *error)
{
    static const hf_peer_handlers messages = {
        .size = sizeof messages, .message = message_arrived, .link = link_changed};
    static const hf_peer_handlers calls = {.size = sizeof calls, .request = operation_arrived};
    static const hf_peer_handlers snapshots = {.size = sizeof snapshots, .request = snapshot_arrived};
    const hf_peer_interface *peers = service->peers;
    int32_t result;

    if (!peers)
        return HF_OK;
    result = store_hello_open(service, error);
    if (result == HF_OK)
        result = store_recover_open(service, error);
    if (result == HF_OK)
        result = store_compared_open(service, error);
    if (result == HF_OK)
        result = peers->channel(service->host, "store.raft", &messages, service, &service->environment.messages, error);
    if (result == HF_OK)
        result = peers->channel(service->host, "store.call", &calls, service, &service->calls, error);
    if (result == HF_OK)
        result = peers->channel(service->host, "store.snapshot", &snapshots, service, &service->environment.snapshots,
                                error);
    return result;
}
