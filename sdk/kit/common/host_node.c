/* hf.node/1: a node of its own with an empty state directory, random numbers that are always the same, and the
 * capabilities of the plugins that the run was given. */
#include "host_private.h"
#include "options.h"
#include "report.h"

#include <errno.h>
#include <holdfast/lib/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const uint64_t wall_begun_us = UINT64_C(1700000000000000);

static const char *node_name(const hf_host *host)
{
    (void)host;
    return "n1";
}

static const char *cluster_name(const hf_host *host)
{
    (void)host;
    return "kit";
}

static const char *state_directory(const hf_host *host, hf_error *error)
{
    static uint32_t counter;
    struct kit_root *root = kit_root_of(host);

    if (root->state_directory)
        return root->state_directory;
    if (asprintf(&root->state_directory, "%s/state-%u", kit_report ? kit_report->directory : ".", counter++) < 0)
        hf_kit_fail("the kit itself is out of memory");
    if (mkdir(root->state_directory, 0700) != 0) {
        hf_error_set_errno(error, HF_EIO, errno, "cannot make the folder '%s'", root->state_directory);
        free(root->state_directory);
        root->state_directory = NULL;
    }
    return root->state_directory;
}

static uint64_t wall_us(const hf_host *host)
{
    return wall_begun_us + kit_of(host)->now_us;
}

static uint64_t configuration_version(const hf_host *host)
{
    (void)host;
    return 1;
}

static void random_bytes(const hf_host *host, void *bytes, uint64_t size)
{
    hf_kit_host *kit = kit_of(host);
    uint8_t *at = bytes;

    pthread_mutex_lock(&kit->lock);
    while (size--) {
        kit->random = kit->random * 6364136223846793005u + 1442695040888963407u;
        *at++ = (uint8_t)(kit->random >> 56);
    }
    pthread_mutex_unlock(&kit->lock);
}

/* Without a configuration the instance has the defaults. */
static int32_t make_instance(hf_kit_host *kit, const char *kind, const char *name, const void *configuration,
                             const hf_head **ret_interface, void **ret_self, hf_error *error)
{
    hf_kit_subject subject = {
        .kind = kind, .name = name, .with = kit->subject->with, .with_count = kit->subject->with_count};
    char who[140];

    if (!kit_subject_provide(kit->subject, kind, name, &subject.path))
        return hf_error_set(error, HF_ENOTFOUND, "no plugin provides %s/%s; name one with --with FILE.so", kind, name);
    snprintf(who, sizeof who, "%s/%s", kind, name);
    struct kit_root *root = kit_root_create(kit, who);
    hf_kit_capability found = hf_kit_capability_load(&subject);
    root->head = found.head;
    if (!configuration) {
        root->configuration = hf_kit_configuration_create(&subject, found.provide);
        configuration = hf_kit_configuration_get(root->configuration);
    }
    int32_t result = found.interface->create(root->table, configuration, ret_self, error);
    if (result == HF_OK)
        *ret_interface = found.head;
    return result;
}

static int32_t capability(const hf_host *host, const char *kind, const char *name, const hf_head **ret_interface,
                          void **ret_self, hf_error *error)
{
    return make_instance(kit_of(host), kind, name, NULL, ret_interface, ret_self, error);
}

static int32_t capability_chosen(const hf_host *host, const char *kind, const hf_capability_choice *choice,
                                 const hf_head **ret_interface, void **ret_self, hf_error *error)
{
    if (!choice || !choice->name || !choice->name[0])
        return hf_error_set(error, HF_ENOTFOUND, "no capability of kind '%s' was chosen", kind);
    if (!choice->configuration)
        return hf_error_set(error, HF_ENOTFOUND, "no plugin provides %s/%s; name one with --with FILE.so", kind,
                            choice->name);
    return make_instance(kit_of(host), kind, choice->name, choice->configuration, ret_interface, ret_self, error);
}

const hf_node_interface kit_node_interface = {
    .head = HF_HEAD(hf_node_interface),
    .node_name = node_name,
    .cluster_name = cluster_name,
    .state_directory = state_directory,
    .wall_us = wall_us,
    .configuration_version = configuration_version,
    .random = random_bytes,
    .capability = capability,
    .capability_chosen = capability_chosen,
};

void kit_node_forget(struct kit_root *root)
{
    hf_kit_configuration_free(root->configuration);
    free((void *)(uintptr_t)root->head);
    free(root->state_directory);
}
