/* What the types of the core's options cannot say; see settings.h. */
#include "daemon/settings.h"

#include <arpa/inet.h>
#include <holdfast/lib/url.h>
#include <stdio.h>
#include <string.h>

enum { PATH_SIZE = 256 };

static void check_members(const hf_config_generation *generation, hf_config_problems *problems)
{
    const hf_groups *members = &hf_settings_cluster(generation)->members;
    const hf_member_settings *items = members->items;
    const char *name = hf_settings_node(generation)->name;

    if (!members->count)
        return;
    for (uint64_t i = 0; i < members->count; i++)
        if (strcmp(items[i].name, name) == 0)
            return;
    hf_config_generation_problem(generation, "cluster.members",
                                 "this node's name is not among cluster.members; expected it there", problems);
}

/* The process before `index` that runs the service, too, or NULL. */
static const char *runs_already(const hf_process_entry *items, uint64_t index, const char *service)
{
    for (uint64_t i = 0; i < index; i++)
        for (uint64_t k = 0; k < items[i].services.count; k++)
            if (strcmp(items[i].services.items[k], service) == 0)
                return items[i].name;
    return NULL;
}

/* Two instances of a service would share one folder of the state directory. */
static void check_services(const hf_config_generation *generation, hf_config_problems *problems)
{
    const hf_groups *entries = &hf_settings_processes(generation)->entries;
    const hf_process_entry *items = entries->items;
    char sentence[HF_ERROR_MESSAGE_SIZE], path[PATH_SIZE];

    for (uint64_t i = 0; i < entries->count; i++)
        for (uint64_t k = 0; k < items[i].services.count; k++) {
            const char *service = items[i].services.items[k], *other = runs_already(items, i, service);
            if (!other)
                continue;
            snprintf(path, sizeof path, "processes.run.%s.services", items[i].name);
            snprintf(sentence, sizeof sentence, "service '%s' runs in process '%s' already; expected it in one only",
                     service, other);
            hf_config_generation_problem(generation, path, sentence, problems);
        }
}

static void check_processes(const hf_config_generation *generation, hf_config_problems *problems)
{
    const hf_groups *entries = &hf_settings_processes(generation)->entries;
    const hf_process_entry *items = entries->items;
    uint64_t with_peers = 0;

    for (uint64_t i = 0; i < entries->count; i++)
        with_peers += items[i].peers != 0;
    if (!entries->count)
        hf_config_generation_problem(generation, "processes",
                                     "processes.run has no entry; expected at least one process", problems);
    if (with_peers > 1)
        hf_config_generation_problem(generation, "processes.run",
                                     "several processes have peers = true; expected exactly one", problems);
    if (entries->count && !with_peers && hf_settings_cluster(generation)->members.count > 1)
        hf_config_generation_problem(generation, "processes.run",
                                     "no process has peers = true; expected exactly one in a cluster", problems);
}

/* ---- Addresses --------------------------------------------------------------------------------------------------- */

