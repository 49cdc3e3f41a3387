/* The part of a node that is left: says what it has, binds itself to a plan, makes the replicas that the plan chose
 * here their groups.  See recover.h. */
#include "service/recover.h"

#include "bytes.h"

#include <holdfast/host/signal.h>
#include <holdfast/lib/error.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD_SIZE = 1 + 8 + 1, ARENA_MAXIMUM = 512 << 20 };

/* One loop's share. */
struct part {
    hf_task task;
    struct asked *asked;
    struct store_shard *shard;
    uint32_t heard;
    uint64_t count, forced;
    struct store_recover_replica *replicas;
    int32_t code;
    hf_error error;
};

struct asked {
    hf_job job;
    hf_task task;
    struct store_service *service;
    hf_loop *loop;
    int32_t kind;
    uint64_t catalog_version;
    char actor[STORE_RECOVER_ACTOR_MAX];
    hf_arena arena;
    struct store_recover_plan plan;
    struct store_recover_facts facts;
    uint64_t dead_disks[STORE_NODES_MAX];
    _Atomic uint32_t left;
    struct part *parts; /* one for each loop */
    int32_t code;
    hf_error error;
    hf_buffer text;
    store_recover_reply reply;
    void *arg;
};

int32_t store_recover_hears(struct store_service *service, uint32_t node)
{
    return node != service->nodes.self && service->peers && store_hello_trusts(service, node) &&
           service->peers->is_up(service->hello, node);
}

/* ---- Audit ------------------------------------------------------------------------------------------------------- */

static void list_names(const struct store_nodes *nodes, uint32_t set, char *text, size_t capacity)
{
    size_t size = 0;

    text[0] = '\0';
    for (uint32_t node = 0; node < nodes->count && size < capacity; node++)
        if (set >> node & 1)
            size += (size_t)snprintf(text + size, capacity - size, "%s%s", size ? "," : "", nodes->names[node]);
}

void store_recover_note(struct store_service *service, const char *actor, const char *step,
                        const struct store_recover_plan *plan, uint64_t count, const char *outcome)
{
    const hf_signal_interface *signals =
        (const hf_signal_interface *)service->host->query(service->host, HF_SIGNAL_INTERFACE);
    char id[17], dead[1024], survivors[1024];
    hf_error error = {0};

    snprintf(id, sizeof id, "%016" PRIx64, plan->id);
    list_names(&service->nodes, plan->dead, dead, sizeof dead);
    list_names(&service->nodes, plan->survivors, survivors, sizeof survivors);
    const hf_value_member members[] = {
        {hf_slice_of("step"), hf_value_text(step)},
        {hf_slice_of("plan"), hf_value_text(id)},
        {hf_slice_of("dead"), hf_value_text(dead)},
        {hf_slice_of("survivors"), hf_value_text(survivors)},
        {hf_slice_of("partitions"), hf_value_integer((int64_t)count)},
        {hf_slice_of("outcome"), hf_value_text(outcome)},
    };
    hf_value detail = hf_value_map(members, sizeof members / sizeof *members);

    store_service_log(service, HF_LOG_WARNING,
                      "recovery, plan %s (%s): %s, %" PRIu64 " partitions; lost for good: %s: %s", id, actor, step,
                      count, dead, outcome);
    if (signals && signals->note && signals->note(service->host, actor, "cluster.recover", &detail, &error) != HF_OK)
        store_service_log(service, HF_LOG_ERROR, "the audit log has no entry for the recovery: %s", error.message);
}

/* ---- Ending ------------------------------------------------------------------------------------------------------ */

static void finish(hf_task *task)
{
    struct asked *asked = (struct asked *)((char *)task - offsetof(struct asked, task));
    hf_slice text = asked->code == HF_OK ? (hf_slice){asked->text.data, asked->text.size}
                                         : hf_slice_of(asked->error.message[0] ? asked->error.message : "no details");

    asked->reply(asked->arg, asked->code, text);
    hf_buffer_done(&asked->text);
    hf_arena_done(&asked->arena);
    free(asked->parts);
    free(asked);
}

