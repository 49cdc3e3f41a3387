/* table.h: what a table is, how it is divided into partitions, and where they are.  Pure; [any].
 *
 * A table's partitions are its `partition_by` field's declared values times `hash_ranges` ranges of the key's hash. The
 * catalog's record "tables/NAME" is the table as JSON with its partitions and their first nodes; "placements/ID" says
 * where a partition that has moved is; "reshapes/ID" that a partition is being split or merged; "nodes/NAME" is what
 * the cluster knows of a node; "meta" has the next partition's number. */
#ifndef STORE_TABLE_H
#define STORE_TABLE_H

#include "table/fields.h"

#include <holdfast/lib/arena.h>
#include <holdfast/lib/buffer.h>
#include <holdfast/lib/json.h>

#include <stdatomic.h>

enum {
    STORE_TABLE_NAME_MAX = 63,     /* bytes: a lower-case letter, then letters, digits, '_' and '-' */
    STORE_TABLE_VALUES_MAX = 1024, /* of partition_by */
    STORE_TABLE_HASH_RANGES_MAX = 1024,
    STORE_TABLE_PARTITIONS_MAX = 4096, /* values times hash ranges, and what splits make */
    STORE_TABLE_RETIRED_MAX = 4096,    /* kept in mind; the oldest are forgotten */
    STORE_TABLE_TEXT_MAX = 255,        /* bytes: of partition_by and of each of its values; no control characters */
    STORE_TABLE_VALUE_MAXIMUM_MIN = 1 << 10,
    STORE_TABLE_VALUE_MAXIMUM_MAX = 16 << 20,
    STORE_TABLE_KEEP_SECONDS_MAX = 3650 * 86400,
    STORE_TABLE_RECORD_MAX = STORE_TABLE_VALUE_MAXIMUM_MAX, /* bytes of a table's record in the catalog */
    STORE_NODES_MAX = 31,
    STORE_GENERATION_MAX = 1 << 30,
    STORE_RESHAPING_MAX = 64,   /* at a time, that are looked after */
    STORE_CATALOG_PARTITION = 1 /* the catalog's own partition; other tables' count from 2 */
};

#define STORE_CATALOG_TABLE "_catalog"

enum { STORE_FORMAT_JSON = 0, STORE_FORMAT_BYTES = 1 };

/* What a user declares. */
struct store_declaration {
    const char *name;
    const char *partition_by;   /* field of the JSON value; "": the table is not divided by a field */
    uint32_t value_count;       /* of partition_by; 0 without it */
    const char *const *values;  /* in the user's order */
    uint32_t hash_ranges;       /* 1..STORE_TABLE_HASH_RANGES_MAX */
    uint32_t replicas;          /* 1..STORE_NODES_MAX; as many as there are nodes when those are fewer */
    int32_t format;             /* STORE_FORMAT_...; partition_by needs JSON */
    uint64_t value_maximum;     /* bytes, 1 KiB..16 MiB */
    uint64_t keep_changes_us;   /* age at which changes may be forgotten; whole seconds, 1 s..10 years */
    uint64_t keep_repeats_us;   /* age at which idempotency keys may be forgotten; likewise */
    uint64_t expire_after_us;   /* how long a record stays when its write does not say; whole seconds, 0: for ever */
    struct store_fields fields; /* of the JSON values */
};

struct store_partition {
    uint64_t id;
    const char *value;  /* "" when the table is not divided by a field */
    uint64_t hash_from; /* of the key: from <= hash <= to */
    uint64_t hash_to;
    uint32_t member_count;
    uint32_t members[STORE_NODES_MAX];  /* nodes by their place in the cluster's list; the first one leads, if it can */
    uint64_t replicas[STORE_NODES_MAX]; /* ids of their replicas */
    /* What moves: replicas that are to be given up, once the members have everything; and a member that is only added,
     * until it votes. */
    uint32_t leaving_count;
    uint64_t leaving[STORE_NODES_MAX];
    uint64_t placement_version; /* of the catalog's record; 0: there is none, it is where it began */
    uint32_t first_count;       /* replicas that the group began with */
    uint64_t first[STORE_NODES_MAX];
    uint64_t parent;         /* partition that it was split off; 0: it was made with its table */
    uint64_t parent_epoch;   /* of the parent with that split */
    uint64_t parent_version; /* of the parent at that split; its own changes are newer */
    int32_t is_reshaping;    /* 1: it is being split or merged, and moves only off nodes that take no part any more */
};

