/* One check: a child process, its time limit, what it said or how it died. */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <holdfast/lib/json.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT_S = 30 };

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

/* In the child. */
static void become_check(const struct kit_run *run, const hf_kit_check *check)
{
    setpgid(0, 0);
    if (!run->subject.verbose) { /* what a plugin prints is no part of the report */
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        if (null >= 0)
            dup2(null, STDOUT_FILENO);
    }
    check->run(&run->subject);
    int32_t none = KIT_RESULT_NONE;
    atomic_compare_exchange_strong(&kit_report->result, &none, KIT_RESULT_OK);
    _exit(0); /* no destructors: other threads of the plugin may live */
}

/* Waits for the child to end; returns 0 when it had to be killed. */
static int32_t wait_child(pid_t child, uint32_t limit_s, int *ret_status)
{
    int descriptor = pidfd_open(child, 0);
    struct pollfd ended = {.fd = descriptor, .events = POLLIN};
    int result;

    do
        result = descriptor < 0 ? 0 : poll(&ended, 1, (int)limit_s * 1000);
    while (result < 0 && errno == EINTR);
    kill(-child, SIGKILL); /* also what it left running */
    if (result <= 0)
        kill(child, SIGKILL);
    while (waitpid(child, ret_status, 0) < 0 && errno == EINTR) {
    }
    if (descriptor >= 0)
        close(descriptor);
    return result > 0;
}

static void judge(int32_t ended, int status, uint32_t limit_s)
{
    const char *step = kit_report->step[0] ? kit_report->step : "the check itself";
    char *why = kit_report->why;
    size_t size = sizeof kit_report->why;
    int32_t said = atomic_load(&kit_report->result);

    if (!ended)
        snprintf(why, size, "it did not end within %u s, during: %s", limit_s, step);
    else if (WIFSIGNALED(status))
        snprintf(why, size, "it was ended by signal %d (%s), during: %s", WTERMSIG(status), strsignal(WTERMSIG(status)),
                 step);
    else if (said == KIT_RESULT_NONE)
        snprintf(why, size, "it ended the process with status %d, during: %s", WEXITSTATUS(status), step);
    else
        return;
    atomic_store(&kit_report->result, KIT_RESULT_FAILED);
}

/* ---- The report -------------------------------------------------------------------------------------------------- */

static void write_line(const struct kit_run *run, const hf_kit_check *check, int32_t result)
{
    char name[200];

    if (run->subject.kind)
        snprintf(name, sizeof name, "%s/%s %s", run->subject.kind, run->subject.name, check->name);
    else
        snprintf(name, sizeof name, "%s", check->name);
    if (result == KIT_RESULT_OK)
        printf("%-46s ok\n", name);
    else
        printf("%-46s %s: %s\n", name, result == KIT_RESULT_FAILED ? "failed" : "not applicable", kit_report->why);
    fflush(stdout);
}

static void write_json(struct kit_run *run, const hf_kit_check *check, int32_t result)
{
    static const char *const words[] = {"failed", "ok", "failed", "not_applicable"};
    char capability[140];
    hf_json_writer writer;

    if (run->document.size)
        hf_buffer_append(&run->document, ",", 1);
    hf_json_writer_init(&writer, &run->document);
    hf_json_begin_object(&writer);
    hf_json_name(&writer, "capability");
    snprintf(capability, sizeof capability, "%s/%s", run->subject.kind ? run->subject.kind : "",
             run->subject.name ? run->subject.name : "");
    hf_json_text(&writer, run->subject.kind ? capability : NULL);
    hf_json_member_text(&writer, "check", check->name);
    hf_json_member_text(&writer, "result", words[result]);
    hf_json_member_text(&writer, "why", result == KIT_RESULT_OK ? NULL : kit_report->why);
    hf_json_end_object(&writer);
}

int32_t kit_run_check(struct kit_run *run, const hf_kit_check *check)
{
    uint32_t limit_s = run->limit_s ? run->limit_s : check->limit_s ? check->limit_s : LIMIT_S;
    int status = 0;

    atomic_store(&kit_report->result, KIT_RESULT_NONE);
    kit_report->why[0] = kit_report->step[0] = '\0';
    snprintf(kit_report->directory, sizeof kit_report->directory, "/tmp/holdfast-check-XXXXXX");
    if (!mkdtemp(kit_report->directory)) {
        fprintf(stderr, "holdfast-plugin-check: cannot make a folder in /tmp: %s\n", strerror(errno));
        exit(2);
    }
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        become_check(run, check);
    if (child < 0) {
        fprintf(stderr, "holdfast-plugin-check: cannot start a process: %s\n", strerror(errno));
        exit(2);
    }
    int32_t ended = wait_child(child, limit_s, &status);
    judge(ended, status, limit_s);
    nftw(kit_report->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    int32_t result = atomic_load(&kit_report->result);
    run->counts[result]++;
    if (run->json)
        write_json(run, check, result);
    else
        write_line(run, check, result);
    return result;
}

void kit_report_begin(struct kit_run *run)
{
    hf_buffer_init(&run->document, 16 << 20);
    if (!run->json && !run->list)
        printf("%s\n", run->subject.path);
}

int32_t kit_report_end(struct kit_run *run)
{
    uint32_t ok = run->counts[KIT_RESULT_OK], failed = run->counts[KIT_RESULT_FAILED],
             others = run->counts[KIT_RESULT_NOT_APPLICABLE];
    hf_buffer document;
    hf_json_writer writer;

    if (!run->json) {
        printf("%u checks: %u ok, %u failed, %u not applicable\n", ok + failed + others, ok, failed, others);
        return failed ? 1 : 0;
    }
    hf_buffer_init(&document, 32 << 20);
    hf_json_writer_init(&writer, &document);
    hf_json_begin_object(&writer);
    hf_json_member_text(&writer, "plugin", run->subject.path);
    hf_json_member_text(&writer, "id", kit_report->id);
    hf_json_member_text(&writer, "version", kit_report->version);
    hf_json_member_unsigned(&writer, "ok", ok);
    hf_json_member_unsigned(&writer, "failed", failed);
    hf_json_member_unsigned(&writer, "not_applicable", others);
    if (writer.result == HF_OK)
        writer.result = hf_buffer_append_format(&document, ",\"checks\":[%.*s]}\n", (int)run->document.size,
                                                run->document.data ? (const char *)run->document.data : "");
    printf("%.*s", (int)document.size, (const char *)document.data);
    int32_t status = writer.result != HF_OK ? 2 : failed ? 1 : 0;
    hf_buffer_done(&document);
    hf_buffer_done(&run->document);
    return status;
}
