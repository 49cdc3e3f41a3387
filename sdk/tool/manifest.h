/* manifest.h: what a plugin's tables say, as the JSON of its manifest.  The tool that writes the manifest and the kit
 * that compares it use the same text. */
#ifndef HOLDFAST_SDK_TOOL_MANIFEST_H
#define HOLDFAST_SDK_TOOL_MANIFEST_H

#include <holdfast/holdfast.h>

#include <stdio.h>

/* Returns NULL, or what is wrong with the tables; static.  Errors of the stream are the caller's to look for. */
const char *hf_manifest_write(FILE *out, const hf_plugin *plugin);

#endif