static void end(struct asked *asked, int32_t code)
{
    asked->code = code;
    asked->task.run = finish;
    asked->service->loops->post(asked->loop, &asked->task);
}

/* ---- On every loop ----------------------------------------------------------------------------------------------- */

/* [the origin's loop] */
static void gathered(hf_task *task);

static void part_done(struct part *part)
{
    struct asked *asked = part->asked;

    if (atomic_fetch_sub(&asked->left, 1) != 1)
        return;
    asked->task.run = gathered;
    asked->service->loops->post(asked->loop, &asked->task);
}

static void look_at(struct part *part, struct store_replica *replica)
{
    struct store_recover_replica *row = &part->replicas[part->count++];
    struct store_replica_standing standing;

    store_replica_stand(replica, &standing);
    *row = (struct store_recover_replica){.partition = store_replica_partition(replica),
                                          .id = store_replica_self(replica),
                                          .failed = standing.failed,
                                          .leads = standing.leads,
                                          .last_term = standing.last_term,
                                          .last_index = standing.last_index,
                                          .commit = standing.commit,
                                          .transactions = standing.transactions,
                                          .member_count = standing.member_count};
    memcpy(row->members, standing.members, standing.member_count * sizeof row->members[0]);
}

static void survey(hf_task *task)
{
    struct part *part = (struct part *)(void *)task;
    struct store_shard *shard = part->shard;

    for (uint32_t node = 0; node < shard->service->nodes.count; node++)
        if (store_recover_hears(shard->service, node))
            part->heard |= 1u << node;
    part->replicas = calloc(shard->replica_count + 1, sizeof *part->replicas);
    if (!part->replicas)
        part->code = hf_error_set(&part->error, HF_EBUSY, "no memory to look at the replicas");
    for (uint64_t i = 0; i < shard->replica_count && part->replicas; i++)
        if (shard->replicas[i])
            look_at(part, shard->replicas[i]);
    part_done(part);
}

/* The chosen one; of those that begin empty, as the catalog has it by now. */
static uint64_t chosen_replica(const struct part *part, const struct store_recover_item *item)
{
    const struct store_routed *routed = store_routing_partition(part->shard->routing, item->partition);

    for (uint32_t i = 0; !item->replica && routed && i < routed->partition->member_count; i++)
        if (routed->partition->members[i] == item->node)
            return routed->partition->replicas[i];
    return item->replica;
}

static void force_one(struct part *part, const struct store_recover_item *item)
{
    struct store_replica *replica = store_shard_replica(part->shard, item->partition);

    if (!replica || store_replica_self(replica) != chosen_replica(part, item))
        part->code = hf_error_set(&part->error, HF_EBUSY, "the replica of partition %" PRIu64 " is not open yet",
                                  item->partition);
    else
        part->code = store_replica_force(replica, item->last_term, item->last_index, &part->error);
    part->forced += part->code == HF_OK;
}

static int is_mine(const struct part *part, const struct store_recover_item *item)
{
    const struct asked *asked = part->asked;

    return item->node == asked->service->nodes.self && store_shard_of(asked->service, item->partition) == part->shard &&
           (item->partition == STORE_CATALOG_PARTITION) == (asked->kind == STORE_RECOVER_CATALOG);
}

static void force(hf_task *task)
{
    struct part *part = (struct part *)(void *)task;
    const struct asked *asked = part->asked;

    for (uint32_t node = 0; node < asked->service->nodes.count && part->code == HF_OK; node++)
        if (asked->plan.dead >> node & 1 && store_recover_hears(asked->service, node))
            part->code = hf_error_set(&part->error, HF_ECONFLICT, "node %s, which the plan calls dead, is heard",
                                      asked->service->nodes.names[node]);
    if (part->code == HF_OK && part->shard->routing->catalog_version < asked->catalog_version)
        part->code = hf_error_set(&part->error, HF_EBUSY, "this node has not heard yet what the catalog says");
    for (uint64_t i = 0; i < asked->plan.count && part->code == HF_OK; i++)
        if (is_mine(part, &asked->plan.items[i]))
            force_one(part, &asked->plan.items[i]);
    part_done(part);
}

