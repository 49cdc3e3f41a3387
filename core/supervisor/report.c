/* Writes the record of a death; see report.h.  It is written under another name and renamed, so that a file with the
 * record's name is always whole. */
#include "report.h"

#include <dirent.h>
#include <errno.h>
#include <holdfast/lib/error.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { REPORTS_KEPT = 20 };

static int32_t write_text(FILE *out, const hf_death *death)
{
    char backtrace[HF_BLACKBOX_BACKTRACE_SIZE], log[HF_BLACKBOX_BACKTRACE_SIZE];
    time_t now = time(NULL);
    struct tm utc;
    char when[32];

    hf_blackbox_read_backtrace(death->box, backtrace, sizeof backtrace);
    hf_blackbox_read_log(death->box, log, sizeof log);
    gmtime_r(&now, &utc);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &utc);
    fprintf(out, "process: %s\npid: %d\ntime: %s\nlived: %" PRIu64 ".%03" PRIu64 " s\ncause: %s\n", death->name,
            death->pid, when, death->lived_us / 1000000, death->lived_us / 1000 % 1000, death->cause);
    fprintf(out, "\nbacktrace:\n%s", *backtrace ? backtrace : "(none: the process was killed or ended by itself)\n");
    fprintf(out, "\nlast log lines:\n%s", *log ? log : "(none)\n");
    int failed = fflush(out) || fsync(fileno(out));
    return fclose(out) || failed ? HF_EIO : 0;
}

static const char *filter_name; /* scandir's filter takes no argument; used on the main thread only */

static int is_report_of(const struct dirent *entry)
{
    size_t size = strlen(filter_name);

    /* NAME-TIME-PID.txt: a name that only begins alike has something else than a digit behind the '-'. */
    return strncmp(entry->d_name, filter_name, size) == 0 && entry->d_name[size] == '-' &&
           entry->d_name[size + 1] >= '0' && entry->d_name[size + 1] <= '9';
}

static void remove_oldest(const char *directory, const char *name)
{
    struct dirent **entries;
    char path[4096];

    filter_name = name;
    int count = scandir(directory, &entries, is_report_of, alphasort); /* by time: it follows the name */
    for (int i = 0; i < count; i++) {
        if (i < count - REPORTS_KEPT) {
            snprintf(path, sizeof path, "%s/%s", directory, entries[i]->d_name);
            (void)unlink(path); /* it will be tried again at the next death */
        }
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

int32_t hf_report_write(const char *directory, const hf_death *death, char *path, uint64_t path_capacity,
                        hf_error *error)
{
    struct timespec now;
    char temporary[4096];

    clock_gettime(CLOCK_REALTIME, &now);
    int size = snprintf(path, path_capacity, "%s/%s-%012" PRIu64 "%03ld-%d.txt", directory, death->name,
                        (uint64_t)now.tv_sec, now.tv_nsec / 1000000, death->pid);
    if (size < 0 || (uint64_t)size >= path_capacity)
        return hf_error_set(error, HF_EINVAL, "the directory of death reports has too long a name: '%s'", directory);
    snprintf(temporary, sizeof temporary, "%s/.%s.new", directory, death->name);

    FILE *out = fopen(temporary, "we");
    if (!out)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot write '%s'", temporary);
    if (write_text(out, death) || rename(temporary, path) < 0) {
        int32_t result = hf_error_set_errno(error, HF_EIO, errno, "cannot write '%s'", path);
        (void)unlink(temporary); /* already failing */
        return result;
    }
    remove_oldest(directory, death->name);
    return 0;
}
