/* Files: "identity" has this disk's number and its starts, "witness" a line for each other node; see identity.h.  Both
 * are replaced as a whole, so that a crash leaves the old one or the new one. */
#include "service/identity.h"

#include <holdfast/lib/checksum.h>
#include <holdfast/lib/error.h>
#include <holdfast/lib/hash.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_MAX_BYTES = 4400 };

/* ---- Files ------------------------------------------------------------------------------------------------------- */

static int write_all(int file, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t written = write(file, text, size);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return -1;
        text += written;
        size -= (size_t)written;
    }
    return 0;
}

int store_directory_sync(const char *directory)
{
    int folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = folder < 0 ? -1 : fsync(folder);

    if (folder >= 0 && close(folder) != 0)
        result = -1;
    return result;
}

static int32_t replace_file(const char *directory, const char *name, const char *text, size_t size, hf_error *error)
{
    char path[PATH_MAX_BYTES], fresh[PATH_MAX_BYTES];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    snprintf(fresh, sizeof fresh, "%s/%s.new", directory, name);
    int file = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int good = file >= 0 && write_all(file, text, size) == 0 && fsync(file) == 0;
    int failure = errno;

    if (file >= 0 && close(file) != 0 && good) {
        failure = errno;
        good = 0;
    }
    if (good && (rename(fresh, path) != 0 || store_directory_sync(directory) != 0)) {
        failure = errno;
        good = 0;
    }
    return good ? HF_OK : hf_error_set_errno(error, HF_EIO, failure, "cannot write '%s'", path);
}

int32_t store_state_read(const char *directory, const char *name, char text[STORE_STATE_FILE_MAX], hf_error *error)
{
    char path[PATH_MAX_BYTES];
    uint32_t checksum = 0;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    int file = open(path, O_RDONLY | O_CLOEXEC);

    if (file < 0 && errno == ENOENT)
        return HF_ENOTFOUND;
    ssize_t size = file < 0 ? -1 : read(file, text, STORE_STATE_FILE_MAX - 1);
    int failure = errno;

    if (file >= 0)
        (void)close(file); /* it was only read */
    if (size < 0)
        return hf_error_set_errno(error, HF_EIO, failure, "cannot read '%s'", path);
    text[size] = '\0';
    char *last = NULL;

    for (char *at = text; (at = strstr(at, "checksum ")); at++) /* the last one: the text may have the word, too */
        last = at;
    if (!last || sscanf(last, "checksum %8" SCNx32, &checksum) != 1 ||
        hf_crc32c(0, text, (uint64_t)(last - text)) != checksum)
        return hf_error_set(error, HF_ECORRUPT,
                            "'%s' is damaged: it tells what this node must not forget; empty its state directory and "
                            "replace the node (holdfast node replace)",
                            path);
    *last = '\0';
    return HF_OK;
}

int32_t store_state_write(const char *directory, const char *name, char text[STORE_STATE_FILE_MAX], hf_error *error)
{
    size_t size = strlen(text);

    snprintf(text + size, STORE_STATE_FILE_MAX - size, "checksum %08" PRIx32 "\n", hf_crc32c(0, text, size));
    return replace_file(directory, name, text, strlen(text), error);
}

/* ---- This disk --------------------------------------------------------------------------------------------------- */

uint64_t store_cluster_number(const struct store_nodes *nodes, uint32_t first_count)
{
    uint64_t number = first_count;

    for (uint32_t i = 0; i < first_count; i++)
        number = hf_hash64(number, nodes->names[i], strlen(nodes->names[i]));
    return number ? number : 1;
}

/* Members were numbered by their places when the disk was last used; they must still have these. */
static int32_t check_members(char *names, const struct store_nodes *nodes, hf_error *error)
{
    uint32_t place = 0;

    for (char *name; (name = strsep(&names, " ")); place++)
        if (place >= nodes->count || strcmp(name, nodes->names[place]) != 0)
            return hf_error_set(error, HF_EINVAL,
                                "member %u of the cluster was '%s' when this node was last started, and is '%s' now; "
                                "cluster.members may only get longer, at its end (to take a node out: holdfast node "
                                "remove)",
                                place + 1, name, place < nodes->count ? nodes->names[place] : "missing");
    return HF_OK;
}

static int32_t understand(char *text, const struct store_nodes *nodes, struct store_identity *identity,
                          struct store_membership *membership, hf_error *error)
{
    char *members = strstr(text, "members "), *end = members ? strchr(members, '\n') : NULL;

    if (!end || sscanf(text,
                       "disk %16" SCNx64 " starts %" SCNu64 " boot %16" SCNx64 " cluster %16" SCNx64 " replica %" SCNx64
                       " first %" SCNu32 " heals %" SCNd32,
                       &identity->disk, &identity->starts, &identity->boot, &membership->cluster, &membership->replica,
                       &membership->first_count, &membership->heals) != 7)
        return hf_error_set(error, HF_EVERSION,
                            "the file 'identity' in its state directory was written by something "
                            "else, or by another release");
    *end = '\0';
    return check_members(members + strlen("members "), nodes, error);
}

int32_t store_identity_save(const char *directory, const struct store_nodes *nodes,
                            const struct store_identity *identity, const struct store_membership *membership,
                            hf_error *error)
{
    char text[STORE_STATE_FILE_MAX];
    size_t size = (size_t)snprintf(text, sizeof text,
                                   "disk %016" PRIx64 " starts %" PRIu64 " boot %016" PRIx64 "\ncluster %016" PRIx64
                                   " replica %" PRIx64 " first %" PRIu32 " heals %" PRId32 "\nmembers",
                                   identity->disk, identity->starts, identity->boot, membership->cluster,
                                   membership->replica, membership->first_count, membership->heals);

    for (uint32_t i = 0; i < nodes->count && size < sizeof text; i++)
        size += (size_t)snprintf(text + size, sizeof text - size, " %s", nodes->names[i]);
    if (size + sizeof "\nchecksum 01234567\n" > sizeof text)
        return hf_error_set(error, HF_ETOOLARGE, "the names of the members are too long");
    strcat(text, "\n");
    return store_state_write(directory, "identity", text, error);
}

