/* holdfast-plugin-note: writes a plugin's manifest into its shared object.    holdfast-plugin-note FILE.so
 *
 * A build step, run by holdfast_add_plugin after linking: loads the plugin, asks its entry, and adds the section
 * .note.holdfast with JSON made from the same C tables that the plugin runs with (docs/decisions/0004).  objcopy from
 * binutils does the ELF work. */
#include "manifest.h"

#include <dlfcn.h>
#include <errno.h>
#include <holdfast/holdfast.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOTE_TYPE = 1 };

static _Noreturn void fail(const char *what, const char *why)
{
    fprintf(stderr, "holdfast-plugin-note: %s: %s\n", what, why);
    exit(1);
}

/* ---- The note ------------------------------------------------------------------------------------------------ */

/* ELF: sizes of name and content and the type as 32-bit words, then both, each padded to 4 bytes. */
static void write_note(FILE *out, const char *json, uint32_t size)
{
    static const char name[12] = "Holdfast"; /* 9 bytes with its zero, padded */
    const uint32_t header[3] = {9, size, NOTE_TYPE};
    const char padding[4] = {0};

    fwrite(header, sizeof header, 1, out);
    fwrite(name, sizeof name, 1, out);
    fwrite(json, size, 1, out);
    fwrite(padding, (4 - size % 4) % 4, 1, out);
}

static const hf_plugin *load(const char *path)
{
    char absolute[4096];

    if (!realpath(path, absolute))
        fail(path, strerror(errno));
    void *object = dlopen(absolute, RTLD_NOW | RTLD_LOCAL);
    if (!object)
        fail(path, dlerror());
    const hf_plugin *(*entry)(void);
    *(void **)&entry = dlsym(object, "hf_plugin_v1");
    if (!entry)
        fail(path, "it does not export hf_plugin_v1");
    const hf_plugin *plugin = entry();
    if (!plugin || plugin->size != sizeof *plugin)
        fail(path, "its entry was made with other headers than this tool");
    return plugin;
}

static void run_objcopy(const char *note_path, const char *path)
{
    char section[4200], result[4200];
    int status;

    snprintf(section, sizeof section, ".note.holdfast=%s", note_path);
    snprintf(result, sizeof result, "%s.new", path); /* the file itself is mapped: it must not change under us */
    pid_t pid = fork();
    if (pid == 0) {
        /* Removing first makes the step repeatable. */
        execlp("objcopy", "objcopy", "--remove-section=.note.holdfast", "--add-section", section, "--set-section-flags",
               ".note.holdfast=noload,readonly", path, result, (char *)NULL);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail(path, "objcopy (binutils) failed");
    if (rename(result, path) < 0)
        fail(path, strerror(errno));
}

int main(int count, char **arguments)
{
    char note_path[4096], *json = NULL;
    size_t size = 0;

    if (count != 2) {
        fputs("usage: holdfast-plugin-note FILE.so\n", stderr);
        return 2;
    }
    const hf_plugin *plugin = load(arguments[1]);
    FILE *out = open_memstream(&json, &size);
    if (!out)
        fail(arguments[1], "no memory");
    const char *fault = hf_manifest_write(out, plugin);
    if (fault)
        fail(arguments[1], fault);
    if (fclose(out))
        fail(arguments[1], "no memory");

    int written = snprintf(note_path, sizeof note_path, "%s.note", arguments[1]);
    if (written < 0 || (size_t)written >= sizeof note_path)
        fail(arguments[1], "the path is too long");
    FILE *note = fopen(note_path, "wbe");
    if (!note)
        fail(note_path, strerror(errno));
    write_note(note, json, (uint32_t)size);
    if (ferror(note) | fclose(note))
        fail(note_path, strerror(errno));
    run_objcopy(note_path, arguments[1]);
    unlink(note_path);
    free(json);
    return 0;
}
