#include <string.h>

#include <holdfast/lib/text.h>

enum { SIZE_MAX_LOOKED_AT = 63 };

uint32_t hf_text_distance(const char *a, const char *b)
{
    uint32_t row[SIZE_MAX_LOOKED_AT + 1];
    size_t a_size = strnlen(a, SIZE_MAX_LOOKED_AT), b_size = strnlen(b, SIZE_MAX_LOOKED_AT);

    for (size_t j = 0; j <= b_size; j++)
        row[j] = (uint32_t)j;
    for (size_t i = 1; i <= a_size; i++) {
        uint32_t diagonal = row[0];

        row[0] = (uint32_t)i;
        for (size_t j = 1; j <= b_size; j++) {
            uint32_t replaced = diagonal + (a[i - 1] != b[j - 1]), best = row[j] < row[j - 1] ? row[j] : row[j - 1];

            diagonal = row[j];
            row[j] = replaced < best + 1 ? replaced : best + 1;
        }
    }
    return row[b_size];
}

const char *hf_text_nearest(const char *name, const char *const *candidates, uint64_t count)
{
    uint32_t best = (uint32_t)strnlen(name, SIZE_MAX_LOOKED_AT) / 3 + 2;
    const char *nearest = NULL;

    for (uint64_t i = 0; i < count; i++) {
        uint32_t distance = hf_text_distance(name, candidates[i]);

        if (distance < best) {
            best = distance;
            nearest = candidates[i];
        }
    }
    return nearest;
}
