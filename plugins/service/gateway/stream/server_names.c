#include "stream/server_names.h"

#include "route/match.h"

int32_t gateway_server_names_find(const struct gateway_server_name *names, uint32_t count, hf_slice host)
{
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < names[i].host_count; k++)
            if (gateway_host_matches(names[i].hosts[k], host))
                return (int32_t)i;
    return -1;
}
