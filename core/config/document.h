/* config/document.h: the values of a generation as JSON, defaults filled in, for programs that look at a running
 * process.  [any] */
#ifndef HOLDFAST_CONFIG_DOCUMENT_H
#define HOLDFAST_CONFIG_DOCUMENT_H

#include "config/check.h"

#include <holdfast/lib/json.h>

/* Writes one object: sections below each other as in a document, sizes and durations with their units; secrets are left
 * out.  Errors stick in the writer. */
void hf_config_document_json(hf_json_writer *writer, const hf_config_generation *generation);

#endif