int32_t store_identity_begin(const char *directory, uint64_t random, const struct store_nodes *nodes,
                             struct store_identity *ret_identity, struct store_membership *ret_membership,
                             hf_error *error)
{
    char text[STORE_STATE_FILE_MAX];
    int32_t result = store_state_read(directory, "identity", text, error);

    *ret_identity = (struct store_identity){.disk = random ? random : 1};
    *ret_membership = (struct store_membership){0};
    if (result == HF_OK)
        result = understand(text, nodes, ret_identity, ret_membership, error);
    if (result != HF_OK && result != HF_ENOTFOUND)
        return result;
    ret_identity->starts++;
    ret_identity->previous = ret_identity->boot;
    ret_identity->boot = hf_hash64(ret_identity->starts, &random, sizeof random);
    ret_identity->boot += ret_identity->boot == 0;
    return store_identity_save(directory, nodes, ret_identity, ret_membership, error);
}

/* ---- The others -------------------------------------------------------------------------------------------------- */

static void take_line(struct store_witness *witness, const char *line)
{
    struct store_identity identity = {0};
    char name[256];

    if (sscanf(line, "%255s %16" SCNx64 " %" SCNu64 " %16" SCNx64 " %16" SCNx64, name, &identity.disk, &identity.starts,
               &identity.boot, &identity.position) != 5)
        return;
    for (uint32_t i = 0; i < witness->nodes->count; i++)
        if (strcmp(name, witness->nodes->names[i]) == 0)
            witness->known[i] = identity;
}

int32_t store_witness_open(struct store_witness *witness, const char *directory, const struct store_nodes *nodes,
                           hf_error *error)
{
    char text[STORE_STATE_FILE_MAX], *rest = text;

    *witness = (struct store_witness){.nodes = nodes};
    pthread_mutex_init(&witness->lock, NULL);
    snprintf(witness->path, sizeof witness->path, "%s", directory);
    int32_t result = store_state_read(directory, "witness", text, error);

    if (result == HF_ENOTFOUND)
        return HF_OK;
    for (char *line; result == HF_OK && (line = strsep(&rest, "\n"));)
        take_line(witness, line);
    return result;
}

void store_witness_close(struct store_witness *witness)
{
    pthread_mutex_destroy(&witness->lock);
}

/* Another start of the disk that is known.  The position is only that of the start, so within one start it says
 * nothing. */
static int32_t judge_start(const struct store_identity *known, const struct store_identity *said, uint64_t heard)
{
    uint64_t position = heard > known->position ? heard : known->position;

    if (said->starts < known->starts || (said->starts > known->starts && said->position < position))
        return STORE_IDENTITY_OLDER;
    if ((said->starts == known->starts && said->boot != known->boot) ||
        (said->starts == known->starts + 1 && said->previous != known->boot))
        return STORE_IDENTITY_COPY;
    return STORE_IDENTITY_GOOD;
}

void store_witness_hear(struct store_witness *witness, uint32_t node, uint64_t position)
{
    uint64_t before = atomic_load_explicit(&witness->heard[node], memory_order_relaxed);

    while (before < position && !atomic_compare_exchange_weak(&witness->heard[node], &before, position))
        ;
}

int32_t store_witness_judge(struct store_witness *witness, uint32_t node, const struct store_identity *said,
                            uint64_t replaced, int32_t *ret_news)
{
    struct store_identity *known = &witness->known[node];
    int32_t judgement = STORE_IDENTITY_GOOD;

    *ret_news = 0;
    pthread_mutex_lock(&witness->lock);
    if (known->disk == said->disk)
        judgement = judge_start(known, said, atomic_load(&witness->heard[node]));
    else if (known->disk && said->disk != replaced)
        judgement = STORE_IDENTITY_FOREIGN;
    if (judgement == STORE_IDENTITY_GOOD && (known->disk != said->disk || known->starts != said->starts)) {
        if (known->disk != said->disk)
            atomic_store(&witness->heard[node], 0);
        *known = *said;
        *ret_news = 1;
    }
    pthread_mutex_unlock(&witness->lock);
    return judgement;
}

int32_t store_witness_is_behind(struct store_witness *witness)
{
    int32_t behind = 0;

    pthread_mutex_lock(&witness->lock);
    for (uint32_t i = 0; i < witness->nodes->count; i++)
        behind |= atomic_load(&witness->heard[i]) > witness->known[i].position;
    pthread_mutex_unlock(&witness->lock);
    return behind;
}

int32_t store_witness_save(struct store_witness *witness, hf_error *error)
{
    char text[STORE_STATE_FILE_MAX] = "";
    size_t size = 0;

    pthread_mutex_lock(&witness->lock);
    for (uint32_t i = 0; i < witness->nodes->count && size < STORE_STATE_FILE_MAX - 400; i++) {
        struct store_identity *known = &witness->known[i];
        uint64_t heard = atomic_load(&witness->heard[i]);

        if (heard > known->position)
            known->position = heard;
        if (known->disk)
            size += (size_t)snprintf(
                text + size, sizeof text - size, "%s %016" PRIx64 " %" PRIu64 " %016" PRIx64 " %016" PRIx64 "\n",
                witness->nodes->names[i], known->disk, known->starts, known->boot, known->position);
    }
    int32_t result = store_state_write(witness->path, "witness", text, error);
    pthread_mutex_unlock(&witness->lock);
    return result;
}
