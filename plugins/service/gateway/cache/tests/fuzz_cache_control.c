/* Whatever Cache-Control, a date or If-None-Match say: reading them ends, numbers stay in their bounds, and what
 * forbids is not forgotten for what stands around it. */
#include "cache/date.h"
#include "cache/rules.h"

#include <holdfast/lib/value.h>

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
    if (!holds)
        abort();
}

static void require_bounds(const struct gateway_cache_control *control)
{
    const int64_t numbers[] = {control->max_age,        control->s_maxage,  control->stale_while_revalidate,
                               control->stale_if_error, control->min_fresh, control->max_stale};

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        require(numbers[i] >= -1 && numbers[i] <= INT64_C(1) << 31);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gateway_cache_control control;
    hf_slice text = {data, size};
    hf_http1_head request = {.header_count = 1};

    gateway_cache_control_init(&control);
    gateway_cache_control_add(&control, text);
    require_bounds(&control);
    gateway_cache_control_add(&control, hf_slice_of("no-store, max-age=0"));
    require_bounds(&control);
    require(control.said & GATEWAY_NO_STORE && control.max_age == 0);
    require(gateway_http_date(text, 1764000000) >= -1);
    request.headers[0] = (hf_http1_header){hf_slice_of("if-none-match"), text};
    (void)gateway_cache_not_modified(&request, hf_slice_of("\"a\""), (hf_slice){NULL, 0}, 1764000000);
    return 0;
}
