/* The file that outlives the process, and the audit log: written in the pool, one after the other. */
#include "release/desk.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_MAX_SIZE = 1 << 20, AGAIN_US = 1000000 };

/* ---- In the pool ------------------------------------------------------------------------------------------------- */

static int write_all(int file, hf_slice text)
{
    while (text.size > 0) {
        ssize_t written = write(file, text.data, text.size);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -1;
        text.data += written;
        text.size -= (uint64_t)written;
    }
    return 0;
}

static int sync_folder(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int length = slash ? (int)(slash - path) : 0;

    snprintf(folder, sizeof folder, "%.*s", length, path);
    int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int code = file < 0 ? -1 : fsync(file);
    if (file >= 0)
        (void)close(file);
    return code;
}

/* A crash leaves the old text or the new one. */
static int32_t replace_file(const char *path, hf_slice text, hf_error *error)
{
    char fresh[PATH_MAX];

    snprintf(fresh, sizeof fresh, "%s.new", path);
    int file = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int good = file >= 0 && write_all(file, text) == 0 && fsync(file) == 0, failure = errno;

    if (file >= 0)
        (void)close(file); /* what could fail was flushed before */
    if (good && (rename(fresh, path) != 0 || sync_folder(path) != 0)) {
        failure = errno;
        good = 0;
    }
    return good ? HF_OK
                : hf_error_set_errno(error, HF_EIO, failure, "the releases cannot be kept: '%s' cannot be written",
                                     path);
}

static void write_note(const struct gateway_writing *writing, const struct gateway_note *note)
{
    const hf_value_member members[] = {
        {hf_slice_of("upstream"), hf_value_text(note->stable)}, {hf_slice_of("canary"), hf_value_text(note->canary)},
        {hf_slice_of("step"), hf_value_integer(note->step)},    {hf_slice_of("share"), hf_value_float(note->share)},
        {hf_slice_of("reason"), hf_value_text(note->reason)},
    };
    hf_value detail = hf_value_map(members, sizeof members / sizeof *members);
    hf_error error = {0};
    char text[HF_ERROR_MESSAGE_SIZE + 100];

    if (!writing->signals || !writing->signals->note ||
        writing->signals->note(writing->host, note->actor, note->kind, &detail, &error) == HF_OK)
        return;
    snprintf(text, sizeof text, "the audit log has no entry for %s: %s", note->kind, error.message);
    writing->host->log(writing->host, HF_LOG_ERROR, hf_slice_of(text));
}

static void work(hf_job *job)
{
    struct gateway_writing *writing = (struct gateway_writing *)(void *)job;

    if (writing->path)
        writing->code =
            replace_file(writing->path, (hf_slice){writing->text.data, writing->text.size}, &writing->error);
    while (writing->notes) {
        struct gateway_note *note = writing->notes;

        writing->notes = note->next;
        write_note(writing, note);
        free(note);
    }
}

/* ---- Main loop --------------------------------------------------------------------------------------------------- */

static void free_writing(struct gateway_writing *writing)
{
    hf_buffer_done(&writing->text);
    free(writing->path);
    free(writing);
}

static void look_flushed(struct gateway_desk *desk)
{
    void (*flushed)(void *arg) = desk->flushed;

    if (!flushed || desk->is_writing)
        return;
    desk->flushed = NULL;
    flushed(desk->flushed_arg);
}

static void done(hf_job *job)
{
    struct gateway_writing *writing = (struct gateway_writing *)(void *)job;
    struct gateway_desk *desk = writing->desk;

    desk->is_writing = 0;
    desk->written_us = gateway_desk_now(desk);
    if (writing->code != HF_OK) { /* it is tried again with the counts */
        desk->is_counting = 1;
        desk->host->log(desk->host, HF_LOG_ERROR, hf_slice_of(writing->error.message));
    }
    while (writing->waits) {
        struct gateway_wait *wait = writing->waits;

        writing->waits = wait->next;
        wait->written(wait, writing->code, &writing->error);
    }
    free_writing(writing);
    if (desk->is_changed || desk->notes || desk->waits)
        gateway_desk_write(desk);
    look_flushed(desk);
}

static int32_t fill(const struct gateway_desk *desk, struct gateway_writing *writing)
{
    const struct gateway_release *releases[GATEWAY_RELEASES_MAX];
    uint32_t count = 0;

    hf_buffer_init(&writing->text, FILE_MAX_SIZE);
    if (!desk->path)
        return HF_OK;
    for (uint32_t i = 0; i < GATEWAY_RELEASES_MAX; i++)
        if (desk->slots[i].release)
            releases[count++] = desk->slots[i].release;
    writing->path = strdup(desk->path);
    return writing->path ? gateway_releases_write(&writing->text, releases, count, gateway_desk_now(desk)) : HF_ENOMEM;
}

