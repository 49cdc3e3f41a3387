/* Going on with the children of the program that this process has executed itself over; see supervisor.h.  Whoever
 * saves may be of another version than whoever adopts: members may come, and are optional then, and never change their
 * meaning. */
#include "private.h"

#include "child.h"
#include "log.h"
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <holdfast/lib/error.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- Saving -------------------------------------------------------------------------------------------------- */

static void save_descriptors(hf_json_writer *writer, const char *name, const int32_t *descriptors, uint32_t count)
{
    hf_json_name(writer, name);
    hf_json_begin_list(writer);
    for (uint32_t i = 0; i < count; i++)
        hf_json_integer(writer, descriptors[i]);
    hf_json_end_list(writer);
}

static void save_integer(hf_json_writer *writer, const char *name, int64_t integer)
{
    hf_json_member_integer(writer, name, integer);
}

static void save_child(hf_json_writer *writer, const struct child *child)
{
    hf_json_begin_object(writer);
    hf_json_member_text(writer, "name", child->name);
    save_integer(writer, "pid", child->pid);
    save_integer(writer, "stopping", child->state == HF_CHILD_STOPPING);
    save_integer(writer, "started_us", (int64_t)child->started_us);
    save_integer(writer, "deaths", (int64_t)child->deaths);
    save_integer(writer, "early_deaths", child->backoff.early_deaths);
    save_integer(writer, "died", child->died);
    hf_json_member_text(writer, "cause", child->cause);
    hf_json_member_text(writer, "report", child->report);
    save_integer(writer, "box", child->box ? hf_blackbox_fd(child->box) : -1);
    save_integer(writer, "ring", HF_LOG_RING_SIZE); /* what the box looks like */
    save_integer(writer, "channel", child->channel);
    save_descriptors(writer, "listeners", child->listeners, child->listener_count);
    save_descriptors(writer, "held", child->held.descriptors, child->held.count);
    hf_json_end_object(writer);
}

void hf_supervisor_save(const hf_supervisor *supervisor, hf_json_writer *writer)
{
    hf_json_begin_list(writer);
    for (uint32_t i = 0; i < supervisor->count; i++)
        if (supervisor->children[i]->state != HF_CHILD_STOPPED)
            save_child(writer, supervisor->children[i]);
    hf_json_end_list(writer);
}

static void pass(const int32_t *descriptors, uint32_t count, int32_t on)
{
    for (uint32_t i = 0; i < count; i++)
        if (descriptors[i] >= 0)
            (void)fcntl(descriptors[i], F_SETFD, on ? 0 : FD_CLOEXEC); /* fails for no open descriptor */
}

void hf_supervisor_pass(const hf_supervisor *supervisor, int32_t on)
{
    for (uint32_t i = 0; i < supervisor->count; i++) {
        const struct child *child = supervisor->children[i];
        int32_t box_fd = child->box ? hf_blackbox_fd(child->box) : -1;
        pass(child->listeners, child->listener_count, on);
        pass(child->held.descriptors, child->held.count, on);
        pass(&box_fd, 1, on);
        pass(&child->channel, 1, on);
    }
}

/* ---- Adopting ------------------------------------------------------------------------------------------------ */

void hf_supervisor_saved_name(const hf_value *saved, char *name, uint64_t capacity)
{
    hf_slice text = hf_value_get_string(saved, "name", (hf_slice){0});

    snprintf(name, capacity, "%.*s", (int)text.size, text.data ? (const char *)text.data : "");
}

/* An open descriptor that was passed, or -1. */
static int32_t passed(int64_t number)
{
    if (number <= STDERR_FILENO || number > INT32_MAX || fcntl((int)number, F_SETFD, FD_CLOEXEC) != 0)
        return -1;
    return (int32_t)number;
}

