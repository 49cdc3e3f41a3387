/* State over an exec; see handover.h.  It is JSON in a memfd whose number is in the environment. */
#include "daemon/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <holdfast/lib/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char environment[] = "HOLDFAST_HANDOVER";

enum { STATE_MAXIMUM = 16 << 20 };

int32_t hf_handover_check(const char *version, hf_error *error)
{
    if (strcmp(version, HF_HANDOVER_VERSION) == 0)
        return 0;
    return hf_error_set(error, HF_EVERSION,
                        "this program cannot go on from the running one, whose state has version %s, expected %s; stop "
                        "holdfastd and start it again",
                        version, HF_HANDOVER_VERSION);
}

/* ---- Handing over ------------------------------------------------------------------------------------------------ */

static int32_t write_state(const hf_handover_parts *parts, hf_buffer *text, hf_error *error)
{
    hf_json_writer writer;

    hf_json_writer_init(&writer, text);
    hf_json_begin_object(&writer);
    hf_json_member_text(&writer, "version", HF_HANDOVER_VERSION);
    hf_json_member_text(&writer, "state_directory", parts->state_directory);
    hf_json_member_integer(&writer, "lock", parts->lock_fd);
    hf_json_name(&writer, "children");
    hf_supervisor_save(parts->supervisor, &writer);
    hf_json_end_object(&writer);
    return writer.result ? hf_error_set(error, writer.result, "no memory to hand over what runs") : 0;
}

/* A descriptor that outlives exec, and that has the text. */
static int32_t keep_state(const hf_buffer *text, int32_t *ret_fd, hf_error *error)
{
    int fd = memfd_create("holdfast-handover", 0);

    if (fd < 0 || write(fd, text->data, text->size) != (ssize_t)text->size) {
        int32_t result = hf_error_set_errno(error, HF_EIO, errno, "cannot hand over what runs");
        if (fd >= 0)
            close(fd);
        return result;
    }
    *ret_fd = fd;
    return 0;
}

static int32_t execute(const hf_handover_parts *parts, int32_t state_fd, hf_error *error)
{
    char number[16];

    snprintf(number, sizeof number, "%d", state_fd);
    hf_supervisor_pass(parts->supervisor, 1);
    if (fcntl(parts->lock_fd, F_SETFD, 0) == 0 && setenv(environment, number, 1) == 0)
        execv(parts->program, parts->arguments);
    int32_t result = hf_error_set_errno(error, HF_EIO, errno, "cannot execute '%s'", parts->program);
    unsetenv(environment);
    (void)fcntl(parts->lock_fd, F_SETFD, FD_CLOEXEC); /* it could be cleared */
    hf_supervisor_pass(parts->supervisor, 0);
    return result;
}

int32_t hf_handover_execute(const hf_handover_parts *parts, hf_error *error)
{
    hf_buffer text;
    int32_t fd = -1;

    hf_buffer_init(&text, STATE_MAXIMUM);
    int32_t result = write_state(parts, &text, error);
    if (!result)
        result = keep_state(&text, &fd, error);
    hf_buffer_done(&text);
    if (result)
        return result;
    result = execute(parts, fd, error);
    close(fd);
    return result;
}

/* ---- Taking over ------------------------------------------------------------------------------------------------- */

static int32_t read_state(int fd, hf_buffer *text, hf_error *error)
{
    ssize_t size = 1;

    for (off_t at = 0; size > 0; at += size) {
        int32_t result = hf_buffer_reserve(text, 4096);
        if (result)
            return hf_error_set(error, result, "no memory for what was handed over");
        size = pread(fd, text->data + text->size, 4096, at);
        if (size < 0)
            return hf_error_set_errno(error, HF_EIO, errno, "cannot read what was handed over");
        text->size += (uint64_t)size;
    }
    return 0;
}

static int32_t parse_state(const hf_buffer *text, hf_handover *handover, hf_error *error)
{
    char version[16];
    int32_t result = hf_json_parse((hf_slice){text->data, text->size}, &handover->arena, &handover->state, error);

    if (result)
        return hf_error_prefix(error, "what was handed over");
    hf_slice given = hf_value_get_string(&handover->state, "version", (hf_slice){0});
    snprintf(version, sizeof version, "%.*s", (int)given.size, given.data ? (const char *)given.data : "");
    return hf_handover_check(version, error);
}

int32_t hf_handover_take(hf_handover *ret_handover, hf_error *error)
{
    const char *number = getenv(environment);
    hf_buffer text;

    hf_arena_init(&ret_handover->arena, 4 * (uint64_t)STATE_MAXIMUM);
    ret_handover->state = hf_value_null();
    if (!number)
        return HF_ENOTFOUND;
    int fd = atoi(number);
    unsetenv(environment); /* nobody else's business */
    hf_buffer_init(&text, STATE_MAXIMUM);
    int32_t result = read_state(fd, &text, error);
    if (!result)
        result = parse_state(&text, ret_handover, error);
    hf_buffer_done(&text);
    if (fd > STDERR_FILENO)
        close(fd);
    if (result)
        hf_handover_done(ret_handover);
    return result;
}

void hf_handover_done(hf_handover *handover)
{
    handover->state = hf_value_null();
    hf_arena_done(&handover->arena);
}

int32_t hf_handover_lock(const hf_handover *handover, const char *state_directory)
{
    int64_t fd = hf_value_get_integer(&handover->state, "lock", -1);
    hf_slice locked = hf_value_get_string(&handover->state, "state_directory", (hf_slice){0});

    if (fd <= STDERR_FILENO || fcntl((int)fd, F_SETFD, FD_CLOEXEC) != 0)
        return -1;
    return hf_slice_is(locked, state_directory) ? (int32_t)fd : -1; /* the processes before use the other one still */
}

const hf_value *hf_handover_child_at(const hf_handover *handover, uint64_t index)
{
    const hf_value *children = hf_value_get(&handover->state, "children");

    return children && children->type == HF_VALUE_LIST && index < children->count ? &children->as.items[index] : NULL;
}

const hf_value *hf_handover_child(const hf_handover *handover, const char *name)
{
    const hf_value *child;
    uint64_t i = 0;

    while ((child = hf_handover_child_at(handover, i++)))
        if (hf_slice_is(hf_value_get_string(child, "name", (hf_slice){0}), name))
            return child;
    return NULL;
}
