/* Shows which plugin entries are taken in, and that each refusal says why and leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <holdfast/kind/replication.h>
#include <holdfast/lib/error.h>
#include <string.h>

#include "../registry.h"

/* The registry never calls these: any function will do where one must be. */
static int32_t create(const hf_host *host, const void *configuration, void **ret_self, hf_error *error)
{
    (void)host, (void)configuration, (void)ret_self, (void)error;
    return HF_EUNSUPPORTED;
}

static void destroy(void *self)
{
    (void)self;
}

static hf_replication complete_table(void)
{
    hf_replication table;
    void (*any)(void *) = destroy;

    for (size_t at = 0; at + sizeof any <= sizeof table; at += sizeof any)
        memcpy((char *)&table + at, &any, sizeof any);
    table.head = (hf_head)HF_HEAD(hf_replication);
    table.create = create;
    table.destroy = destroy;
    return table;
}

struct fixture {
    hf_registry *registry;
    hf_replication table;
    hf_provide provide;
    const hf_provide *provides[1];
    hf_plugin plugin;
    hf_error error;
};

static int set_up(void **state)
{
    static struct fixture fixture;

    memset(&fixture, 0, sizeof fixture);
    fixture.table = complete_table();
    fixture.provide = (hf_provide){
        .size = sizeof(hf_provide), .kind = "replication", .name = "test", .interface.replication = &fixture.table};
    fixture.provides[0] = &fixture.provide;
    fixture.plugin = (hf_plugin){.size = sizeof(hf_plugin),
                                 .interface_major = HF_INTERFACE_MAJOR,
                                 .interface_minor = HF_INTERFACE_MINOR,
                                 .id = "org.example.test",
                                 .version = "1.0.0",
                                 .licence = "Apache-2.0",
                                 .provide_count = 1,
                                 .provides = fixture.provides};
    *state = &fixture;
    return hf_registry_create(&fixture.registry, NULL);
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    hf_registry_destroy(fixture->registry);
    return 0;
}

static int32_t add(struct fixture *fixture)
{
    return hf_registry_add(fixture->registry, &fixture->plugin, "/p/test.so", NULL, &fixture->error);
}

static void refused(struct fixture *fixture, int32_t code, const char *words)
{
    uint64_t before, after;

    hf_registry_list(fixture->registry, &before);
    assert_int_equal(add(fixture), code);
    if (!strstr(fixture->error.message, words))
        fail_msg("'%s' does not say '%s'", fixture->error.message, words);
    hf_registry_list(fixture->registry, &after);
    assert_int_equal(before, after);
}

static void a_good_plugin_is_found_by_kind_and_name(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(add(fixture), 0);
    const hf_capability *found = hf_registry_find(fixture->registry, "replication", "test");
    assert_non_null(found);
    assert_string_equal(found->plugin_id, "org.example.test");
    assert_string_equal(found->path, "/p/test.so");
    assert_null(hf_registry_find(fixture->registry, "replication", "other"));
    assert_null(hf_registry_find(fixture->registry, "engine", "test"));
}

static void another_major_is_refused(void **state)
{
    struct fixture *fixture = *state;

    fixture->plugin.interface_major = HF_INTERFACE_MAJOR + 1;
    refused(fixture, HF_EVERSION, "install a build for it");
    fixture->plugin.interface_major = HF_INTERFACE_MAJOR;
    fixture->table.head.major = HF_INTERFACE_MAJOR + 1;
    refused(fixture, HF_EVERSION, "replication/test");
}

static void a_plugin_for_a_newer_minor_is_refused_only_if_it_needs_it(void **state)
{
    struct fixture *fixture = *state;

    fixture->plugin.interface_minor = HF_INTERFACE_MINOR + 5;
    fixture->plugin.minor_needed = HF_INTERFACE_MINOR + 1;
    refused(fixture, HF_EVERSION, "upgrade Holdfast");
    fixture->plugin.minor_needed = HF_INTERFACE_MINOR;
    assert_int_equal(add(fixture), 0);
}

static void a_missing_required_function_is_named(void **state)
{
    struct fixture *fixture = *state;

    fixture->table.term_at = NULL;
    refused(fixture, HF_EINVAL, "'term_at'");
    fixture->table = complete_table();
    fixture->table.destroy = NULL;
    refused(fixture, HF_EINVAL, "'destroy'");
    fixture->table = complete_table();
    fixture->table.transfer = NULL;
    refused(fixture, HF_EINVAL, "'transfer'");
}

static void an_older_smaller_table_is_read_only_as_far_as_it_goes(void **state)
{
    struct fixture *fixture = *state;

    /* The last function is required: a table that ends before it has none, whatever follows in memory. */
    fixture->table.head.size = offsetof(hf_replication, progress);
    refused(fixture, HF_EINVAL, "'progress'");
}