static uint32_t passed_list(const hf_value *list, int32_t *descriptors, uint32_t most)
{
    uint32_t count = 0;

    for (uint64_t i = 0; list && list->type == HF_VALUE_LIST && i < list->count && count < most; i++) {
        const hf_value *item = &list->as.items[i];
        int32_t fd = item->type == HF_VALUE_INTEGER ? passed(item->as.integer) : -1;
        if (fd >= 0)
            descriptors[count++] = fd;
    }
    return count;
}

uint32_t hf_supervisor_saved_listeners(const hf_value *saved, int32_t *descriptors, uint32_t most)
{
    return passed_list(hf_value_get(saved, "listeners"), descriptors, most);
}

static void take_text(const hf_value *saved, const char *name, char *text, size_t capacity)
{
    hf_slice given = hf_value_get_string(saved, name, (hf_slice){0});

    snprintf(text, capacity, "%.*s", (int)given.size, given.data ? (const char *)given.data : "");
}

/* One that another version has laid out in another way is not read. */
static int32_t take_box(struct child *child, const hf_value *saved, hf_error *error)
{
    int32_t fd = passed(hf_value_get_integer(saved, "box", -1)), ignored;

    if (fd >= 0 && hf_value_get_integer(saved, "ring", 0) == HF_LOG_RING_SIZE)
        return hf_blackbox_adopt(fd, &child->box, error);
    if (fd >= 0)
        (void)close(fd); /* it is memory */
    return hf_blackbox_create(&child->box, &ignored, error);
}

static int32_t take_process(struct child *child, const hf_value *saved, hf_error *error)
{
    child->state = hf_value_get_integer(saved, "stopping", 0) ? HF_CHILD_STOPPING : HF_CHILD_RUNNING;
    child->adopted = 1;
    child->ready = child->state == HF_CHILD_RUNNING && child->wanted;
    child->channel = passed(hf_value_get_integer(saved, "channel", -1));
    int32_t result = take_box(child, saved, error);
    if (!result)
        result = hf_child_watch(child->pid, &child->pid_fd, error);
    return result ? result : hf_supervisor_watch_child(child, error);
}

static int32_t take(struct child *child, const hf_value *saved, hf_error *error)
{
    int32_t held[HF_HELD_MAX];
    uint32_t count = passed_list(hf_value_get(saved, "held"), held, HF_HELD_MAX);

    for (uint32_t i = 0; i < count; i++)
        (void)hf_held_add(&child->held, HF_HELD_MAX, held[i]); /* who is refused is closed */
    child->pid = (int32_t)hf_value_get_integer(saved, "pid", 0);
    child->started_us = (uint64_t)hf_value_get_integer(saved, "started_us", 0);
    child->deaths = (uint64_t)hf_value_get_integer(saved, "deaths", 0);
    child->backoff.early_deaths = (uint32_t)hf_value_get_integer(saved, "early_deaths", 0);
    child->died = hf_value_get_integer(saved, "died", 0) != 0;
    take_text(saved, "cause", child->cause, sizeof child->cause);
    take_text(saved, "report", child->report, sizeof child->report);
    return child->pid > 0 ? take_process(child, saved, error) : 0;
}

int32_t hf_supervisor_adopt(hf_supervisor *supervisor, const hf_value *saved, const char *const *argv,
                            const int32_t *listeners, uint32_t listener_count, hf_error *error)
{
    static const char *const nothing[] = {NULL};
    char name[256];

    hf_supervisor_saved_name(saved, name, sizeof name);
    if (!*name)
        return hf_error_set(error, HF_EINVAL, "a process without a name was handed over");
    struct child *child =
        hf_supervisor_make_child(supervisor, name, argv ? argv : nothing, listeners, argv ? listener_count : 0);
    if (!child)
        return hf_error_set(error, HF_ENOMEM, "no memory for process '%s'", name);
    child->wanted = argv != NULL;
    int32_t result = take(child, saved, error);
    if (result) {
        hf_supervisor_free_child(child);
        return hf_error_prefix(error, "process '%s'", name);
    }
    supervisor->children[supervisor->count++] = child;
    hf_supervisor_go_on(child);
    return 0;
}
