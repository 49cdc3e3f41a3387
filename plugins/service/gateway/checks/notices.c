#include "checks/notices.h"

#include <stdio.h>
#include <string.h>

enum { TEXT_SIZE = 512 };

static const hf_signal_kind server_down = {
    .size = sizeof(hf_signal_kind),
    .severity = HF_SIGNAL_WARNING,
    .name = "gateway.server_down",
    .doc = "A server gets no requests because its checks fail, requests to it have failed (max_fails), it fails more "
           "often than the others, or its name has no address; over when it gets them again, or is there no more. "
           "Detail: upstream, server, why."};
static const hf_signal_kind breaker_open = {
    .size = sizeof(hf_signal_kind),
    .severity = HF_SIGNAL_WARNING,
    .name = "gateway.breaker_open",
    .doc = "The circuit breaker of an upstream, or of one of its servers, has opened; over when it has closed. Detail: "
           "upstream, server (not for that of the upstream)."};

int32_t gateway_notices_init(struct gateway_notices *notices, const hf_host *host, hf_error *error)
{
    static const hf_signal_kind *const kinds[] = {&server_down, &breaker_open};

    notices->host = host;
    notices->signals = (const hf_signal_interface *)host->query(host, HF_SIGNAL_INTERFACE);
    for (size_t i = 0; notices->signals && i < sizeof kinds / sizeof *kinds; i++) {
        int32_t code = notices->signals->declare(host, kinds[i], error);
        if (code != HF_OK && code != HF_EEXIST) /* another instance has declared it */
            return code;
    }
    return HF_OK;
}

/* ---- Telling ----------------------------------------------------------------------------------------------------- */

static void subject_of(const struct gateway_upstream *upstream, const struct gateway_server *server, char *subject)
{
    snprintf(subject, TEXT_SIZE, "%s%s%s", upstream->name, server ? "/" : "", server ? server->name : "");
}

/* A signal that is lost because too many wait is counted by the host; the log has it in any case. */
static void raise(const struct gateway_notices *notices, const hf_signal_kind *kind,
                  const struct gateway_upstream *upstream, const struct gateway_server *server, const char *why)
{
    hf_value_member members[3] = {{hf_slice_of("upstream"), hf_value_text(upstream->name)}};
    uint64_t count = 1;
    char subject[TEXT_SIZE];

    if (!notices->signals)
        return;
    if (server)
        members[count++] = (hf_value_member){hf_slice_of("server"), hf_value_text(server->name)};
    if (why)
        members[count++] = (hf_value_member){hf_slice_of("why"), hf_value_text(why)};
    hf_value detail = hf_value_map(members, count);
    subject_of(upstream, server, subject);
    (void)notices->signals->raise(notices->host, kind->name, subject, &detail);
}

static void clear(const struct gateway_notices *notices, const hf_signal_kind *kind,
                  const struct gateway_upstream *upstream, const struct gateway_server *server)
{
    char subject[TEXT_SIZE];

    subject_of(upstream, server, subject);
    if (notices->signals)
        (void)notices->signals->clear(notices->host, kind->name, subject);
}

static void say(const struct gateway_notices *notices, int32_t level, const struct gateway_upstream *upstream,
                const struct gateway_server *server, const char *what, const char *why)
{
    char line[TEXT_SIZE];

    snprintf(line, sizeof line, "upstream '%s': %s%s%s%s%s%s", upstream->name, server ? "server '" : "",
             server ? server->name : "", server ? "'" : "", what, why ? ": " : "", why ? why : "");
    notices->host->log(notices->host, level, hf_slice_of(line));
}

static void tell_down(const struct gateway_notices *notices, struct gateway_server *server, const char *why)
{
    const struct gateway_upstream *upstream = server->upstream;

    if (server->told_down == (why != NULL))
        return;
    server->told_down = why != NULL;
    if (why) {
        say(notices, HF_LOG_WARNING, upstream, server, " is down", why);
        raise(notices, &server_down, upstream, server, why);
    } else {
        say(notices, HF_LOG_INFO, upstream, server, " is up", NULL);
        clear(notices, &server_down, upstream, server);
    }
}

