/* Facts and plans as JSON; see plan.h.  Numbers of disks and plans are hexadecimal texts, for they use all 64 bits. */
#include "recover/plan.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/hash.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { HEX_SIZE = 17 };

/* ---- Pieces ------------------------------------------------------------------------------------------------------ */

static void write_hex(hf_json_writer *writer, const char *name, uint64_t number)
{
    char text[HEX_SIZE];

    snprintf(text, sizeof text, "%016" PRIx64, number);
    hf_json_member_text(writer, name, text);
}

/* A reader that remembers whether everything was as it should be. */
struct reader {
    int good;
    hf_arena *arena;
};

static void *take_room(struct reader *reader, uint64_t count, uint64_t size)
{
    void *room = count < STORE_RECOVER_TEXT_MAX ? hf_arena_alloc(reader->arena, (count + 1) * size) : NULL;

    reader->good &= room != NULL;
    return room;
}

static uint64_t read_number(struct reader *reader, const hf_value *map, const char *name)
{
    int64_t number = hf_value_get_integer(map, name, -1);

    reader->good &= number >= 0;
    return number >= 0 ? (uint64_t)number : 0;
}

static uint64_t read_hex(struct reader *reader, const hf_value *map, const char *name)
{
    hf_slice text = hf_value_get_string(map, name, (hf_slice){NULL, 0});
    uint64_t number = 0;

    reader->good &= text.size == HEX_SIZE - 1;
    for (uint64_t i = 0; i < text.size && reader->good; i++) {
        uint8_t c = text.data[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;

        reader->good &= digit >= 0;
        number = number << 4 | (uint64_t)(digit & 15);
    }
    return number;
}

static const hf_value *read_list(struct reader *reader, const hf_value *map, const char *name, uint64_t most)
{
    static const hf_value none = {.type = HF_VALUE_LIST};
    const hf_value *list = hf_value_get(map, name);
    int good = list && list->type == HF_VALUE_LIST && list->count <= most;

    reader->good &= good;
    return good ? list : &none;
}

static uint32_t read_node(struct reader *reader, hf_slice name, const struct store_nodes *nodes)
{
    uint32_t node = store_node_find(nodes, name);

    reader->good &= node != UINT32_MAX;
    return node == UINT32_MAX ? 0 : node;
}

/* ---- Facts ------------------------------------------------------------------------------------------------------- */

static void write_replica(hf_json_writer *writer, const struct store_recover_replica *replica)
{
    hf_json_begin_object(writer);
    hf_json_member_unsigned(writer, "partition", replica->partition);
    hf_json_member_unsigned(writer, "id", replica->id);
    hf_json_member_unsigned(writer, "failed", replica->failed != 0);
    hf_json_member_unsigned(writer, "leads", replica->leads != 0);
    hf_json_member_unsigned(writer, "last_term", replica->last_term);
    hf_json_member_unsigned(writer, "last_index", replica->last_index);
    hf_json_member_unsigned(writer, "commit", replica->commit);
    hf_json_member_unsigned(writer, "transactions", replica->transactions);
    hf_json_name(writer, "members");
    hf_json_begin_list(writer);
    for (uint32_t i = 0; i < replica->member_count; i++) {
        hf_json_begin_object(writer);
        hf_json_member_unsigned(writer, "id", replica->members[i].replica);
        hf_json_member_unsigned(writer, "learner", replica->members[i].learner != 0);
        hf_json_end_object(writer);
    }
    hf_json_end_list(writer);
    hf_json_end_object(writer);
}

int32_t store_recover_write_facts(hf_buffer *text, const struct store_recover_facts *facts)
{
    hf_json_writer writer;

    hf_json_writer_init(&writer, text);
    hf_json_begin_object(&writer);
    write_hex(&writer, "disk", facts->identity.disk);
    hf_json_member_unsigned(&writer, "starts", facts->identity.starts);
    write_hex(&writer, "promised", facts->promised);
    hf_json_member_unsigned(&writer, "heard", facts->heard);
    hf_json_name(&writer, "replicas");
    hf_json_begin_list(&writer);
    for (uint64_t i = 0; i < facts->count; i++)
        write_replica(&writer, &facts->replicas[i]);
    hf_json_end_list(&writer);
    hf_json_end_object(&writer);
    return writer.result;
}

static void read_replica(struct reader *reader, const hf_value *from, struct store_recover_replica *replica)
{
    const hf_value *members = read_list(reader, from, "members", STORE_NODES_MAX);

    replica->partition = read_number(reader, from, "partition");
    replica->id = read_number(reader, from, "id");
    replica->failed = read_number(reader, from, "failed") != 0;
    replica->leads = read_number(reader, from, "leads") != 0;
    replica->last_term = read_number(reader, from, "last_term");
    replica->last_index = read_number(reader, from, "last_index");
    replica->commit = read_number(reader, from, "commit");
    replica->transactions = (uint32_t)read_number(reader, from, "transactions");
    replica->member_count = (uint32_t)members->count;
    for (uint32_t i = 0; i < replica->member_count; i++) {
        replica->members[i].replica = read_number(reader, &members->as.items[i], "id");
        replica->members[i].learner = read_number(reader, &members->as.items[i], "learner") != 0;
    }
}

int32_t store_recover_read_facts(hf_slice text, hf_arena *arena, struct store_recover_facts *ret_facts, hf_error *error)
{
    struct reader reader = {1, arena};
    hf_value document = hf_value_null();
    int32_t result = hf_json_parse(text, arena, &document, error);

    *ret_facts = (struct store_recover_facts){.present = 1};
    if (result == HF_ENOMEM)
        return result;
    const hf_value *list = read_list(&reader, &document, "replicas", UINT32_MAX);

    ret_facts->identity.disk = read_hex(&reader, &document, "disk");
    ret_facts->identity.starts = read_number(&reader, &document, "starts");
    ret_facts->promised = read_hex(&reader, &document, "promised");
    ret_facts->heard = (uint32_t)read_number(&reader, &document, "heard");
    ret_facts->replicas = take_room(&reader, list->count, sizeof *ret_facts->replicas);
    for (uint64_t i = 0; i < list->count && reader.good; i++) {
        read_replica(&reader, &list->as.items[i], &ret_facts->replicas[i]);
        reader.good &= i == 0 || ret_facts->replicas[i - 1].partition < ret_facts->replicas[i].partition;
        ret_facts->count++;
    }
    return reader.good ? HF_OK
                       : hf_error_set(error, HF_EPROTOCOL, "what another node says of itself could not be understood");
}

/* ---- Plans ------------------------------------------------------------------------------------------------------- */

static void write_nodes(hf_json_writer *writer, const char *name, uint32_t set, const struct store_nodes *nodes)
{
    hf_json_name(writer, name);
    hf_json_begin_list(writer);
    for (uint32_t node = 0; node < nodes->count; node++)
        if (set >> node & 1)
            hf_json_text(writer, nodes->names[node]);
    hf_json_end_list(writer);
}

static void write_survivors(hf_json_writer *writer, const struct store_recover_plan *plan,
                            const struct store_nodes *nodes)
{
    hf_json_name(writer, "survivors");
    hf_json_begin_list(writer);
    for (uint32_t node = 0; node < nodes->count; node++) {
        if (!(plan->survivors >> node & 1))
            continue;
        hf_json_begin_object(writer);
        hf_json_member_text(writer, "node", nodes->names[node]);
        write_hex(writer, "disk", plan->identities[node].disk);
        hf_json_member_unsigned(writer, "starts", plan->identities[node].starts);
        write_hex(writer, "promised", plan->promised[node]);
        hf_json_end_object(writer);
    }
    hf_json_end_list(writer);
}

static void write_item(hf_json_writer *writer, const struct store_recover_item *item, const struct store_nodes *nodes,
                       const struct store_routing *routing)
{
    const struct store_routed *routed = routing ? store_routing_partition(routing, item->partition) : NULL;

    hf_json_begin_object(writer);
    hf_json_member_unsigned(writer, "partition", item->partition);
    if (routed)
        hf_json_member_text(writer, "table", routed->table->declaration.name);
    if (routed && routed->partition->value[0])
        hf_json_member_text(writer, "value", routed->partition->value);
    hf_json_member_text(writer, "node", nodes->names[item->node]);
    hf_json_member_unsigned(writer, "replica", item->replica);
    hf_json_member_unsigned(writer, "last_term", item->last_term);
    hf_json_member_unsigned(writer, "last_index", item->last_index);
    hf_json_member_unsigned(writer, "commit", item->commit);
    hf_json_member_unsigned(writer, "transactions", item->transactions);
    hf_json_member_unsigned(writer, "voters", item->voters);
    hf_json_member_unsigned(writer, "left", item->left);
    hf_json_name(writer, "others");
    hf_json_begin_list(writer);
    for (uint32_t i = 0; i < item->other_count; i++) {
        hf_json_begin_object(writer);
        hf_json_member_text(writer, "node", nodes->names[store_replica_node(item->others[i].id)]);
        hf_json_member_unsigned(writer, "replica", item->others[i].id);
        hf_json_member_unsigned(writer, "last_term", item->others[i].last_term);
        hf_json_member_unsigned(writer, "last_index", item->others[i].last_index);
        hf_json_end_object(writer);
    }
    hf_json_end_list(writer);
    hf_json_end_object(writer);
}

int32_t store_recover_write_plan(hf_buffer *text, const struct store_recover_plan *plan,
                                 const struct store_nodes *nodes, const struct store_routing *routing)
{
    hf_json_writer writer;

    hf_json_writer_init(&writer, text);
    hf_json_begin_object(&writer);
    write_hex(&writer, "plan", plan->id);
    write_nodes(&writer, "dead", plan->dead, nodes);
    write_survivors(&writer, plan, nodes);
    hf_json_name(&writer, "partitions");
    hf_json_begin_list(&writer);
    for (uint64_t i = 0; i < plan->count; i++)
        write_item(&writer, &plan->items[i], nodes, routing);
    hf_json_end_list(&writer);
    hf_json_end_object(&writer);
    return writer.result;
}

static void read_survivors(struct reader *reader, const hf_value *document, const struct store_nodes *nodes,
                           struct store_recover_plan *plan)
{
    const hf_value *list = read_list(reader, document, "survivors", STORE_NODES_MAX);

    for (uint64_t i = 0; i < list->count; i++) {
        const hf_value *survivor = &list->as.items[i];
        uint32_t node = read_node(reader, hf_value_get_string(survivor, "node", (hf_slice){NULL, 0}), nodes);

        plan->survivors |= 1u << node;
        plan->identities[node].disk = read_hex(reader, survivor, "disk");
        plan->identities[node].starts = read_number(reader, survivor, "starts");
        plan->promised[node] = read_hex(reader, survivor, "promised");
    }
}

static void read_others(struct reader *reader, const hf_value *from, const struct store_nodes *nodes,
                        struct store_recover_item *item)
{
    const hf_value *others = read_list(reader, from, "others", STORE_NODES_MAX - 1);

    item->other_count = (uint32_t)others->count;
    for (uint32_t i = 0; i < item->other_count; i++) {
        item->others[i].id = read_number(reader, &others->as.items[i], "replica");
        item->others[i].last_term = read_number(reader, &others->as.items[i], "last_term");
        item->others[i].last_index = read_number(reader, &others->as.items[i], "last_index");
        reader->good &= store_replica_node(item->others[i].id) < nodes->count;
    }
}

static void read_item(struct reader *reader, const hf_value *from, const struct store_nodes *nodes,
                      struct store_recover_item *item)
{
    item->partition = read_number(reader, from, "partition");
    item->node = read_node(reader, hf_value_get_string(from, "node", (hf_slice){NULL, 0}), nodes);
    item->replica = read_number(reader, from, "replica");
    item->last_term = read_number(reader, from, "last_term");
    item->last_index = read_number(reader, from, "last_index");
    item->commit = read_number(reader, from, "commit");
    item->transactions = (uint32_t)read_number(reader, from, "transactions");
    item->voters = (uint32_t)read_number(reader, from, "voters");
    item->left = (uint32_t)read_number(reader, from, "left");
    reader->good &= !item->replica || store_replica_node(item->replica) == item->node;
    read_others(reader, from, nodes, item);
}

int32_t store_recover_seal(struct store_recover_plan *plan, const struct store_nodes *nodes, hf_error *error)
{
    hf_buffer text;

    plan->id = 0;
    hf_buffer_init(&text, STORE_RECOVER_TEXT_MAX);
    int32_t result = store_recover_write_plan(&text, plan, nodes, NULL);

    if (result == HF_OK) {
        plan->id = hf_hash64(0, text.data, text.size);
        plan->id += plan->id == 0;
    } else {
        hf_error_set(error, result, "the plan is too large, or there is no memory for it");
    }
    hf_buffer_done(&text);
    return result;
}

/* A plan that was changed on its way is none that anybody has been shown. */
static int32_t check_seal(const struct store_recover_plan *plan, const struct store_nodes *nodes, hf_error *error)
{
    struct store_recover_plan same = *plan;
    int32_t result = store_recover_seal(&same, nodes, error);

    if (result == HF_OK && same.id != plan->id)
        result = hf_error_set(error, HF_EINVAL, "the plan's content is not what its id is of");
    return result;
}

int32_t store_recover_read_plan(const hf_value *document, const struct store_nodes *nodes, hf_arena *arena,
                                struct store_recover_plan *ret_plan, hf_error *error)
{
    struct reader reader = {1, arena};
    const hf_value *dead = read_list(&reader, document, "dead", STORE_NODES_MAX),
                   *list = read_list(&reader, document, "partitions", UINT32_MAX);

    *ret_plan = (struct store_recover_plan){.id = read_hex(&reader, document, "plan")};
    for (uint64_t i = 0; i < dead->count; i++)
        ret_plan->dead |= 1u << read_node(&reader, hf_value_slice(&dead->as.items[i]), nodes);
    read_survivors(&reader, document, nodes, ret_plan);
    ret_plan->items = take_room(&reader, list->count, sizeof *ret_plan->items);
    for (uint64_t i = 0; i < list->count && reader.good; i++)
        read_item(&reader, &list->as.items[i], nodes, &ret_plan->items[ret_plan->count++]);
    if (!reader.good || !ret_plan->dead || ret_plan->dead & ret_plan->survivors)
        return hf_error_set(error, HF_EINVAL, "this is not a plan, or not one of this cluster");
    return check_seal(ret_plan, nodes, error);
}