static void on_every_loop(struct asked *asked, void (*run)(hf_task *task))
{
    struct store_service *service = asked->service;

    atomic_store(&asked->left, service->shard_count);
    for (uint32_t i = 0; i < service->shard_count; i++) {
        asked->parts[i] = (struct part){.task.run = run, .asked = asked, .shard = &service->shards[i]};
        service->loops->post(service->shards[i].loop, &asked->parts[i].task);
    }
}

/* ---- Together ---------------------------------------------------------------------------------------------------- */

static int by_partition(const void *a, const void *b)
{
    const struct store_recover_replica *first = a, *second = b;

    return (first->partition > second->partition) - (first->partition < second->partition);
}

static int32_t join_facts(struct asked *asked)
{
    struct store_service *service = asked->service;
    struct store_recover_facts *facts = &asked->facts;
    uint64_t count = 0;

    for (uint32_t i = 0; i < service->shard_count; i++)
        count += asked->parts[i].count;
    facts->present = 1;
    if (atomic_load(&service->cluster))
        facts->identity = service->identity;
    facts->promised = store_fence_plan(&service->fence);
    facts->replicas = hf_arena_alloc(&asked->arena, (count + 1) * sizeof *facts->replicas);
    if (!facts->replicas)
        return hf_error_set(&asked->error, HF_EBUSY, "no memory to look at the replicas");
    for (uint32_t i = 0; i < service->shard_count; i++) {
        const struct part *part = &asked->parts[i];

        facts->heard |= part->heard;
        memcpy(facts->replicas + facts->count, part->replicas, part->count * sizeof *part->replicas);
        facts->count += part->count;
    }
    qsort(facts->replicas, facts->count, sizeof *facts->replicas, by_partition);
    return HF_OK;
}

/* [pool] First the audit log, then the promise: nothing is done that is not written down. */
static void promise(hf_job *job)
{
    struct asked *asked = (struct asked *)(void *)job;
    struct store_service *service = asked->service;

    store_recover_note(service, asked->actor, "bind", &asked->plan, asked->plan.count,
                       "this node listens to the dead no more");
    asked->code = store_fence_promise(&service->fence, asked->plan.promised[service->nodes.self], asked->plan.id,
                                      asked->plan.dead, asked->dead_disks, &asked->error);
}

static void note_forced(hf_job *job)
{
    struct asked *asked = (struct asked *)(void *)job;
    uint64_t forced = 0;

    for (uint32_t i = 0; i < asked->service->shard_count; i++)
        forced += asked->parts[i].forced;
    if (forced > 0 || asked->code != HF_EBUSY)
        store_recover_note(asked->service, asked->actor,
                           asked->kind == STORE_RECOVER_CATALOG ? "force the catalog" : "force partitions",
                           &asked->plan, forced, asked->code == HF_OK ? "ok" : asked->error.message);
}

static void job_done(hf_job *job)
{
    struct asked *asked = (struct asked *)(void *)job;

    finish(&asked->task);
}

static void submit(struct asked *asked, void (*work)(hf_job *job))
{
    asked->job = (hf_job){.loop = asked->loop, .work = work, .done = job_done};
    if (asked->service->loops->submit(asked->service->host, &asked->job, &asked->error) != HF_OK) {
        asked->code = HF_EBUSY;
        finish(&asked->task);
    }
}

static void note_dead_disks(struct asked *asked)
{
    struct store_service *service = asked->service;
    const struct store_routing *routing = store_shard_current(service)->routing;

    pthread_mutex_lock(&service->witness.lock);
    for (uint32_t node = 0; node < service->nodes.count; node++)
        asked->dead_disks[node] =
            service->witness.known[node].disk ? service->witness.known[node].disk : routing->nodes[node].disk;
    pthread_mutex_unlock(&service->witness.lock);
}

