/* engine_conformance PLUGIN.so [NAME] [--set key=value]...: checks that an engine keeps what kind/engine.h promises. */
#include "kit.h"

#include <ftw.h>
#include <time.h>
#include <unistd.h>

const char *kit_program, *kit_plugin, *kit_name, *kit_settings[KIT_SETTINGS_MAX];
int kit_setting_count;

static void must(int32_t r, const hf_error *error, const char *what)
{
    if (r < 0)
        fail_msg("%s: %d %s", what, r, error->message);
}

void kit_open(kit_database *k)
{
    hf_error error;

    must(kit.table->open(kit.instance, k->directory, &k->database, &error), &error, "open");
}

void kit_create(kit_database *k)
{
    snprintf(k->directory, sizeof k->directory, "/tmp/engine-kit-XXXXXX");
    assert_non_null(mkdtemp(k->directory));
    kit_open(k);
}

void kit_close(kit_database *k)
{
    kit.table->close(k->database);
    k->database = NULL;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

void kit_remove(kit_database *k)
{
    kit_close(k);
    nftw(k->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int kit_setup(void **state)
{
    static kit_database k;

    kit_create(&k);
    *state = &k;
    return 0;
}

int kit_teardown(void **state)
{
    kit_remove(*state);
    return 0;
}

int32_t kit_try_write(hf_engine_database *database, const hf_engine_operation *operations, uint64_t count)
{
    hf_error error;
    int32_t r;

    for (int i = 0; (r = kit.table->write(database, operations, count, &error)) == HF_EBUSY && i < 20000; i++)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    return r;
}

void kit_write(hf_engine_database *database, int32_t type, uint64_t space, hf_slice key, hf_slice value)
{
    hf_engine_operation operation = {.type = type, .space = space, .key = key, .value = value};

    assert_int_equal(kit_try_write(database, &operation, 1), 0);
}

void kit_expect(hf_engine_database *database, uint64_t space, hf_slice key, hf_slice value)
{
    hf_error error = {0};
    hf_slice found;

    must(kit.table->get(database, space, key, 0, &found, &error), &error, "get");
    assert_int_equal(found.size, value.size);
    if (value.size)
        assert_memory_equal(found.data, value.data, value.size);
    kit.table->release(database, found);
}

void kit_expect_none(hf_engine_database *database, uint64_t space, hf_slice key)
{
    hf_slice found;

    assert_int_equal(kit.table->get(database, space, key, 0, &found, NULL), HF_ENOTFOUND);
}

static int32_t append_key(void *arg, hf_slice key, hf_slice value)
{
    char *text = arg;
    size_t size = strlen(text);

    (void)value;
    snprintf(text + size, 1024 - size, "%s%.*s", size ? "," : "", (int)key.size, (const char *)key.data);
    return 0;
}

const char *kit_scan(hf_engine_database *database, uint64_t space, hf_slice from, hf_slice to, uint32_t flags)
{
    static char text[1024];

    text[0] = '\0';
    assert_int_equal(kit.table->scan(database, space, from, to, flags, append_key, text, NULL), 0);
    return text;
}

static int32_t count_one(void *arg, hf_slice key, hf_slice value)
{
    (void)key, (void)value;
    ++*(uint64_t *)arg;
    return 0;
}

uint64_t kit_count(hf_engine_database *database, uint64_t space)
{
    uint64_t count = 0;

    assert_int_equal(kit.table->scan(database, space, NOTHING, NOTHING, 0, count_one, &count, NULL), 0);
    return count;
}

/* Takes the settings out of the arguments; returns how many arguments remain, or -1. */
static int take_settings(int argc, char **argv)
{
    int count = 0;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--set") != 0) {
            argv[count++] = argv[i];
            continue;
        }
        if (++i == argc || !strchr(argv[i], '=') || kit_setting_count == KIT_SETTINGS_MAX)
            return -1;
        kit_settings[kit_setting_count++] = argv[i];
    }
    return count;
}

int main(int argc, char **argv)
{
    argc = take_settings(argc, argv);
    if (argc < 2) {
        fprintf(stderr, "usage: %s PLUGIN.so [NAME] [--set key=value]...\n", argv[0]);
        return 2;
    }
    kit_program = argv[0];
    kit_plugin = argv[1];
    kit_name = argc > 2 && argv[2][0] ? argv[2] : NULL;
    if (kit_load(kit_plugin, kit_name) < 0)
        return 2;
    if (argc == 5) /* started by a crash test: PLUGIN NAME DIRECTORY FIRST */
        return kit_crash_child(argv[3], strtoull(argv[4], NULL, 10));
    int failed = kit_test_records() + kit_test_transfer() + kit_test_durable();

    kit_unload();
    return failed ? 1 : 0;
}
