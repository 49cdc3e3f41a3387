#include "options/operation.h"

#include "record/record.h"

#define SECONDS(n) (INT64_C(1000000) * (n))

static const char *const formats[] = {[GATEWAY_FORMAT_JSON] = "json", [GATEWAY_FORMAT_COMBINED] = "combined", NULL};
static const char *const listener_formats[] = {[GATEWAY_LISTENER_FORMAT_INHERITED] = "inherited",
                                               [GATEWAY_FORMAT_JSON + 1] = "json",
                                               [GATEWAY_FORMAT_COMBINED + 1] = "combined",
                                               NULL};

static const hf_option access_log_options[] = {
    HF_CONFIG_PATH("path", struct gateway_access_log_options, path, .flags = HF_OPTION_RELOADABLE,
                   .doc = "The file; left out: requests are not logged. It is opened anew when it was moved away."),
    HF_CONFIG_CHOICE("format", struct gateway_access_log_options, format, .choices = formats, .default_text = "json",
                     .flags = HF_OPTION_RELOADABLE,
                     .doc = "json, with everything, or combined, as nginx and Apache write it."),
    HF_CONFIG_SIZE("buffer", struct gateway_access_log_options, buffer_size, .default_text = "64KiB",
                   .minimum = 64 << 10, .maximum = 64 << 20, .flags = HF_OPTION_RELOADABLE,
                   .doc = "Bytes that are written at a time; each worker has two such buffers for each file."),
    HF_CONFIG_DURATION("flush", struct gateway_access_log_options, flush_us, .default_text = "1s", .minimum = 100000,
                       .maximum = SECONDS(3600), .flags = HF_OPTION_RELOADABLE,
                       .doc = "How long a line waits at most for others to be written with."),
};
const hf_option_table gateway_access_log_table = HF_TABLE(access_log_options);

static const hf_option listener_log_options[] = {
    HF_CONFIG_BOOLEAN("enabled", struct gateway_listener_log_options, enabled, .default_text = "true",
                      .flags = HF_OPTION_RELOADABLE, .doc = "Whether this listener's requests are logged."),
    HF_CONFIG_PATH("path", struct gateway_listener_log_options, path, .flags = HF_OPTION_RELOADABLE,
                   .doc = "A file of its own; left out: the gateway's."),
    HF_CONFIG_CHOICE("format", struct gateway_listener_log_options, format, .choices = listener_formats,
                     .default_text = "inherited", .flags = HF_OPTION_RELOADABLE,
                     .doc = "Of a file of its own; inherited: as the gateway's."),
};
const hf_option_table gateway_listener_log_table = HF_TABLE(listener_log_options);

static const hf_option trace_options[] = {
    HF_CONFIG_BOOLEAN("enabled", struct gateway_trace_options, enabled, .default_text = "true",
                      .flags = HF_OPTION_RELOADABLE,
                      .doc = "Whether requests go on with a trace context (W3C: traceparent, tracestate); if not, what "
                             "clients send of it goes on as it is."),
    HF_CONFIG_BOOLEAN("accept", struct gateway_trace_options, accepts, .default_text = "true",
                      .flags = HF_OPTION_RELOADABLE,
                      .doc = "Whether a client's trace goes on; if not, or if it has none that is valid, one begins "
                             "here."),
    HF_CONFIG_FLOAT("sampled", struct gateway_trace_options, sampled, .default_text = "1.0", .minimum_float = 0,
                    .maximum_float = 1, .flags = HF_OPTION_RELOADABLE,
                    .doc = "Which part of the traces that begin here is to be recorded by servers; traces of clients "
                           "keep what they say of it."),
    HF_CONFIG_BOOLEAN("in_answers", struct gateway_trace_options, in_answers, .default_text = "false",
                      .flags = HF_OPTION_RELOADABLE,
                      .doc = "Whether clients are told the trace, in the field traceresponse."),
};
const hf_option_table gateway_trace_table = HF_TABLE(trace_options);
