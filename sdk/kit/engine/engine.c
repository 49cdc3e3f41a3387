/* The engines' suite: an engine keeps what kind/engine.h promises. */
#include "engine.h"

#include "report.h"
#include "suites.h"

#include <ftw.h>
#include <sys/stat.h>
#include <time.h>

struct engine_under_check engine;

void engine_load(const hf_kit_subject *subject)
{
    engine.instance = hf_kit_instance_create(subject);
    engine.table = (const hf_engine *)(const void *)engine.instance.capability.head;
    hf_kit_step("the suite's own work");
}

static void must(int32_t r, const hf_error *error, const char *what)
{
    if (r < 0)
        hf_kit_fail("%s: %d %s", what, r, error->message);
}

void engine_open(engine_database *k)
{
    hf_error error;

    must(engine.table->open(engine.instance.self, k->directory, &k->database, &error), &error, "open");
}

void engine_create(engine_database *k)
{
    static uint32_t counter;

    snprintf(k->directory, sizeof k->directory, "%s/database-%u", kit_report ? kit_report->directory : ".", counter++);
    HF_KIT_EQUAL(mkdir(k->directory, 0700), 0);
    engine_open(k);
}

void engine_close(engine_database *k)
{
    engine.table->close(k->database);
    k->database = NULL;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

void engine_remove(engine_database *k)
{
    engine_close(k);
    nftw(k->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int32_t engine_try_write(hf_engine_database *database, const hf_engine_operation *operations, uint64_t count)
{
    hf_error error;
    int32_t r;

    for (int i = 0; (r = engine.table->write(database, operations, count, &error)) == HF_EBUSY && i < 20000; i++)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    return r;
}

void engine_write(hf_engine_database *database, int32_t type, uint64_t space, hf_slice key, hf_slice value)
{
    hf_engine_operation operation = {.type = type, .space = space, .key = key, .value = value};

    HF_KIT_EQUAL(engine_try_write(database, &operation, 1), 0);
}

void engine_expect(hf_engine_database *database, uint64_t space, hf_slice key, hf_slice value)
{
    hf_error error = {0};
    hf_slice found;

    must(engine.table->get(database, space, key, 0, &found, &error), &error, "get");
    HF_KIT_EQUAL(found.size, value.size);
    if (value.size)
        HF_KIT_TRUE(memcmp(found.data, value.data, value.size) == 0);
    engine.table->release(database, found);
}

void engine_expect_none(hf_engine_database *database, uint64_t space, hf_slice key)
{
    hf_slice found;

    HF_KIT_EQUAL(engine.table->get(database, space, key, 0, &found, NULL), HF_ENOTFOUND);
}

static int32_t append_key(void *arg, hf_slice key, hf_slice value)
{
    char *text = arg;
    size_t size = strlen(text);

    (void)value;
    snprintf(text + size, 1024 - size, "%s%.*s", size ? "," : "", (int)key.size, (const char *)key.data);
    return 0;
}

const char *engine_scan(hf_engine_database *database, uint64_t space, hf_slice from, hf_slice to, uint32_t flags)
{
    static char text[1024];

    text[0] = '\0';
    HF_KIT_EQUAL(engine.table->scan(database, space, from, to, flags, append_key, text, NULL), 0);
    return text;
}

static int32_t count_one(void *arg, hf_slice key, hf_slice value)
{
    (void)key, (void)value;
    ++*(uint64_t *)arg;
    return 0;
}

uint64_t engine_count(hf_engine_database *database, uint64_t space)
{
    uint64_t count = 0;

    HF_KIT_EQUAL(engine.table->scan(database, space, NOTHING, NOTHING, 0, count_one, &count, NULL), 0);
    return count;
}

void engine_with_database(const hf_kit_subject *subject, void (*function)(engine_database *k))
{
    engine_database k = {.database = NULL};

    engine_load(subject);
    engine_create(&k);
    function(&k);
    engine_remove(&k);
    hf_kit_instance_destroy(&engine.instance);
}

static const hf_kit_check checks[] = {
    {"put_get_delete", "What was put is got; what was deleted is not.", engine_check_put_get_delete, 0},
    {"delete_range", "A range goes, no more and no less.", engine_check_delete_range, 0},
    {"spaces_are_isolated", "Spaces do not see each other.", engine_check_spaces_are_isolated, 0},
    {"order_of_any_bytes", "Keys are ordered by their bytes, whatever they are.", engine_check_order_of_any_bytes, 0},
    {"scan_bounds", "A scan visits what is between its bounds, in both directions.", engine_check_scan_bounds, 0},
    {"cached_reads", "A read from memory answers or says HF_EBUSY.", engine_check_cached_reads, 0},
    {"batch_is_atomic", "A batch is written in order, all or nothing.", engine_check_batch_is_atomic, 0},
    {"limits", "The largest keys and values are kept, larger keys refused.", engine_check_limits, 60},
    {"two_databases", "Two databases do not see each other.", engine_check_two_databases, 0},
    {"threads", "Readers never see half a batch while others write.", engine_check_threads, 60},
    {"export_is_a_snapshot", "An export has what there was when it was opened.", engine_check_export_is_a_snapshot, 0},
    {"export_visits_a_snapshot", "The records of an export are what there was when it was opened, in any pieces.",
     engine_check_export_visits_a_snapshot, 0},
    {"import_replaces", "An import replaces a space in one step.", engine_check_import_replaces, 0},
    {"import_of_nothing", "An export of nothing empties a space.", engine_check_import_of_nothing, 0},
    {"import_without_commit", "An import that is not committed leaves nothing.", engine_check_import_without_commit, 0},
    {"damage_is_found", "A damaged export is refused wherever it is damaged.", engine_check_damage_is_found, 60},
    {"large_value", "A large value goes through an export.", engine_check_large_value, 0},
    {"large_space", "An import of any size replaces a space in one step.", engine_check_large_space, 300},
    {"reopen", "What was flushed is there after closing and opening.", engine_check_reopen, 0},
    {"checkpoint", "A checkpoint is a database of its own.", engine_check_checkpoint, 0},
    {"crash", "After a kill the writes come back as a prefix, at least up to the last flush.", engine_check_crash, 120},
};

const hf_kit_suite kit_engine_suite = {"engine", checks, sizeof checks / sizeof *checks};