/* Whether one of the members is that node's. */
static inline int store_partition_has_node(const struct store_partition *partition, uint32_t node)
{
    for (uint32_t i = 0; i < partition->member_count; i++)
        if (partition->members[i] == node)
            return 1;
    return 0;
}

/* Whether one of the members is that replica. */
static inline int store_partition_has_replica(const struct store_partition *partition, uint64_t replica)
{
    for (uint32_t i = 0; i < partition->member_count; i++)
        if (partition->replicas[i] == replica)
            return 1;
    return 0;
}

/* A partition that was merged into its lower neighbour.  Its change feed stays for as long as changes are kept; what is
 * known of it stays for ever, for readers that still name it. */
struct store_retired {
    struct store_partition partition;
    uint64_t heir;    /* the partition that has its records */
    uint64_t version; /* its last one */
    uint64_t time_us; /* of the merge, since 1970 */
    int32_t is_gone;  /* 1: it has no replicas any more */
};

/* A split or merge under way. */
struct store_reshaping {
    uint64_t partition; /* that is split, or the lower neighbour */
    uint64_t other;     /* that is to come, or the upper neighbour */
    uint64_t from;      /* a split's first hash of the other */
    int32_t merges;     /* 1: a merge */
    uint64_t version;   /* of the catalog's record */
};

/* A replica's id is unique within its group for ever: a node that lost its disk takes part again under the next
 * generation. */
static inline uint64_t store_replica_id(uint32_t node, uint64_t generation)
{
    return generation << 16 | (node + 1);
}
static inline uint32_t store_replica_node(uint64_t replica)
{
    return (uint32_t)(replica & 0xffff) - 1;
}
static inline uint64_t store_replica_generation(uint64_t replica)
{
    return replica >> 16;
}

enum {
    STORE_NODE_NEW = 0, /* in the configuration, and not added yet */
    STORE_NODE_ACTIVE,
    STORE_NODE_DRAINING, /* its replicas move away */
    STORE_NODE_REMOVED,
    STORE_NODE_LOST /* an operator called it lost for good: its disk stays out, another one can replace it */
};

/* What the catalog knows of a node. */
struct store_node_record {
    int32_t state;       /* STORE_NODE_... */
    uint64_t generation; /* of its replica of the catalog; the next one when its disk was replaced */
    uint64_t disk;       /* identity of its disk; 0: not known yet */
    uint64_t version;    /* of the catalog's record; 0: there is none */
};

struct store_table {
    struct store_declaration declaration;
    uint32_t partition_count;
    struct store_partition *partitions; /* by value (in the order of its bytes), then hash_from */
    uint32_t retired_count;
    struct store_retired *retired;
    uint64_t version; /* of the catalog's record; 0: not known */
};

/* Everything that a node knows of the tables.  Immutable. */
struct store_routing {
    _Atomic uint32_t references;
    hf_arena arena;
    uint64_t catalog_index;   /* of the catalog's log, that it was built from */
    uint64_t catalog_version; /* the newest of its versions then; set by whoever builds */
    uint32_t table_count;
    const struct store_table **tables; /* by name; the catalog's own table is among them */
    uint32_t partition_count;
    struct store_routed {
        const struct store_table *table;
        const struct store_partition *partition;
    } * partitions; /* by id; those that were merged into others are among them until they are gone */
    uint32_t reshaping_count;
    struct store_reshaping *reshaping;
    struct store_node_record nodes[STORE_NODES_MAX];
    uint32_t node_records; /* in the catalog; 0: the cluster has just begun */
};

