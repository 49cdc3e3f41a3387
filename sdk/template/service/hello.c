/* service/hello: the smallest useful service: GET /hello answers with a configured text.  A beginning for your own. */
#include <holdfast/host/http.h>
#include <holdfast/kind/service.h>
#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

struct hello_options {
    const char *greeting;
};

static const hf_option options[] = {
    HF_CONFIG_STRING("greeting", struct hello_options, greeting, .default_text = "hello",
                     .doc = "What the service says."),
};

struct hello {
    const hf_host *host;
    const struct hello_options *options;
    const hf_http_interface *http;
};

/* Handlers run on a worker loop and must not block. */
static void say_hello(void *arg, hf_http_request *request)
{
    struct hello *hello = arg;

    hello->http->respond(request, 200, "text/plain; charset=utf-8", hf_slice_of(hello->options->greeting), NULL, 0);
}

static int32_t create(const hf_host *host, const void *configuration, void **ret_self, hf_error *error)
{
    static const hf_http_route route = {
        sizeof route, HF_HTTP_READ, "GET", "/hello", 0, "Says hello.", say_hello,
    };
    struct hello *hello = host->alloc(host, sizeof *hello);
    int32_t result;

    if (!hello)
        return hf_error_set(error, HF_ENOMEM, "no memory for the service");
    hello->host = host;
    hello->options = configuration;
    hello->http = (const hf_http_interface *)host->query(host, HF_HTTP_INTERFACE);
    if (hello->http)
        result = hello->http->route(host, &route, hello, error);
    else
        result = hf_error_set(error, HF_EUNSUPPORTED, "this process has no HTTP server");
    if (result != HF_OK) {
        host->free(host, hello);
        return result;
    }
    *ret_self = hello;
    return HF_OK;
}

static void destroy(void *self)
{
    struct hello *hello = self;

    if (hello)
        hello->host->free(hello->host, hello);
}

static const hf_service service = {
    .head = HF_HEAD(hf_service),
    .create = create,
    .destroy = destroy,
};

static const hf_provide provide = {
    .size = sizeof(hf_provide),
    .kind = "service",
    .name = "hello",
    .summary = "Says hello over HTTP.",
    .interface = {.service = &service},
    .options = HF_TABLE(options),
    .configuration_size = sizeof(struct hello_options),
};

static const hf_provide *const provides[] = {&provide};

static const hf_plugin plugin = {
    .size = sizeof(hf_plugin),
    .interface_major = HF_INTERFACE_MAJOR,
    .interface_minor = HF_INTERFACE_MINOR,
    .provide_count = 1,
    .id = "org.example.service.hello",
    .version = "1.0.0",
    .summary = "A template for services.",
    .licence = "Apache-2.0",
    .provides = provides,
};

HF_EXPORT const hf_plugin *hf_plugin_v1(void)
{
    return &plugin;
}
