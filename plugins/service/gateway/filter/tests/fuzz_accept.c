/* Whatever Accept-Encoding says: reading it ends, weights are weights, and a refusal of all is one. */
#include "filter/accept.h"

#include <holdfast/lib/value.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gateway_accept accept;

    gateway_accept_init(&accept);
    gateway_accept_add(&accept, (hf_slice){data, size});
    require(accept.gzip >= -1 && accept.gzip <= 1000 && accept.identity >= -1 && accept.identity <= 1000 &&
            accept.any >= -1 && accept.any <= 1000);
    gateway_accept_add(&accept, hf_slice_of("gzip;q=0"));
    require(!gateway_accept_has_gzip(&accept));
    return 0;
}