void gateway_desk_write(struct gateway_desk *desk)
{
    if (desk->is_writing || !(desk->is_changed || desk->notes || desk->waits))
        return;
    struct gateway_writing *writing = calloc(1, sizeof *writing);
    if (!writing || fill(desk, writing) != HF_OK) {
        if (writing)
            free_writing(writing);
        return; /* with the next tick, when there may be memory */
    }
    writing->desk = desk;
    writing->host = desk->host;
    writing->signals = desk->signals;
    writing->job = (hf_job){.loop = desk->loops->main_loop(desk->host), .work = work, .done = done};
    writing->notes = desk->notes;
    writing->waits = desk->waits;
    if (desk->loops->submit(desk->host, &writing->job, NULL) != HF_OK) { /* the pool is full: with the next tick */
        free_writing(writing);
        return;
    }
    desk->is_writing = 1;
    desk->is_changed = desk->is_counting = 0;
    desk->notes = NULL;
    desk->notes_end = &desk->notes;
    desk->waits = NULL;
    desk->waits_end = &desk->waits;
}

void gateway_desk_wait(struct gateway_desk *desk, struct gateway_wait *wait)
{
    wait->next = NULL;
    *desk->waits_end = wait;
    desk->waits_end = &wait->next;
    gateway_desk_write(desk);
}

void gateway_desk_flush(struct gateway_desk *desk, void (*flushed)(void *arg), void *arg)
{
    desk->flushed = flushed;
    desk->flushed_arg = arg;
    desk->is_changed |= desk->is_counting;
    gateway_desk_write(desk);
    look_flushed(desk);
}

/* ---- At the start ------------------------------------------------------------------------------------------------ */

/* 0 bytes: there is no file. */
static int32_t read_file(const char *path, hf_buffer *text, hf_error *error)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = 1;

    if (file < 0)
        return errno == ENOENT ? HF_OK : hf_error_set_errno(error, HF_EIO, errno, "cannot open '%s'", path);
    while (got > 0) {
        if (hf_buffer_reserve(text, 4096) != HF_OK) {
            (void)close(file);
            return hf_error_set(error, HF_ETOOLARGE, "'%s' is too large, or there is no memory for it", path);
        }
        got = read(file, text->data + text->size, text->capacity - text->size);
        if (got > 0)
            text->size += (uint64_t)got;
    }
    int failure = errno;
    (void)close(file);
    return got == 0 ? HF_OK : hf_error_set_errno(error, HF_EIO, failure, "cannot read '%s'", path);
}

static int32_t take_releases(struct gateway_desk *desk, hf_slice text, hf_error *error)
{
    struct gateway_release *releases = calloc(GATEWAY_RELEASES_MAX, sizeof *releases);
    uint32_t count = 0;
    int32_t code = releases ? gateway_releases_read(text, gateway_desk_now(desk), releases, &count, error)
                            : hf_error_set(error, HF_ENOMEM, "no memory for releases");

    for (uint32_t i = 0; i < count && code == HF_OK; i++) {
        desk->slots[i].release = malloc(sizeof *releases);
        if (desk->slots[i].release)
            *desk->slots[i].release = releases[i];
        else
            code = hf_error_set(error, HF_ENOMEM, "no memory for releases");
    }
    free(releases);
    return code == HF_OK
               ? code
               : hf_error_prefix(error, "'%s' cannot be used; put it away to go on without the releases in it",
                                 desk->path);
}

int32_t gateway_desk_read(struct gateway_desk *desk, hf_error *error)
{
    const char *folder = desk->node->state_directory(desk->host, error);
    size_t size = folder ? strlen(folder) + sizeof "/canaries.json" : 0;
    hf_buffer text;

    if (!folder)
        return HF_EIO;
    if (size + sizeof ".new" > PATH_MAX)
        return hf_error_set(error, HF_EINVAL, "the path of the state directory is too long: '%s'", folder);
    desk->path = malloc(size);
    if (!desk->path)
        return hf_error_set(error, HF_ENOMEM, "no memory for releases");
    snprintf(desk->path, size, "%s/canaries.json", folder);
    hf_buffer_init(&text, FILE_MAX_SIZE);
    int32_t code = read_file(desk->path, &text, error);
    if (code == HF_OK && text.size)
        code = take_releases(desk, (hf_slice){text.data, text.size}, error);
    hf_buffer_done(&text);
    return code;
}
