/* Checks of the shared object as a whole. */
#include "host_private.h"
#include "kinds.h"
#include "manifest.h"
#include "note.h"
#include "report.h"
#include "suites.h"
#include "symbols.h"

#include <holdfast/kit/plugin.h>
#include <holdfast/lib/error.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_SIZE_MAX = 256 << 20 };

static int32_t is_empty(const char *text)
{
    return !text || !*text;
}

static void check_provide(const hf_plugin *plugin, uint32_t index)
{
    const hf_provide *provide = plugin->provides[index];
    hf_head *table = NULL;
    hf_error error = {0};

    if (!provide || provide->size < offsetof(hf_provide, check)) /* earlier SDKs' ended there */
        hf_kit_fail("provides[%u] has %u bytes, expected sizeof(hf_provide), %zu", index, provide ? provide->size : 0,
                    sizeof *provide);
    if (is_empty(provide->kind) || is_empty(provide->name) || is_empty(provide->summary))
        hf_kit_fail("provides[%u] lacks a kind, a name or a summary", index);
    const hf_kind *kind = hf_kind_find(provide->kind);
    if (!kind)
        hf_kit_fail("there is no kind '%s'", provide->kind);
    if (hf_kind_adopt(kind, provide->interface.head, provide->name, &table, &error) != HF_OK)
        hf_kit_fail("%s", error.message);
    free(table);
    for (uint32_t i = 0; i < index; i++)
        if (strcmp(plugin->provides[i]->kind, provide->kind) == 0 &&
            strcmp(plugin->provides[i]->name, provide->name) == 0)
            hf_kit_fail("%s/%s is provided twice", provide->kind, provide->name);
}

/* Tells the runner what there is to check. */
static void tell(const hf_plugin *plugin)
{
    if (!kit_report)
        return;
    snprintf(kit_report->id, sizeof kit_report->id, "%s", plugin->id);
    snprintf(kit_report->version, sizeof kit_report->version, "%s", plugin->version);
    for (uint32_t i = 0; i < plugin->provide_count; i++) {
        struct kit_provided *provided = &kit_report->provided[i];
        snprintf(provided->kind, sizeof provided->kind, "%s", plugin->provides[i]->kind);
        snprintf(provided->name, sizeof provided->name, "%s", plugin->provides[i]->name);
    }
    kit_report->provided_count = plugin->provide_count;
}

static void check_entry(const hf_kit_subject *subject)
{
    const hf_plugin *plugin = hf_kit_load(subject->path);

    if (plugin != hf_kit_load(subject->path))
        hf_kit_fail("hf_plugin_v1 returned something else when it was asked again; it must return static data");
    hf_kit_step("reading the entry");
    if (plugin->size < sizeof *plugin)
        hf_kit_fail("the entry has %u bytes, expected sizeof(hf_plugin), %zu", plugin->size, sizeof *plugin);
    if (plugin->interface_major != HF_INTERFACE_MAJOR || plugin->minor_needed > HF_INTERFACE_MINOR)
        hf_kit_fail("it is for interface %u.%u, this kit has %d.%d", plugin->interface_major, plugin->minor_needed,
                    HF_INTERFACE_MAJOR, HF_INTERFACE_MINOR);
    if (plugin->minor_needed > plugin->interface_minor)
        hf_kit_fail("it needs minor %u, which is newer than the minor %u that it was built against",
                    plugin->minor_needed, plugin->interface_minor);
    if (is_empty(plugin->id) || is_empty(plugin->version) || is_empty(plugin->summary) || is_empty(plugin->licence))
        hf_kit_fail("the entry lacks an id, a version, a summary or a licence");
    if (plugin->provide_count == 0 || plugin->provide_count > KIT_PROVIDES_MAX)
        hf_kit_fail("it provides %u capabilities, expected 1 to %d", plugin->provide_count, KIT_PROVIDES_MAX);
    for (uint32_t i = 0; i < plugin->provide_count; i++)
        check_provide(plugin, i);
    tell(plugin);
}

