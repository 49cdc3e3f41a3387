/* bytes.h: numbers as big endian bytes, so that stored keys sort as the numbers do.  Pure; [any]. */
#ifndef STORE_BYTES_H
#define STORE_BYTES_H

#include <stdint.h>

static inline void store_write_be(uint8_t *to, uint64_t number, int size)
{
    for (int i = size - 1; i >= 0; i--) {
        to[i] = (uint8_t)number;
        number >>= 8;
    }
}

static inline uint64_t store_read_be(const uint8_t *from, int size)
{
    uint64_t number = 0;

    for (int i = 0; i < size; i++)
        number = number << 8 | from[i];
    return number;
}

#endif