/* The names of the cluster's nodes, by place. */
struct store_nodes {
    uint32_t count;
    uint32_t self;
    const char *names[STORE_NODES_MAX];
    const char *zones[STORE_NODES_MAX];    /* what fails together; NULL or "": not said */
    uint32_t closed;                       /* bit per node: takes no new replicas */
    uint64_t generations[STORE_NODES_MAX]; /* of replicas that begin a group: older ones are void */
};

/* 1 when the two are said to be in the same zone. */
int store_same_zone(const struct store_nodes *nodes, uint32_t a, uint32_t b);

/* The hash that decides about the range: hf_hash64 with seed 0. */
uint64_t store_key_hash(hf_slice key);

/* HF_EINVAL with what is wrong: name, a value given twice, limits, partition_by without JSON ... */
int32_t store_declaration_check(const struct store_declaration *declaration, hf_error *error);

/* Reads the body of PUT /v1/tables/T (docs/http.md): the declaration and its strings in the arena; what is left out has
 * its default (hash_ranges 1, replicas 3, format json, value_maximum 1 MiB, changes kept 7 days, repeats 1 day;
 * no expiry, no fields; keep_changes, keep_idempotency_keys and expire_after are in seconds).  Unknown members are
 * refused.  Checked.  HF_EINVAL, HF_ENOMEM. */
int32_t store_declaration_parse(const char *name, const hf_value *body, hf_arena *arena,
                                struct store_declaration *ret_declaration, hf_error *error);

/* 1 when both declare the same; the order of the values does not matter.  Both have been checked. */
int32_t store_declaration_same(const struct store_declaration *a, const struct store_declaration *b);

/* Appends the declaration as the members of a JSON object (the same names as in the body above, so without the table's
 * name), into an object that the caller has begun. */
void store_declaration_write(hf_json_writer *writer, const struct store_declaration *declaration);

/* A copy with everything in the arena.  HF_ENOMEM. */
int32_t store_declaration_copy(const struct store_declaration *from, hf_arena *arena,
                               struct store_declaration *ret_declaration, hf_error *error);

/* Divides a new table: partitions numbered from `first_partition`, each with `replicas` members in different zones, as
 * far as there are; first members (who lead at first) are spread evenly over the nodes.  Everything lies in the arena.
 * HF_EINVAL (the declaration, no nodes, numbers that begin below 2 or end above 2^63 - 1), HF_ENOMEM. */
int32_t store_table_plan(const struct store_declaration *declaration, const struct store_nodes *nodes,
                         uint64_t first_partition, hf_arena *arena, struct store_table *ret_table, hf_error *error);

/* The table as the catalog's record, and back; nodes by name.  Parsing checks everything (ranges without gap or
 * overlap, known nodes, ids not 0) and says HF_ECORRUPT, or HF_EVERSION: written by a newer release.  Errors also
 * HF_ENOMEM, HF_ETOOLARGE (a record over STORE_TABLE_RECORD_MAX, or the buffer's maximum; the buffer is then as it
 * was), HF_EINVAL (a member that is no node). */
int32_t store_table_write(hf_buffer *buffer, const struct store_table *table, const struct store_nodes *nodes,
                          hf_error *error);
int32_t store_table_parse(hf_slice json, const struct store_nodes *nodes, hf_arena *arena,
                          struct store_table *ret_table, hf_error *error);

/* The partition of a key; NULL when the value is not one of the table's.  A table that is not divided by a field
 * ignores `value`. */
const struct store_partition *store_table_find(const struct store_table *table, hf_slice value, hf_slice key);

/* Of a table with the value unknown: the n-th partition, from 0, that could hold the key, or NULL behind the last. */
const struct store_partition *store_table_candidate(const struct store_table *table, hf_slice key, uint32_t n);

/* Gives a record of one kind after the other until it returns HF_ENOTFOUND; any other error ends the building.  A
 * record need only be valid until the next call. */
