#include "signal/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <holdfast/lib/error.h>
#include <holdfast/lib/json.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { HASH_TEXT = 64, LINE_MAXIMUM = 1 << 20, FILE_MAXIMUM = 1 << 30 };

struct hf_audit {
    pthread_mutex_t lock;
    char *path;
    int fd;
    int directory;
    uint64_t size, size_maximum;
    uint64_t sequence;        /* of the last entry */
    char last[HASH_TEXT + 1]; /* hash of the last line */
};

static void hash(const void *data, size_t size, char text[HASH_TEXT + 1])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;

    if (EVP_Digest(data, size, digest, &length, EVP_sha256(), NULL) != 1)
        abort(); /* a library without SHA-256: nothing that follows could be trusted */
    for (unsigned i = 0; i < length; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

static int32_t read_all(int fd, hf_buffer *bytes, hf_error *error)
{
    for (;;) {
        if (hf_buffer_reserve(bytes, 65536) != 0)
            return hf_error_set(error, HF_ENOMEM, "no memory to read the audit log");
        ssize_t size = pread(fd, bytes->data + bytes->size, 65536, (off_t)bytes->size);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            return hf_error_set_errno(error, HF_EIO, errno, "cannot read the audit log");
        if (size == 0)
            return 0;
        bytes->size += (uint64_t)size;
    }
}

/* Whether the line says that it follows the one with the hash `last`, and its number is the next. */
static int follows(hf_slice line, const char *last, uint64_t sequence, uint64_t *ret_sequence)
{
    hf_value entry = hf_value_null();
    hf_arena arena;
    int good = 0;

    hf_arena_init(&arena, 16 << 20);
    if (hf_json_parse(line, &arena, &entry, NULL) == 0) {
        *ret_sequence = (uint64_t)hf_value_get_integer(&entry, "sequence", 0);
        hf_slice previous = hf_value_get_string(&entry, "previous", (hf_slice){NULL, 0});
        good = *ret_sequence > 0 && (sequence == 0 || (*ret_sequence == sequence + 1 && hf_slice_is(previous, last)));
    }
    hf_arena_done(&arena);
    return good;
}

/* Goes through the chain; sets where the last whole line ends.  0: it is broken. */
static int check_chain(hf_audit *audit, const hf_buffer *bytes, uint64_t *ret_end)
{
    uint64_t at = 0;

    while (at < bytes->size) {
        const uint8_t *end = memchr(bytes->data + at, '\n', bytes->size - at);
        hf_slice line = {bytes->data + at, end ? (uint64_t)(end - bytes->data) - at : 0};

        if (!end)
            break; /* torn */
        if (!follows(line, audit->last, audit->sequence, &audit->sequence))
            return 0;
        hash(line.data, line.size, audit->last);
        at += line.size + 1;
    }
    *ret_end = at;
    return 1;
}

static int32_t sync_directory(const hf_audit *audit, hf_error *error)
{
    return fsync(audit->directory) == 0
               ? 0
               : hf_error_set_errno(error, HF_EIO, errno, "cannot flush the folder of the audit log");
}

static int32_t open_file(hf_audit *audit, hf_error *error)
{
    audit->fd = open(audit->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (audit->fd < 0)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot open '%s'", audit->path);
    audit->size = 0;
    return sync_directory(audit, error);
}

/* Gives the present file another name, and begins a new one. */
static int32_t put_aside(hf_audit *audit, const char *suffix, hf_error *error)
{
    char name[4200];

    snprintf(name, sizeof name, "%s.%s%" PRIu64, audit->path, suffix, audit->sequence);
    close(audit->fd);
    audit->fd = -1;
    if (rename(audit->path, name) != 0)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot rename '%s'", audit->path);
    return open_file(audit, error);
}

static int32_t examine(hf_audit *audit, int32_t *ret_broken, hf_error *error)
{
    uint64_t end = 0;
    hf_buffer bytes;

    hf_buffer_init(&bytes, FILE_MAXIMUM);
    int32_t result = read_all(audit->fd, &bytes, error);
    if (!result && !check_chain(audit, &bytes, &end)) {
        *ret_broken = 1;
        result = put_aside(audit, "broken-", error);
    } else if (!result) {
        audit->size = end;
        if (end < bytes.size && ftruncate(audit->fd, (off_t)end) != 0)
            result = hf_error_set_errno(error, HF_EIO, errno, "cannot cut the unfinished end of the audit log");
    }
    hf_buffer_done(&bytes);
    return result;
}

int32_t hf_audit_open(const char *directory, uint64_t size_maximum, hf_audit **ret_audit, int32_t *ret_broken,
                      hf_error *error)
{
    hf_audit *audit = calloc(1, sizeof *audit);

    if (!audit || asprintf(&audit->path, "%s/audit.log", directory) < 0) {
        free(audit);
        return hf_error_set(error, HF_ENOMEM, "no memory for the audit log");
    }
    pthread_mutex_init(&audit->lock, NULL);
    audit->size_maximum = size_maximum;
    audit->fd = -1;
    memset(audit->last, '0', HASH_TEXT);
    audit->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int32_t result = audit->directory < 0
                         ? hf_error_set_errno(error, HF_EIO, errno, "cannot open the folder '%s'", directory)
                         : open_file(audit, error);
    *ret_broken = 0;
    if (!result)
        result = examine(audit, ret_broken, error);
    if (result) {
        hf_audit_close(audit);
        return result;
    }
    *ret_audit = audit;
    return 0;
}

void hf_audit_close(hf_audit *audit)
{
    if (!audit)
        return;
    if (audit->fd >= 0)
        close(audit->fd); /* every entry was flushed */
    if (audit->directory >= 0)
        close(audit->directory);
    pthread_mutex_destroy(&audit->lock);
    free(audit->path);
    free(audit);
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

static int32_t build_line(const hf_audit *audit, const char *actor, const char *kind, const hf_value *detail,
                          hf_buffer *line)
{
    struct timespec now;
    struct tm parts = {0};
    hf_json_writer writer;
    char time[40];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%SZ", &parts);
    hf_json_writer_init(&writer, line);
    hf_json_begin_object(&writer);
    hf_json_member_unsigned(&writer, "sequence", audit->sequence + 1);
    hf_json_member_text(&writer, "time", time);
    hf_json_member_text(&writer, "actor", actor);
    hf_json_member_text(&writer, "kind", kind);
    hf_json_name(&writer, "detail");
    hf_json_value(&writer, detail);
    hf_json_member_text(&writer, "previous", audit->last);
    hf_json_end_object(&writer);
    return writer.result ? writer.result : hf_buffer_append(line, "\n", 1);
}

static int32_t write_line(hf_audit *audit, const hf_buffer *line, hf_error *error)
{
    uint64_t at = 0;

    while (at < line->size) {
        ssize_t size = write(audit->fd, line->data + at, line->size - at);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0) {
            int code = errno;
            if (ftruncate(audit->fd, (off_t)audit->size) != 0)
                code = errno; /* half a line stays, and is cut at the next start */
            return hf_error_set_errno(error, HF_EIO, code, "cannot write the audit log");
        }
        at += (uint64_t)size;
    }
    if (fdatasync(audit->fd) != 0)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot flush the audit log");
    return 0;
}

static int32_t append(hf_audit *audit, const char *actor, const char *kind, const hf_value *detail, hf_error *error)
{
    hf_buffer line;
    int32_t result = 0;

    if (audit->fd < 0)
        return hf_error_set(error, HF_EIO, "the audit log could not be begun anew; restart the process");
    if (audit->size >= audit->size_maximum)
        result = put_aside(audit, "", error);
    hf_buffer_init(&line, LINE_MAXIMUM);
    if (!result && build_line(audit, actor, kind, detail, &line) != 0)
        result = hf_error_set(error, HF_ENOMEM, "an entry of the audit log is too large, or there is no memory for it");
    if (!result)
        result = write_line(audit, &line, error);
    if (!result) {
        hash(line.data, line.size - 1, audit->last);
        audit->size += line.size;
        audit->sequence++;
    }
    hf_buffer_done(&line);
    return result;
}

int32_t hf_audit_append(hf_audit *audit, const char *actor, const char *kind, const hf_value *detail, hf_error *error)
{
    pthread_mutex_lock(&audit->lock);
    int32_t result = append(audit, actor, kind, detail, error);
    pthread_mutex_unlock(&audit->lock);
    return result;
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

/* Lines from the end, newest first. */
static int32_t list_lines(const hf_buffer *bytes, uint64_t size, uint32_t limit, hf_buffer *list)
{
    uint64_t end = size;
    int32_t failed = hf_buffer_append(list, "[", 1);

    for (uint32_t i = 0; i < limit && end > 1 && !failed; i++) {
        uint64_t begin = end - 1; /* behind the line feed of the line before */
        while (begin > 0 && bytes->data[begin - 1] != '\n')
            begin--;
        if (i)
            failed = hf_buffer_append(list, ",", 1);
        if (!failed)
            failed = hf_buffer_append(list, bytes->data + begin, end - 1 - begin);
        end = begin;
    }
    return failed ? failed : hf_buffer_append(list, "]", 1);
}

int32_t hf_audit_read(hf_audit *audit, uint32_t limit, hf_buffer *list, hf_error *error)
{
    hf_buffer bytes;

    hf_buffer_init(&bytes, FILE_MAXIMUM);
    pthread_mutex_lock(&audit->lock);
    uint64_t size = audit->size;
    int32_t result =
        audit->fd < 0 ? hf_error_set(error, HF_EIO, "there is no audit log") : read_all(audit->fd, &bytes, error);
    pthread_mutex_unlock(&audit->lock);
    if (!result && list_lines(&bytes, size < bytes.size ? size : bytes.size, limit, list) != 0)
        result = hf_error_set(error, HF_ENOMEM, "no memory for the audit log's entries");
    hf_buffer_done(&bytes);
    return result;
}
