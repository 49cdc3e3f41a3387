/* The routes, and the life of the HTTP interface. */
#include "http/private.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>

#define RECORD "/v1/tables/{table}/records/{key}"

static int32_t add_routes(struct store_http *http, hf_error *error)
{
    const uint64_t body = http->options.body_maximum, small = 1 << 20;
    const hf_http_route routes[] = {
        {sizeof(hf_http_route), HF_HTTP_WRITE, "PUT", RECORD, body, "Writes a record.", store_http_put},
        {sizeof(hf_http_route), HF_HTTP_READ, "GET", RECORD, 0, "Reads a record.", store_http_get},
        {sizeof(hf_http_route), HF_HTTP_WRITE, "DELETE", RECORD, 0, "Removes a record.", store_http_delete},
        {sizeof(hf_http_route), HF_HTTP_READ, "GET", "/v1/tables/{table}/records", 0, "Lists records.",
         store_http_scan},
        {sizeof(hf_http_route), HF_HTTP_WRITE, "POST", "/v1/tables/{table}/batch", body,
         "Writes several records, all or nothing.", store_http_batch},
        {sizeof(hf_http_route), HF_HTTP_WRITE, "POST", "/v1/transactions", STORE_HTTP_TRANSACTION_MAX,
         "Writes records of several partitions and tables, all or nothing.", store_http_transaction},
        {sizeof(hf_http_route), HF_HTTP_READ, "GET", "/v1/tables/{table}/changes", 0, "The change feed.",
         store_http_changes},
        {sizeof(hf_http_route), HF_HTTP_READ, "GET", "/v1/tables", 0, "Lists the tables.", store_http_tables},
        {sizeof(hf_http_route), HF_HTTP_READ, "GET", "/v1/tables/{table}", 0, "Shows a table.", store_http_table},
        {sizeof(hf_http_route), HF_HTTP_ADMIN, "PUT", "/v1/tables/{table}", small, "Makes a table.",
         store_http_create_table},
        {sizeof(hf_http_route), HF_HTTP_READ, "GET", "/v1/tables/{table}/partitions", 0, "Where a table is.",
         store_http_partitions},
        {sizeof(hf_http_route), HF_HTTP_ADMIN, "POST", "/v1/tables/{table}/partitions/{id}/leader", small,
         "Hands leadership over.", store_http_leader},
        {sizeof routes[0], HF_HTTP_ADMIN, "POST", "/v1/tables/{table}/partitions/{id}/split", 4096,
         "Splits a partition in the middle.", store_http_split},
        {sizeof routes[0], HF_HTTP_ADMIN, "POST", "/v1/tables/{table}/partitions/{id}/merge", 4096,
         "Merges a partition with its upper neighbour.", store_http_merge},
        {sizeof(hf_http_route), HF_HTTP_ADMIN, "POST", "/v1/nodes/{node}/{action}", small,
         "Adds, drains, removes or replaces a node.", store_http_node},
        {sizeof(hf_http_route), HF_HTTP_READ, "GET", "/v1/plan", 0, "What would move between nodes.", store_http_plan},
        {sizeof(hf_http_route), HF_HTTP_ADMIN, "GET", "/v1/recovery", 0,
         "What would bring back a cluster that lost its majority for good.", store_http_recovery_plan},
        {sizeof(hf_http_route), HF_HTTP_ADMIN, "POST", "/v1/recovery", STORE_HTTP_RECOVERY_MAX,
         "Carries out such a plan; what only the lost nodes had is lost.", store_http_recover},
        {sizeof(hf_http_route), HF_HTTP_READ, "GET", "/v1/cluster", 0, "The cluster's health.", store_http_cluster},
    };

    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        int32_t result = http->http->route(http->host, &routes[i], http, error);

        if (result != HF_OK)
            return result;
    }
    return HF_OK;
}

static int32_t add_metrics(struct store_http *http, hf_error *error)
{
    static const char *const kinds[STORE_HTTP_KINDS] = {"write", "get", "scan", "changes", "other"};
    static const char *const endings[STORE_HTTP_ENDINGS] = {"slow", "gone"};
    int32_t result = HF_OK;

    for (int i = 0; i < STORE_HTTP_KINDS && result == HF_OK; i++) {
        const char *const label[1][2] = {{"operation", kinds[i]}};

        result = http->metrics->add(http->host, HF_METRIC_COUNTER, "holdfast_store_requests_total", "Requests answered",
                                    label, 1, &http->requests[i], error);
        if (result == HF_OK)
            result = http->metrics->add(http->host, HF_METRIC_COUNTER, "holdfast_store_request_microseconds_total",
                                        "Time that requests took", label, 1, &http->microseconds[i], error);
    }
    for (int i = 0; i < STORE_HTTP_ENDINGS && result == HF_OK; i++) {
        const char *const label[1][2] = {{"reason", endings[i]}};

        result = http->metrics->add(http->host, HF_METRIC_COUNTER, "holdfast_store_changes_ended_total",
                                    "Streams of changes that this node ended", label, 1, &http->ended[i], error);
    }
    if (result == HF_OK)
        result = http->metrics->add(http->host, HF_METRIC_GAUGE, "holdfast_store_changes_streams",
                                    "Open streams of changes", NULL, 0, &http->streams, error);
    return result;
}

int32_t store_http_create(struct store_service *service, const struct store_http_options *options,
                          struct store_http **ret_http, hf_error *error)
{
    const hf_host *host = store_service_host(service);
    struct store_http *http = calloc(1, sizeof *http);
    int32_t result;

    if (!http)
        return hf_error_set(error, HF_ENOMEM, "no memory for the store's HTTP interface");
    http->service = service;
    http->options = *options;
    http->host = host;
    http->http = (const hf_http_interface *)host->query(host, HF_HTTP_INTERFACE);
    http->loops = (const hf_loop_interface *)host->query(host, HF_LOOP_INTERFACE);
    http->metrics = (const hf_metrics_interface *)host->query(host, HF_METRICS_INTERFACE);
    pthread_mutex_init(&http->lock, NULL);
    if (!http->http || !http->loops || !http->metrics)
        result = hf_error_set(error, HF_EUNSUPPORTED, "the host offers no HTTP server, which the store needs");
    else
        result = add_routes(http, error);
    if (result == HF_OK)
        result = add_metrics(http, error);
    if (result != HF_OK) {
        store_http_destroy(http);
        return result;
    }
    *ret_http = http;
    return HF_OK;
}

void store_http_drain(struct store_http *http)
{
    store_http_end_streams(http);
}

void store_http_destroy(struct store_http *http)
{
    if (!http)
        return;
    pthread_mutex_destroy(&http->lock);
    free(http);
}
