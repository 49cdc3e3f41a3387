/* Bundles as bytes.  All numbers are big endian:
 *   format 1, time 8, feed horizon 8, repeat horizon 8, command count 2, and for each command its size 4 and bytes. */
#include "bundle.h"

#include "bytes.h"

#include <holdfast/lib/error.h>

#include <string.h>

enum { FORMAT = 2 }; /* 1: entries of one command each, before the first release */

uint8_t *store_bundle_write_head(uint8_t *to, const struct store_bundle *bundle)
{
    to[0] = FORMAT;
    store_write_be(to + 1, bundle->time_us, 8);
    store_write_be(to + 9, bundle->feed_horizon_us, 8);
    store_write_be(to + 17, bundle->repeat_horizon_us, 8);
    store_write_be(to + 25, bundle->count, 2);
    return to + STORE_BUNDLE_HEAD_SIZE;
}

uint8_t *store_bundle_write_command(uint8_t *to, hf_slice command)
{
    store_write_be(to, command.size, STORE_BUNDLE_COMMAND_HEAD_SIZE);
    to += STORE_BUNDLE_COMMAND_HEAD_SIZE;
    if (command.size)
        memcpy(to, command.data, command.size);
    return to + command.size;
}

int store_bundle_next(struct store_bundle *bundle, hf_slice *ret_command)
{
    hf_slice *rest = &bundle->rest;

    if (rest->size < STORE_BUNDLE_COMMAND_HEAD_SIZE)
        return 0;
    uint64_t size = store_read_be(rest->data, STORE_BUNDLE_COMMAND_HEAD_SIZE);

    if (size > rest->size - STORE_BUNDLE_COMMAND_HEAD_SIZE)
        return 0;
    *ret_command = (hf_slice){rest->data + STORE_BUNDLE_COMMAND_HEAD_SIZE, size};
    rest->data += STORE_BUNDLE_COMMAND_HEAD_SIZE + size;
    rest->size -= STORE_BUNDLE_COMMAND_HEAD_SIZE + size;
    return 1;
}

static int is_whole(struct store_bundle bundle)
{
    hf_slice command;

    if (bundle.count == 0 || bundle.count > STORE_BUNDLE_COMMANDS_MAX)
        return 0;
    for (uint32_t i = 0; i < bundle.count; i++)
        if (!store_bundle_next(&bundle, &command))
            return 0;
    return bundle.rest.size == 0;
}

int32_t store_bundle_read(hf_slice bytes, struct store_bundle *ret_bundle, hf_error *error)
{
    if (bytes.size > 0 && bytes.data[0] > FORMAT)
        return hf_error_set(error, HF_EVERSION,
                            "an entry has format %d and this release knows up to %d; upgrade this node", bytes.data[0],
                            FORMAT);
    if (bytes.size >= STORE_BUNDLE_HEAD_SIZE && bytes.data[0] == FORMAT) {
        *ret_bundle = (struct store_bundle){
            .time_us = store_read_be(bytes.data + 1, 8),
            .feed_horizon_us = store_read_be(bytes.data + 9, 8),
            .repeat_horizon_us = store_read_be(bytes.data + 17, 8),
            .count = (uint32_t)store_read_be(bytes.data + 25, 2),
            .rest = {bytes.data + STORE_BUNDLE_HEAD_SIZE, bytes.size - STORE_BUNDLE_HEAD_SIZE},
        };
        if (is_whole(*ret_bundle))
            return 0;
    }
    return hf_error_set(error, HF_ECORRUPT, "an entry of %llu bytes does not hold the commands that it should",
                        (unsigned long long)bytes.size);
}
