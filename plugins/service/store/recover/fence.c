/* Files: "recovery" has the plan that this node is bound to and a line for each dead disk; "lost" is there when this
 * node was called dead.  See fence.h. */
#include "recover/fence.h"

#include <holdfast/lib/error.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void take_line(struct store_fence *fence, const char *line)
{
    char name[256];
    uint64_t disk;

    if (sscanf(line, "dead %255s %16" SCNx64, name, &disk) != 2)
        return;
    for (uint32_t i = 0; i < fence->nodes->count; i++)
        if (strcmp(name, fence->nodes->names[i]) == 0) {
            fence->dead |= 1u << i;
            fence->disks[i] = disk;
        }
}

static int32_t read_promise(struct store_fence *fence, hf_error *error)
{
    char text[STORE_STATE_FILE_MAX], *rest = text;
    int32_t result = store_state_read(fence->directory, "recovery", text, error);

    if (result != HF_OK)
        return result == HF_ENOTFOUND ? HF_OK : result;
    if (sscanf(text, "plan %16" SCNx64, &fence->plan) != 1)
        return hf_error_set(error, HF_ECORRUPT,
                            "the file 'recovery' in its state directory was written by something else");
    for (char *line; (line = strsep(&rest, "\n"));)
        take_line(fence, line);
    return HF_OK;
}

static int32_t read_loss(struct store_fence *fence, hf_error *error)
{
    char text[STORE_STATE_FILE_MAX];
    int32_t result = store_state_read(fence->directory, "lost", text, error);

    if (result != HF_OK)
        return result == HF_ENOTFOUND ? HF_OK : result;
    if (sscanf(text, "told by %255s", fence->lost_to) != 1)
        return hf_error_set(error, HF_ECORRUPT, "the file 'lost' in its state directory was written by something else");
    return HF_OK;
}

int32_t store_fence_open(struct store_fence *fence, const char *directory, const struct store_nodes *nodes,
                         hf_error *error)
{
    *fence = (struct store_fence){.nodes = nodes};
    pthread_mutex_init(&fence->lock, NULL);
    snprintf(fence->directory, sizeof fence->directory, "%s", directory);
    int32_t result = read_promise(fence, error);

    return result == HF_OK ? read_loss(fence, error) : result;
}

void store_fence_close(struct store_fence *fence)
{
    pthread_mutex_destroy(&fence->lock);
}

uint64_t store_fence_plan(struct store_fence *fence)
{
    pthread_mutex_lock(&fence->lock);
    uint64_t plan = fence->plan;
    pthread_mutex_unlock(&fence->lock);
    return plan;
}

static int32_t save(const struct store_fence *fence, hf_error *error)
{
    char text[STORE_STATE_FILE_MAX];
    size_t size = (size_t)snprintf(text, sizeof text, "plan %016" PRIx64 "\n", fence->plan);

    for (uint32_t i = 0; i < fence->nodes->count && size < sizeof text - 400; i++)
        if (fence->dead >> i & 1)
            size += (size_t)snprintf(text + size, sizeof text - size, "dead %s %016" PRIx64 "\n",
                                     fence->nodes->names[i], fence->disks[i]);
    return store_state_write(fence->directory, "recovery", text, error);
}

int32_t store_fence_promise(struct store_fence *fence, uint64_t before, uint64_t plan, uint32_t dead,
                            const uint64_t disks[STORE_NODES_MAX], hf_error *error)
{
    int32_t result = HF_OK;

    pthread_mutex_lock(&fence->lock);
    struct store_fence was = *fence;

    if (fence->plan != before && fence->plan != plan)
        result =
            hf_error_set(error, HF_ECONFLICT, "this node has taken part in plan %016" PRIx64 " since", fence->plan);
    if (result == HF_OK) {
        fence->plan = plan;
        fence->dead |= dead;
        for (uint32_t i = 0; i < STORE_NODES_MAX; i++)
            if (dead >> i & 1)
                fence->disks[i] = disks[i];
        result = save(fence, error);
    }
    if (result != HF_OK) {
        fence->plan = was.plan;
        fence->dead = was.dead;
        memcpy(fence->disks, was.disks, sizeof fence->disks);
    }
    pthread_mutex_unlock(&fence->lock);
    return result;
}

int32_t store_fence_keeps_out(struct store_fence *fence, uint32_t node, uint64_t disk, uint64_t allowed)
{
    pthread_mutex_lock(&fence->lock);
    int32_t out = fence->dead >> node & 1 && (disk != allowed || disk == fence->disks[node]);
    pthread_mutex_unlock(&fence->lock);
    return out;
}

int32_t store_fence_leave(struct store_fence *fence, const char *told_by, hf_error *error)
{
    char text[STORE_STATE_FILE_MAX];

    pthread_mutex_lock(&fence->lock);
    snprintf(fence->lost_to, sizeof fence->lost_to, "%s", told_by);
    snprintf(text, sizeof text, "told by %s\n", told_by);
    int32_t result = store_state_write(fence->directory, "lost", text, error);
    pthread_mutex_unlock(&fence->lock);
    return result;
}