static void check_manifest(const hf_kit_subject *subject)
{
    char *note = NULL, *json = NULL;
    size_t size = 0, same = 0;
    hf_error error = {0};

    if (hf_plugin_note_read(subject->path, &note, &error) != HF_OK)
        hf_kit_fail("%s", error.message);
    FILE *out = open_memstream(&json, &size);
    const char *fault = out ? hf_manifest_write(out, hf_kit_load(subject->path)) : "the kit itself is out of memory";
    if (fault || fclose(out))
        hf_kit_fail("%s", fault ? fault : "the kit itself is out of memory");
    while (note[same] && note[same] == json[same])
        same++;
    size_t from = same > 20 ? same - 20 : 0;
    if (note[same] != json[same])
        hf_kit_fail("the note and the entry's tables differ: the note says '%.60s', the entry '%.60s'; run "
                    "holdfast-plugin-note after linking",
                    note + from, json + from);
    free(note);
    free(json);
}

static uint8_t *read_file(const char *path, uint64_t *ret_size)
{
    FILE *file = fopen(path, "rbe");

    if (!file || fseek(file, 0, SEEK_END) != 0)
        hf_kit_fail("'%s' cannot be read", path);
    long size = ftell(file);
    if (size <= 0 || size > FILE_SIZE_MAX)
        hf_kit_fail("'%s' has %ld bytes, expected 1 to %d", path, size, FILE_SIZE_MAX);
    uint8_t *bytes = kit_allocate((uint64_t)size);
    rewind(file);
    if (fread(bytes, 1, (size_t)size, file) != (size_t)size)
        hf_kit_fail("'%s' cannot be read", path);
    fclose(file);
    *ret_size = (uint64_t)size;
    return bytes;
}

static void check_symbols(const hf_kit_subject *subject)
{
    char other[KIT_SYMBOL_SIZE];
    uint64_t size = 0;
    uint32_t count = 0;
    hf_error error = {0};
    uint8_t *bytes = read_file(subject->path, &size);

    if (kit_exported_symbols((hf_slice){bytes, size}, "hf_plugin_v1", &count, other, &error) != HF_OK)
        hf_kit_fail("%s", error.message);
    free(bytes);
    if (other[0])
        hf_kit_fail("it exports %u symbols, such as '%s', expected hf_plugin_v1 alone; build it with "
                    "-fvisibility=hidden and -Wl,--exclude-libs,ALL",
                    count, other);
    if (count != 1)
        hf_kit_fail("it does not export hf_plugin_v1");
}

static void check_load(const hf_kit_subject *subject)
{
    const hf_plugin *plugin = hf_kit_load(subject->path);
    hf_kit_host *host = hf_kit_host_create(subject, HF_KIT_TABLES_SAME);
    hf_error error = {0};

    if (!plugin->load && !plugin->unload)
        hf_kit_not_applicable("the entry has neither load nor unload");
    hf_kit_step("load");
    int32_t result = plugin->load ? plugin->load(hf_kit_host_root(host), &error) : HF_OK;
    if (result != HF_OK)
        hf_kit_fail("load failed (%d): %s", result, error.message);
    hf_kit_step("unload");
    if (plugin->unload)
        plugin->unload(hf_kit_host_root(host));
    if (hf_kit_host_memory(host, NULL))
        hf_kit_fail("%llu blocks of host->alloc were left after unload",
                    (unsigned long long)hf_kit_host_memory(host, NULL));
    hf_kit_host_destroy(host);
}

static const hf_kit_check checks[] = {
    {"entry", "The entry is complete, for this interface, and its tables have all functions that their kinds need.",
     check_entry, 10},
    {"manifest", "The note in the file says what the entry's tables say.", check_manifest, 10},
    {"symbols", "Exactly one symbol is exported, hf_plugin_v1.", check_symbols, 10},
    {"load", "load succeeds, and unload gives everything back.", check_load, 10},
};

const hf_kit_suite kit_file_suite = {NULL, checks, sizeof checks / sizeof *checks};
