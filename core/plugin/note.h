/* note.h: reads a plugin's manifest from its file, without running any of its code.
 *
 * The manifest is JSON in the ELF section ".note.holdfast": one note with the name "Holdfast" and the type
 * HF_PLUGIN_NOTE_TYPE.  The file is not trusted: every offset is checked against its size. */
#ifndef HOLDFAST_CORE_PLUGIN_NOTE_H
#define HOLDFAST_CORE_PLUGIN_NOTE_H

#include <holdfast/holdfast.h>

enum { HF_PLUGIN_NOTE_TYPE = 1, HF_PLUGIN_NOTE_SIZE_MAX = 1 << 20 };

/* Finds the manifest in the bytes of an ELF file; *ret_json is inside `file`.
 * HF_EINVAL: not an ELF shared object for this machine; HF_ECORRUPT: its tables point outside the file;
 * HF_ENOTFOUND: no such note, so not a Holdfast plugin. */
int32_t hf_plugin_note_find(hf_slice file, const char *path, hf_slice *ret_json, hf_error *error);

/* Reads the manifest of the file at `path` into memory that the caller frees with free(); it ends with a zero byte.
 * The errors of hf_plugin_note_find, and HF_ENOTFOUND or HF_EIO for the file itself.  Blocks on the disk. */
int32_t hf_plugin_note_read(const char *path, char **ret_json, hf_error *error);

#endif
