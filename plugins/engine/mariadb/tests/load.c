#include "load.h"

#include <time.h>

static void set_fault(struct load *load, const char *what, int32_t code, const char *message)
{
    pthread_mutex_lock(&load->lock);
    if (!load->fault[0])
        snprintf(load->fault, sizeof load->fault, "%s: %d %.200s", what, code, message);
    pthread_mutex_unlock(&load->lock);
    atomic_store(&load->stopping, 1);
}

static void pause_briefly(void)
{
    nanosleep(&(struct timespec){0, 5000000}, NULL);
}

/* "Busy" promises that nothing was written. */
static void check_absent(struct load_writer *writer, const char *key)
{
    const struct kit *kit = writer->load->kit;
    hf_error error = {0};
    hf_slice value = {NULL, 0};
    int32_t r;

    while ((r = kit_table->get(kit->database, writer->space, kit_slice(key), 0, &value, &error)) == HF_EBUSY)
        pause_briefly();
    if (r != HF_ENOTFOUND)
        set_fault(writer->load, "after a write that was refused as busy, get", r, error.message);
    if (r == 0)
        kit_table->release(kit->database, value);
}

static void *write_numbers(void *arg)
{
    struct load_writer *writer = arg;
    struct load *load = writer->load;
    char key[24];

    for (uint64_t number = 1; !atomic_load(&load->stopping);) {
        hf_error error = {0};

        snprintf(key, sizeof key, "%020llu", (unsigned long long)number);
        int32_t r = kit_put(load->kit, writer->space, key, key, &error);

        if (r == 0)
            atomic_store(&writer->written, number++);
        else if (r == HF_EBUSY)
            check_absent(writer, key);
        else
            set_fault(load, "write", r, error.message);
    }
    return NULL;
}

void load_start(struct load *load, struct kit *kit)
{
    memset(load, 0, sizeof *load);
    load->kit = kit;
    pthread_mutex_init(&load->lock, NULL);
    for (int i = 0; i < LOAD_WRITERS; i++) {
        load->writers[i].load = load;
        load->writers[i].space = (uint64_t)i;
        assert_int_equal(pthread_create(&load->writers[i].thread, NULL, write_numbers, &load->writers[i]), 0);
    }
}

void load_wait_for_more(struct load *load, uint64_t count)
{
    for (int i = 0; i < LOAD_WRITERS; i++) {
        uint64_t wanted = atomic_load(&load->writers[i].written) + count;

        while (!atomic_load(&load->stopping) && atomic_load(&load->writers[i].written) < wanted)
            pause_briefly();
    }
}

static int32_t count_one(void *arg, hf_slice key, hf_slice value)
{
    (void)key, (void)value;
    ++*(uint64_t *)arg;
    return 0;
}

static void check(struct load *load)
{
    const hf_slice nothing = {NULL, 0};

    for (int i = 0; i < LOAD_WRITERS; i++) {
        uint64_t count = 0;

        assert_int_equal(
            kit_table->scan(load->kit->database, load->writers[i].space, nothing, nothing, 0, count_one, &count, NULL),
            0);
        assert_int_equal(count, atomic_load(&load->writers[i].written));
    }
}

void load_stop_and_check(struct load *load)
{
    atomic_store(&load->stopping, 1);
    for (int i = 0; i < LOAD_WRITERS; i++)
        pthread_join(load->writers[i].thread, NULL);
    if (load->fault[0])
        fail_msg("%s", load->fault);
    check(load);
    kit_close(load->kit);
    kit_open(load->kit);
    check(load);
}
