#include "filter/options.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <stdio.h>
#include <string.h>

static const hf_option gzip_options[] = {
    HF_CONFIG_BOOLEAN("enabled", struct gateway_gzip_options, enabled, .default_text = "false",
                      .flags = HF_OPTION_RELOADABLE,
                      .doc = "Whether answers are compressed for clients that take gzip. Where answers have both "
                             "secrets and what a stranger can make a browser ask for, their length over TLS can give "
                             "the secrets away (BREACH)."),
    HF_CONFIG_STRINGS("types", struct gateway_gzip_options, types,
                      .default_text = "text/*, application/json, application/javascript, application/xml, "
                                      "application/manifest+json, application/ld+json, application/problem+json, "
                                      "application/xhtml+xml, application/rss+xml, application/atom+xml, "
                                      "application/wasm, image/svg+xml",
                      .flags = HF_OPTION_RELOADABLE,
                      .doc = "Content-Types of answers that are compressed; text/* stands for all that begin so."),
    HF_CONFIG_SIZE("minimum", struct gateway_gzip_options, minimum, .default_text = "1KiB", .minimum = 0,
                   .maximum = INT64_C(1) << 40, .flags = HF_OPTION_RELOADABLE,
                   .doc = "Shorter answers go as they are; those of unknown length are compressed."),
    HF_CONFIG_INTEGER("level", struct gateway_gzip_options, level, .default_text = "2", .minimum = 1, .maximum = 9,
                      .flags = HF_OPTION_RELOADABLE,
                      .doc = "1: fastest; 9: smallest, for several times as much of the processor."),
};
const hf_option_table gateway_gzip_table = HF_TABLE(gzip_options);

void gateway_gzip_check(const struct gateway_gzip_options *options, const hf_config_report *report, const char *path)
{
    char option[512], message[HF_ERROR_MESSAGE_SIZE];

    snprintf(option, sizeof option, "%s.gzip.types", path);
    for (uint64_t i = 0; i < options->types.count; i++) {
        if (gateway_gzip_is_type(hf_slice_of(options->types.items[i])))
            continue;
        snprintf(message, sizeof message, "types: '%.200s' is no type; expected such as text/html or text/*",
                 options->types.items[i]);
        report->problem(report, option, message);
    }
}

int32_t gateway_gzip_make(const struct gateway_gzip_options *options, hf_arena *arena, struct gateway_gzip *ret_gzip,
                          hf_error *error)
{
    hf_slice *types = hf_arena_alloc(arena, options->types.count * sizeof *types);
    int32_t code = types ? HF_OK : HF_ENOMEM;

    for (uint64_t i = 0; i < options->types.count && code == HF_OK; i++)
        code = hf_arena_copy(arena, hf_slice_of(options->types.items[i]), &types[i]);
    if (code != HF_OK)
        return hf_error_set(error, code, "no memory for the gateway's configuration");
    *ret_gzip = (struct gateway_gzip){.level = options->enabled ? (int32_t)options->level : 0,
                                      .minimum = options->minimum,
                                      .types = types,
                                      .type_count = (uint32_t)options->types.count};
    return HF_OK;
}