static void gathered(hf_task *task)
{
    struct asked *asked = (struct asked *)((char *)task - offsetof(struct asked, task));
    int32_t code = HF_OK;

    for (uint32_t i = 0; i < asked->service->shard_count && code == HF_OK; i++) {
        code = asked->parts[i].code;
        asked->error = asked->parts[i].error;
    }
    if (code == HF_OK && (asked->kind == STORE_RECOVER_FACTS || asked->kind == STORE_RECOVER_PROMISE))
        code = join_facts(asked);
    for (uint32_t i = 0; i < asked->service->shard_count; i++)
        free(asked->parts[i].replicas);
    if (code == HF_OK && asked->kind == STORE_RECOVER_FACTS)
        code = store_recover_write_facts(&asked->text, &asked->facts);
    if (code == HF_OK && asked->kind == STORE_RECOVER_PROMISE)
        code = store_recover_check(&asked->plan, asked->service->nodes.self, &asked->facts, &asked->error);
    asked->code = code;
    if (asked->kind == STORE_RECOVER_PROMISE && code == HF_OK) {
        note_dead_disks(asked);
        submit(asked, promise);
    } else if (asked->kind == STORE_RECOVER_CATALOG || asked->kind == STORE_RECOVER_PARTITIONS) {
        submit(asked, note_forced);
    } else {
        finish(&asked->task);
    }
}

/* ---- Asked ------------------------------------------------------------------------------------------------------- */

static int32_t read_plan(struct asked *asked, hf_slice text)
{
    hf_value document = hf_value_null();
    int32_t code = hf_json_parse(text, &asked->arena, &document, &asked->error);

    if (code == HF_OK)
        code = store_recover_read_plan(&document, &asked->service->nodes, &asked->arena, &asked->plan, &asked->error);
    if (code == HF_OK && asked->kind != STORE_RECOVER_PROMISE &&
        store_fence_plan(&asked->service->fence) != asked->plan.id)
        code = hf_error_set(&asked->error, HF_ECONFLICT,
                            "this node is not bound to plan %016" PRIx64 "; make another plan", asked->plan.id);
    return code;
}

void store_recover_ask_here(struct store_service *service, const struct store_recover_request *request,
                            store_recover_reply reply, void *arg)
{
    struct asked *asked = calloc(1, sizeof *asked);
    struct part *parts = calloc(service->shard_count, sizeof *parts);

    if (!asked || !parts) {
        free(asked);
        free(parts);
        reply(arg, HF_EBUSY, hf_slice_of("no memory for the request"));
        return;
    }
    *asked = (struct asked){.service = service,
                            .loop = service->loops->current(service->host),
                            .kind = request->kind,
                            .catalog_version = request->catalog_version,
                            .parts = parts,
                            .reply = reply,
                            .arg = arg};
    snprintf(asked->actor, sizeof asked->actor, "%s", request->actor);
    hf_arena_init(&asked->arena, ARENA_MAXIMUM);
    hf_buffer_init(&asked->text, STORE_RECOVER_TEXT_MAX);
    int32_t code = request->kind == STORE_RECOVER_FACTS ? HF_OK : read_plan(asked, request->plan);

    if (code != HF_OK)
        end(asked, code);
    else if (request->kind == STORE_RECOVER_FACTS || request->kind == STORE_RECOVER_PROMISE)
        on_every_loop(asked, survey);
    else
        on_every_loop(asked, force);
}

/* ---- Between nodes ----------------------------------------------------------------------------------------------- */

/* The request as bytes: kind 1, version 8, actor's size 1, actor, plan. */
struct remote {
    store_recover_reply reply;
    void *arg;
};