/* A plugin from before hf_provide.check: whatever follows in memory is not one. */
static void an_older_smaller_provide_has_no_check(void **state)
{
    struct fixture *fixture = *state;

    fixture->provide.configuration_size = 40;
    memset(&fixture->provide.check, 0xa5, sizeof fixture->provide.check);
    fixture->provide.size = offsetof(hf_provide, check) - 1;
    refused(fixture, HF_EINVAL, "lacks a kind or a name");
    fixture->provide.size = offsetof(hf_provide, check);
    assert_int_equal(add(fixture), 0);
    const hf_capability *found = hf_registry_find(fixture->registry, "replication", "test");
    assert_int_equal(found->configuration_size, 40);
    assert_null(found->check);
}

static void look_at(const void *configuration, const hf_config_report *report)
{
    (void)configuration, (void)report;
}

static void a_newer_longer_provide_is_accepted_and_cut(void **state)
{
    struct fixture *fixture = *state;
    struct {
        hf_provide provide;
        void *poison[8];
    } longer = {.provide = fixture->provide};

    memset(longer.poison, 0xa5, sizeof longer.poison);
    longer.provide.size = sizeof longer;
    longer.provide.check = look_at;
    fixture->provides[0] = &longer.provide;
    assert_int_equal(add(fixture), 0);
    assert_ptr_equal(hf_registry_find(fixture->registry, "replication", "test")->check, look_at);
}

static void a_newer_longer_table_is_accepted_and_cut(void **state)
{
    struct fixture *fixture = *state;
    struct {
        hf_replication table;
        void *poison[8];
    } longer = {.table = complete_table()};

    memset(longer.poison, 0xa5, sizeof longer.poison);
    longer.table.head.size = sizeof longer;
    fixture->provide.interface.replication = &longer.table;
    assert_int_equal(add(fixture), 0);
}

static void the_same_id_or_capability_twice_is_refused(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(add(fixture), 0);
    refused(fixture, HF_EEXIST, "org.example.test is loaded already");
    fixture->plugin.id = "org.example.other";
    refused(fixture, HF_EEXIST, "disable one of the two");
}

static void malformed_entries_are_refused(void **state)
{
    struct fixture *fixture = *state;

    fixture->provide.kind = "teapot";
    refused(fixture, HF_EUNSUPPORTED, "no kind 'teapot'");
    fixture->provide.kind = "replication";
    fixture->provide.name = "";
    refused(fixture, HF_EINVAL, "lacks a kind or a name");
    fixture->provide.name = "test";
    fixture->provide.interface.replication = NULL;
    refused(fixture, HF_EINVAL, "no function table");
    fixture->plugin.version = NULL;
    refused(fixture, HF_EINVAL, "lacks an id, a version or a licence");
    fixture->plugin.version = "1";
    fixture->plugin.provide_count = 0;
    refused(fixture, HF_EINVAL, "expected 1 to 64");
    fixture->plugin.size = 8;
    refused(fixture, HF_EINVAL, "8 bytes");
    assert_int_equal(hf_registry_add(fixture->registry, NULL, "/p", NULL, &fixture->error), HF_EINVAL);
}

static int32_t fail_to_load(const hf_host *host, hf_error *error)
{
    (void)host;
    return hf_error_set(error, HF_EIO, "no such device");
}

static void a_plugin_that_fails_in_load_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;

    fixture->plugin.load = fail_to_load;
    refused(fixture, HF_EIO, "failed to load: no such device");
    fixture->plugin.load = NULL;
    assert_int_equal(add(fixture), 0);
}

static void unmet_requirements_are_named(void **state)
{
    struct fixture *fixture = *state;
    const char *wanted[] = {"replication/test", "engine/absent", NULL};

    fixture->plugin.requires_ = wanted;
    assert_int_equal(add(fixture), 0);
    assert_int_equal(hf_registry_check_requirements(fixture->registry, &fixture->error), HF_ENOTFOUND);
    assert_non_null(strstr(fixture->error.message, "engine/absent"));
    wanted[1] = NULL;
    assert_int_equal(hf_registry_check_requirements(fixture->registry, &fixture->error), 0);
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(a_good_plugin_is_found_by_kind_and_name),
        WITH_FIXTURE(another_major_is_refused),
        WITH_FIXTURE(a_plugin_for_a_newer_minor_is_refused_only_if_it_needs_it),
        WITH_FIXTURE(a_missing_required_function_is_named),
        WITH_FIXTURE(an_older_smaller_table_is_read_only_as_far_as_it_goes),
        WITH_FIXTURE(an_older_smaller_provide_has_no_check),
        WITH_FIXTURE(a_newer_longer_provide_is_accepted_and_cut),
        WITH_FIXTURE(a_newer_longer_table_is_accepted_and_cut),
        WITH_FIXTURE(the_same_id_or_capability_twice_is_refused),
        WITH_FIXTURE(malformed_entries_are_refused),
        WITH_FIXTURE(a_plugin_that_fails_in_load_leaves_nothing),
        WITH_FIXTURE(unmet_requirements_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
