/* The kinds that this host knows.  A table is data of another build: it is read only as far as its own size says. */
#include "kinds.h"

#include <holdfast/kind/balancer.h>
#include <holdfast/kind/detector.h>
#include <holdfast/kind/engine.h>
#include <holdfast/kind/replication.h>
#include <holdfast/kind/service.h>
#include <holdfast/lib/error.h>
#include <stdlib.h>
#include <string.h>

#define FUNCTION(table, name)                                                                                          \
    {                                                                                                                  \
#name, offsetof(table, name)                                                                                   \
    }
#define KIND(name, table, required)                                                                                    \
    {                                                                                                                  \
        name, sizeof(table), required, sizeof(required) / sizeof((required)[0])                                        \
    }

static const hf_kind_function instance_functions[] = {
    FUNCTION(hf_instance_interface, create),
    FUNCTION(hf_instance_interface, destroy),
};

static const hf_kind_function detector_functions[] = {
    FUNCTION(hf_detector, start),
    FUNCTION(hf_detector, stop),
};

static const hf_kind_function balancer_functions[] = {
    FUNCTION(hf_balancer, pool_open),
    FUNCTION(hf_balancer, pool_close),
    FUNCTION(hf_balancer, pick),
};

static const hf_kind_function engine_functions[] = {
    FUNCTION(hf_engine, open),          FUNCTION(hf_engine, close),        FUNCTION(hf_engine, write),
    FUNCTION(hf_engine, get),           FUNCTION(hf_engine, release),      FUNCTION(hf_engine, scan),
    FUNCTION(hf_engine, flush),         FUNCTION(hf_engine, export_open),  FUNCTION(hf_engine, export_read),
    FUNCTION(hf_engine, export_close),  FUNCTION(hf_engine, import_open),  FUNCTION(hf_engine, import_write),
    FUNCTION(hf_engine, import_commit), FUNCTION(hf_engine, import_close), FUNCTION(hf_engine, space_size),
};

/* The driver calls all of them without looking: none may be missing. */
static const hf_kind_function replication_functions[] = {
    FUNCTION(hf_replication, group_open),
    FUNCTION(hf_replication, group_close),
    FUNCTION(hf_replication, tick),
    FUNCTION(hf_replication, propose),
    FUNCTION(hf_replication, receive),
    FUNCTION(hf_replication, persisted),
    FUNCTION(hf_replication, applied),
    FUNCTION(hf_replication, read_request),
    FUNCTION(hf_replication, progress),
    FUNCTION(hf_replication, unreachable),
    FUNCTION(hf_replication, snapshot_sent),
    FUNCTION(hf_replication, snapshot_installed),
    FUNCTION(hf_replication, compacted),
    FUNCTION(hf_replication, transfer),
    FUNCTION(hf_replication, campaign),
    FUNCTION(hf_replication, term_at),
    FUNCTION(hf_replication, take),
    FUNCTION(hf_replication, status),
    FUNCTION(hf_replication, propose_membership),
};

static const hf_kind kinds[] = {
    KIND("engine", hf_engine, engine_functions),       KIND("replication", hf_replication, replication_functions),
    {"service", sizeof(hf_service), NULL, 0},          KIND("detector", hf_detector, detector_functions),
    KIND("balancer", hf_balancer, balancer_functions),
};

const hf_kind *hf_kind_find(const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

static const char *missing_function(const hf_head *table, const hf_kind_function *functions, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        void (*function)(void);
        memcpy(&function, (const char *)table + functions[i].offset, sizeof function);
        if (!function)
            return functions[i].name;
    }
    return NULL;
}

static const char *missing_anywhere(const hf_kind *kind, const hf_head *table)
{
    const char *name =
        missing_function(table, instance_functions, sizeof instance_functions / sizeof instance_functions[0]);

    return name ? name : missing_function(table, kind->required, kind->required_count);
}

int32_t hf_kind_adopt(const hf_kind *kind, const hf_head *table, const char *who, hf_head **ret_table, hf_error *error)
{
    if (!table || table->size < sizeof *table)
        return hf_error_set(error, HF_EINVAL, "%s has no function table for kind '%s'", who, kind->name);
    if (table->major != HF_INTERFACE_MAJOR)
        return hf_error_set(error, HF_EVERSION,
                            "%s was built against interface %u.%u, this host has %d.%d; install a build for it", who,
                            table->major, table->minor, HF_INTERFACE_MAJOR, HF_INTERFACE_MINOR);

    hf_head *copy = calloc(1, kind->table_size);
    if (!copy)
        return hf_error_set(error, HF_ENOMEM, "no memory for the functions of %s", who);
    memcpy(copy, table, table->size < kind->table_size ? table->size : kind->table_size);

    const char *missing = missing_anywhere(kind, copy);
    if (missing) {
        free(copy);
        return hf_error_set(error, HF_EINVAL, "%s lacks the function '%s', which every %s must have", who, missing,
                            kind->name);
    }
    *ret_table = copy;
    return 0;
}