static void remote_done(void *arg, int32_t code, hf_slice response)
{
    struct remote remote = *(struct remote *)arg;

    free(arg);
    if (code == HF_OK && response.size > 0 && response.data[0] != 0) {
        code = -(int32_t)response.data[0];
        response.data++;
        response.size--;
    } else if (code == HF_OK && response.size > 0) {
        response.data++;
        response.size--;
    } else {
        code = code == HF_OK ? HF_EPROTOCOL : code;
        response = hf_slice_of("it does not answer");
    }
    remote.reply(remote.arg, code, response);
}

void store_recover_ask(struct store_service *service, uint32_t node, const struct store_recover_request *request,
                       uint64_t timeout_us, store_recover_reply reply, void *arg)
{
    uint8_t head[HEAD_SIZE] = {(uint8_t)request->kind};
    const hf_slice pieces[] = {{head, sizeof head}, hf_slice_of(request->actor), request->plan};
    struct remote *remote;

    if (node == service->nodes.self) {
        store_recover_ask_here(service, request, reply, arg);
        return;
    }
    remote = malloc(sizeof *remote);
    if (!remote) {
        reply(arg, HF_EBUSY, hf_slice_of("no memory for the request"));
        return;
    }
    *remote = (struct remote){reply, arg};
    store_write_be(head + 1, request->catalog_version, 8);
    head[9] = (uint8_t)pieces[1].size;
    service->peers->call(service->recoveries, node, pieces, 3, timeout_us, remote_done, remote);
}

struct arrived {
    struct store_service *service;
    hf_peer_request *request;
};

static void answer(void *arg, int32_t code, hf_slice text)
{
    struct arrived arrived = *(struct arrived *)arg;
    uint8_t first = code < 0 && code >= -255 ? (uint8_t)-code : 0;
    hf_buffer bytes;

    free(arg);
    hf_buffer_init(&bytes, HF_PEER_MESSAGE_MAX);
    if (hf_buffer_append(&bytes, &first, 1) == HF_OK && hf_buffer_append(&bytes, text.data, text.size) == HF_OK)
        arrived.service->peers->respond(arrived.request, HF_OK, (hf_slice){bytes.data, bytes.size});
    else
        arrived.service->peers->respond(arrived.request, HF_EBUSY, (hf_slice){NULL, 0});
    hf_buffer_done(&bytes);
}

static void request_arrived(void *arg, uint32_t node, hf_peer_request *request, hf_slice bytes)
{
    struct store_service *service = arg;
    struct store_recover_request read = {0};
    uint64_t actor_size = bytes.size >= HEAD_SIZE ? bytes.data[9] : 0;
    struct arrived *arrived;

    if (!store_hello_trusts(service, node)) {
        service->peers->respond(request, HF_ECLOSED, (hf_slice){NULL, 0});
        return;
    }
    if (bytes.size < HEAD_SIZE + actor_size || actor_size >= sizeof read.actor || bytes.data[0] < STORE_RECOVER_FACTS ||
        bytes.data[0] > STORE_RECOVER_PARTITIONS) {
        service->peers->respond(request, HF_EPROTOCOL, (hf_slice){NULL, 0});
        return;
    }
    arrived = malloc(sizeof *arrived);
    if (!arrived) {
        service->peers->respond(request, HF_EBUSY, (hf_slice){NULL, 0});
        return;
    }
    *arrived = (struct arrived){service, request};
    read.kind = bytes.data[0];
    read.catalog_version = store_read_be(bytes.data + 1, 8);
    memcpy(read.actor, bytes.data + HEAD_SIZE, actor_size);
    read.plan = (hf_slice){bytes.data + HEAD_SIZE + actor_size, bytes.size - HEAD_SIZE - actor_size};
    store_recover_ask_here(service, &read, answer, arrived);
}

int32_t store_recover_open(struct store_service *service, hf_error *error)
{
    static const hf_peer_handlers handlers = {.size = sizeof handlers, .request = request_arrived};

    return service->peers->channel(service->host, "store.recover", &handlers, service, &service->recoveries, error);
}
