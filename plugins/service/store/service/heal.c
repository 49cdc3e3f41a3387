/* Files in the state directory: "needed" has the count, "damaged" the mark, "damaged-N" is what was set aside. */
#include "service/heal.h"

#include "service/identity.h"

#include <holdfast/lib/error.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEEDED_FILE  "needed"
#define MARK_FILE    "damaged"
#define ASIDE_PREFIX "damaged-"

/* ---- What is needed ---------------------------------------------------------------------------------------------- */

static int has_part(const struct store_partition *partition, uint32_t node)
{
    for (uint32_t i = 0; i < partition->member_count; i++)
        if (partition->members[i] == node)
            return 1;
    for (uint32_t i = 0; i < partition->leaving_count; i++)
        if (store_replica_node(partition->leaving[i]) == node)
            return 1;
    return 0;
}

uint64_t store_needed_count(const struct store_routing *routing, const struct store_nodes *nodes)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < routing->partition_count; i++) {
        const struct store_partition *partition = routing->partitions[i].partition;
        uint32_t voters =
            partition->id == STORE_CATALOG_PARTITION ? store_catalog_voters(routing) : partition->member_count;

        count += has_part(partition, nodes->self) && voters < 3; /* of fewer the others are no majority */
    }
    return count;
}

int32_t store_needed_save(const char *directory, uint64_t count, hf_error *error)
{
    char text[STORE_STATE_FILE_MAX];

    snprintf(text, sizeof text, "partitions %" PRIu64 "\n", count);
    return store_state_write(directory, NEEDED_FILE, text, error);
}

static int32_t read_needed(const char *directory, uint64_t *ret_count, hf_error *error)
{
    char text[STORE_STATE_FILE_MAX];
    int32_t result = store_state_read(directory, NEEDED_FILE, text, error);

    if (result == HF_OK && sscanf(text, "partitions %" SCNu64, ret_count) != 1)
        result = HF_ECORRUPT;
    return result;
}

/* ---- The mark ---------------------------------------------------------------------------------------------------- */

int32_t store_heal_mark(const char *directory, const char *why, hf_error *error)
{
    char text[STORE_STATE_FILE_MAX];

    snprintf(text, sizeof text, "%.1000s\n", why);
    return store_state_write(directory, MARK_FILE, text, error);
}

int32_t store_heal_check_mark(const char *directory, hf_error *error)
{
    char text[STORE_STATE_FILE_MAX];
    int32_t result = store_state_read(directory, MARK_FILE, text, error);

    if (result == HF_ENOTFOUND)
        return HF_OK;
    if (result != HF_OK)
        return result;
    text[strcspn(text, "\n")] = '\0';
    return hf_error_set(error, HF_ECORRUPT, "damage was found while the node ran: %.300s", text);
}

/* ---- Setting aside ----------------------------------------------------------------------------------------------- */

static int is_aside(const char *name)
{
    return strncmp(name, ASIDE_PREFIX, sizeof ASIDE_PREFIX - 1) == 0;
}

/* How many folders there are, and the number of the newest. */
static int32_t count_aside(const char *directory, uint64_t *ret_count, uint64_t *ret_newest, hf_error *error)
{
    DIR *folder = opendir(directory);

    *ret_count = *ret_newest = 0;
    if (!folder)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot read the folder '%s'", directory);
    for (const struct dirent *entry; (entry = readdir(folder));) {
        if (!is_aside(entry->d_name))
            continue;
        uint64_t number = strtoull(entry->d_name + sizeof ASIDE_PREFIX - 1, NULL, 10);

        (*ret_count)++;
        *ret_newest = number > *ret_newest ? number : *ret_newest;
    }
    (void)closedir(folder); /* it was only read */
    return HF_OK;
}

int32_t store_heal_allowed(const char *directory, uint32_t node_count, uint64_t most, hf_error *error)
{
    uint64_t needed = 0, count = 0, newest = 0;
    int32_t result = count_aside(directory, &count, &newest, error);

    if (result != HF_OK)
        return result;
    if (node_count < 2)
        return hf_error_set(error, HF_ESTATE, "there is no other node to fetch it from; bring back a copy of '%s'",
                            directory);
    if (count >= most)
        return hf_error_set(error, HF_ESTATE,
                            "damaged data was set aside %" PRIu64 " times already (store.heal_maximum): look at the "
                            "disk, then remove the folders '%s/" ASIDE_PREFIX "...'",
                            count, directory);
    result = read_needed(directory, &needed, NULL);
    if (result != HF_OK)
        return hf_error_set(error, HF_ESTATE,
                            "whether the other nodes have everything is not known; bring back a copy of '%s', or, when "
                            "they have, empty it and run 'holdfast node replace'",
                            directory);
    if (needed)
        return hf_error_set(error, HF_ESTATE,
                            "the other nodes cannot go on without %" PRIu64
                            " replicas that this node has; bring back a "
                            "copy of '%s'",
                            needed, directory);
    return HF_OK;
}

static int sync_folder(int folder)
{
    return fsync(folder) == 0 ? 0 : -errno;
}

/* The mark stays: when the node ends before it has begun anew, the next start goes on. */
static int move_all(int from, int to)
{
    DIR *folder = fdopendir(dup(from));
    int result = folder ? 0 : -errno;

    if (folder)
        rewinddir(folder);
    for (const struct dirent *entry; result == 0 && (entry = readdir(folder));) {
        const char *name = entry->d_name;

        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !is_aside(name) && strcmp(name, MARK_FILE) != 0 &&
            renameat(from, name, to, name) != 0)
            result = -errno;
    }
    if (folder)
        (void)closedir(folder); /* it was only read */
    if (result == 0)
        result = sync_folder(to);
    return result == 0 ? sync_folder(from) : result;
}

int32_t store_heal_set_aside(const char *directory, char *ret_name, hf_error *error)
{
    uint64_t count = 0, newest = 0;
    int32_t result = count_aside(directory, &count, &newest, error);
    int from = -1, to = -1, failure = 0;

    if (result != HF_OK)
        return result;
    snprintf(ret_name, STORE_ASIDE_NAME_SIZE, ASIDE_PREFIX "%" PRIu64, newest + 1);
    from = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (from < 0 || mkdirat(from, ret_name, 0700) != 0 ||
        (to = openat(from, ret_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        failure = errno;
    else
        failure = -move_all(from, to);
    if (to >= 0)
        (void)close(to);
    if (from >= 0)
        (void)close(from);
    return failure ? hf_error_set_errno(error, HF_EIO, failure, "cannot move '%s' to '%s'", directory, ret_name)
                   : HF_OK;
}

int32_t store_heal_unmark(const char *directory, hf_error *error)
{
    int folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), failure = folder < 0 ? errno : 0;

    if (!failure && unlinkat(folder, MARK_FILE, 0) != 0 && errno != ENOENT)
        failure = errno;
    if (!failure)
        failure = -sync_folder(folder);
    if (folder >= 0)
        (void)close(folder);
    return failure ? hf_error_set_errno(error, HF_EIO, failure, "cannot remove the mark of damage in '%s'", directory)
                   : HF_OK;
}
