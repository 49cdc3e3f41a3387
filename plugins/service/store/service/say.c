/* What the service writes to the process's log. */
#include "service/private.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void store_service_log(const struct store_service *service, int32_t level, const char *format, ...)
{
    char text[700];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    service->host->log(service->host, level, (hf_slice){(const uint8_t *)text, strlen(text)});
}