int hf_settings_loopback(const char *address)
{
    char host[256], port[16];
    struct in_addr v4;

    if (strncmp(address, "unix:", 5) == 0)
        return 1;
    if (hf_url_split_address(address, host, sizeof host, port, sizeof port, NULL) != 0)
        return 0;
    if (strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0)
        return 1;
    return inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

static void check_address(const hf_config_generation *generation, hf_config_problems *problems,
                          const hf_process_entry *entry, const char *path)
{
    const char *colon = strrchr(entry->listen, ':');
    char sentence[HF_ERROR_MESSAGE_SIZE];

    if (colon && strncmp(entry->listen, "unix:", 5) != 0 && strspn(colon + 1, "0") == strlen(colon + 1)) {
        snprintf(sentence, sizeof sentence, "'%s' is \"%s\", expected a port from 1 to 65535", path, entry->listen);
        hf_config_generation_problem(generation, path, sentence, problems);
    }
    if (hf_settings_loopback(entry->listen) || hf_settings_tokens(generation)->count ||
        hf_settings_anonymous_given(generation))
        return;
    snprintf(sentence, sizeof sentence,
             "'%s' is \"%s\", which others can reach, and there are no tokens; expected a loopback address, tokens, or "
             "http.anonymous",
             path, entry->listen);
    hf_config_generation_problem(generation, path, sentence, problems);
}

static void check_listen(const hf_config_generation *generation, hf_config_problems *problems)
{
    const hf_groups *entries = &hf_settings_processes(generation)->entries;
    const hf_process_entry *items = entries->items;
    char sentence[HF_ERROR_MESSAGE_SIZE], path[PATH_SIZE];

    for (uint64_t i = 0; i < entries->count; i++) {
        snprintf(path, sizeof path, "processes.run.%s.listen", items[i].name);
        check_address(generation, problems, &items[i], path);
        for (uint64_t k = 0; k < i; k++) {
            if (strcmp(items[i].listen, items[k].listen) != 0)
                continue;
            snprintf(sentence, sizeof sentence,
                     "'%s' is \"%s\", where process '%s' listens already; expected an address for each", path,
                     items[i].listen, items[k].name);
            hf_config_generation_problem(generation, path, sentence, problems);
            break;
        }
    }
}

/* ---- Tokens ------------------------------------------------------------------------------------------------------ */

static int hexadecimal(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int hf_settings_digest(const char *text, uint8_t digest[HF_TOKEN_DIGEST_SIZE])
{
    if (strlen(text) != 2 * HF_TOKEN_DIGEST_SIZE)
        return 0;
    for (int i = 0; i < HF_TOKEN_DIGEST_SIZE; i++) {
        int high = hexadecimal(text[2 * i]), low = hexadecimal(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return 0;
        digest[i] = (uint8_t)(high * 16 + low);
    }
    return 1;
}

/* The name of an earlier token with the same digest, or NULL. */
static const char *same_digest(const hf_token_settings *items, uint64_t index,
                               const uint8_t digest[HF_TOKEN_DIGEST_SIZE])
{
    uint8_t other[HF_TOKEN_DIGEST_SIZE];

    for (uint64_t i = 0; i < index; i++)
        if (hf_settings_digest(items[i].sha256, other) && memcmp(digest, other, sizeof other) == 0)
            return items[i].name;
    return NULL;
}

static void check_token(const hf_config_generation *generation, hf_config_problems *problems,
                        const hf_token_settings *items, uint64_t index)
{
    const hf_token_settings *token = &items[index];
    char sentence[HF_ERROR_MESSAGE_SIZE] = "", path[PATH_SIZE];
    uint8_t digest[HF_TOKEN_DIGEST_SIZE];

    snprintf(path, sizeof path, "tokens.%s.sha256", token->name);
    if (!hf_settings_digest(token->sha256, digest)) {
        snprintf(sentence, sizeof sentence, "'%s' is ***, expected the 64 hexadecimal digits of a SHA-256", path);
    } else {
        const char *same = same_digest(items, index, digest);
        if (same)
            snprintf(sentence, sizeof sentence, "'%s' is the same as that of '%s', expected a token for each", path,
                     same);
    }
    if (*sentence)
        hf_config_generation_problem(generation, path, sentence, problems);
    if (token->tables.count && token->role >= HF_ROLE_OPERATOR) {
        snprintf(path, sizeof path, "tokens.%s.tables", token->name);
        snprintf(sentence, sizeof sentence, "'%s' cannot confine this role, expected it with a reader or writer only",
                 path);
        hf_config_generation_problem(generation, path, sentence, problems);
    }
}

static void check_tokens(const hf_config_generation *generation, hf_config_problems *problems)
{
    const hf_groups *tokens = hf_settings_tokens(generation);

    for (uint64_t i = 0; i < tokens->count; i++)
        check_token(generation, problems, tokens->items, i);
}

void hf_settings_check(const hf_config_generation *generation, hf_config_problems *problems)
{
    check_members(generation, problems);
    check_processes(generation, problems);
    check_services(generation, problems);
    check_listen(generation, problems);
    check_tokens(generation, problems);
}