enum {
    STORE_RECORDS_OF_NODES = 0,
    STORE_RECORDS_OF_TABLES,
    STORE_RECORDS_OF_PLACEMENTS,
    STORE_RECORDS_OF_RESHAPES,
    STORE_RECORD_KINDS
};
typedef int32_t (*store_next_record)(void *arg, int32_t kind, hf_slice *ret_json, uint64_t *ret_version,
                                     hf_error *error);

/* A routing with one reference: the catalog's table (partition 1; format JSON) and what the records say.  Without any
 * record of a node all are active.  Errors as store_table_parse; HF_ECORRUPT also for a name or an id that is there
 * twice. */
int32_t store_routing_build(const struct store_nodes *nodes, uint64_t catalog_index, store_next_record next, void *arg,
                            struct store_routing **ret_routing, hf_error *error);

/* A partition's placement, and a node's record, as the catalog's; and back.  Errors as for tables; a placement of a
 * partition that is not there is ignored, as is the record of a node that is not in the configuration. */
int32_t store_placement_write(hf_buffer *buffer, const struct store_partition *partition,
                              const struct store_nodes *nodes);
int32_t store_placement_apply(hf_slice json, uint64_t version, const struct store_routing *routing,
                              const struct store_nodes *nodes, hf_error *error);
int32_t store_node_write(hf_buffer *buffer, const char *name, const struct store_node_record *record);
int32_t store_node_apply(hf_slice json, uint64_t version, struct store_routing *routing,
                         const struct store_nodes *nodes, hf_error *error);

/* A split or merge as the catalog's record.  Reading marks the partitions in a routing that is being built.  Errors as
 * for placements. */
int32_t store_reshaping_write(hf_buffer *buffer, const struct store_reshaping *reshaping);
int32_t store_reshaping_read(hf_slice json, uint64_t version, struct store_reshaping *ret_reshaping, hf_error *error);
const struct store_reshaping *store_routing_reshaping(const struct store_routing *routing, uint64_t partition);

/* The table as it is after a split or a merge, in the arena, which must outlive it as must the table's own.  `child` of
 * a split has id, members, parent's epoch and version; HF_EINVAL: the hash is not within the partition.  HF_ENOTFOUND:
 * there is no such partition, or no such neighbour.  HF_ENOMEM, HF_ETOOLARGE: too many partitions. */
int32_t store_table_split(const struct store_table *table, uint64_t partition, uint64_t from,
                          const struct store_partition *child, hf_arena *arena, struct store_table *ret_table);
int32_t store_table_merge(const struct store_table *table, uint64_t partition, uint64_t upper, uint64_t version,
                          uint64_t time_us, hf_arena *arena, struct store_table *ret_table);

/* The partition's upper neighbour, of the same value; NULL: there is none. */
const struct store_partition *store_table_neighbour(const struct store_table *table, uint64_t partition);
const struct store_retired *store_table_retired(const struct store_table *table, uint64_t partition);

/* The first version of a merged partition that is in no other feed; 0: its first one.  What was split off has its
 * parent's changes until then, too; when the heir is that parent, or came before it, its feed tells of those for all
 * keys again. */
uint64_t store_table_feed_begin(const struct store_table *table, const struct store_retired *retired);

/* "new", "active", "draining", "removed" or "lost". */
const char *store_node_state_name(int32_t state);
/* The node's place; UINT32_MAX: there is none of that name. */
uint32_t store_node_find(const struct store_nodes *nodes, hf_slice name);

/* The catalog's members: every node that takes part, those that are to stay first. */
void store_catalog_members(const struct store_routing *routing, const struct store_nodes *nodes,
                           struct store_partition *partition);

/* How many of them vote, the first: an odd number of those that are to stay, where there are enough; a node more would
 * only add to what can be missing. */
uint32_t store_catalog_voters(const struct store_routing *routing);

struct store_routing *store_routing_hold(struct store_routing *routing);
void store_routing_release(struct store_routing *routing); /* accepts NULL */

const struct store_table *store_routing_table(const struct store_routing *routing, hf_slice name);
const struct store_routed *store_routing_partition(const struct store_routing *routing, uint64_t id);

#endif