static void tell_open(const struct gateway_notices *notices, const struct gateway_upstream *upstream,
                      const struct gateway_server *server, int32_t *told, int32_t is_open)
{
    static const char opened[] = ": the circuit breaker has opened", closed[] = ": the circuit breaker has closed";

    if (*told == is_open)
        return;
    *told = is_open;
    if (is_open) {
        say(notices, HF_LOG_WARNING, upstream, server, server ? opened : opened + 2, NULL);
        raise(notices, &breaker_open, upstream, server, NULL);
    } else {
        say(notices, HF_LOG_INFO, upstream, server, server ? closed : closed + 2, NULL);
        clear(notices, &breaker_open, upstream, server);
    }
}

/* ---- Looking ----------------------------------------------------------------------------------------------------- */

/* Why the server at a place gets no requests, under the lock; NULL: it does, or is not meant to. */
static const char *why_down(const struct gateway_place *place, uint64_t now_us, char *text)
{
    const struct gateway_server *server = place->server;
    const struct gateway_health *health = &server->health;

    if (place->is_draining)
        return NULL;
    if (place->addresses.count == 0)
        return place->is_pending ? NULL : "its name has no address";
    if (health->is_down) {
        snprintf(text, TEXT_SIZE, "%s", server->why);
        return text[0] ? text : NULL; /* empty: it was not checked yet */
    }
    if (place->health.fails_maximum && health->fails >= place->health.fails_maximum)
        return "requests to it have failed";
    return gateway_outlier_is_ejected(&server->outlier, now_us) ? "its requests fail more often than those of others"
                                                                : NULL;
}

static void look_at(const struct gateway_notices *notices, struct gateway_server_set *set, uint32_t i, uint64_t now_us)
{
    const struct gateway_place *place = &set->places[i];
    struct gateway_server *server = place->server;
    char text[TEXT_SIZE];

    pthread_mutex_lock(&set->upstream->lock);
    const char *why = why_down(place, now_us, text);
    int32_t is_open = set->has_server_breaker && server->breaker.state != GATEWAY_BREAKER_CLOSED;
    pthread_mutex_unlock(&set->upstream->lock);
    tell_down(notices, server, why);
    tell_open(notices, set->upstream, server, &server->told_open, is_open);
    set->upstream->is_watched |= why != NULL || is_open;
}

void gateway_notices_look(struct gateway_notices *notices, struct gateway_server_set *set, uint64_t now_us)
{
    struct gateway_upstream *upstream = set->upstream;
    uint64_t changes = atomic_load_explicit(&upstream->changes, memory_order_acquire);

    if (set->has_breaker || upstream->told_open) {
        pthread_mutex_lock(&upstream->lock);
        int32_t is_open = set->has_breaker && upstream->breaker.state != GATEWAY_BREAKER_CLOSED;
        pthread_mutex_unlock(&upstream->lock);
        tell_open(notices, upstream, NULL, &upstream->told_open, is_open);
    }
    if (changes == upstream->told_changes && !upstream->is_watched)
        return;
    upstream->told_changes = changes;
    upstream->is_watched = 0;
    for (uint32_t i = 0; i < set->count; i++)
        look_at(notices, set, i, now_us);
}

static int has(const struct gateway_server_set *set, const struct gateway_server *server)
{
    for (uint32_t i = 0; set && i < set->count; i++)
        if (set->places[i].server == server)
            return 1;
    return 0;
}

void gateway_notices_follow(struct gateway_notices *notices, const struct gateway_server_set *before,
                            const struct gateway_server_set *set)
{
    for (uint32_t i = 0; before && i < before->count; i++) {
        struct gateway_server *server = before->places[i].server;

        if ((!server->told_down && !server->told_open) || has(set, server))
            continue;
        if (server->told_down)
            clear(notices, &server_down, before->upstream, server);
        if (server->told_open)
            clear(notices, &breaker_open, before->upstream, server);
        server->told_down = server->told_open = 0;
    }
    if (before && !set && before->upstream->told_open) {
        clear(notices, &breaker_open, before->upstream, NULL);
        before->upstream->told_open = 0;
    }
    if (set)
        set->upstream->is_watched = 1; /* looks once more: places may say otherwise */
}
