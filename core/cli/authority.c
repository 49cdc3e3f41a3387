/* Commands that make secrets, on this machine alone: certificates and tokens. */
#include "authority.h"

#include "cli/cli.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

enum { AUTHORITY_DAYS = 3650, NODE_DAYS = 825, NAMES_MAX = 16 };

static int read_days(const cli_run *cli, uint32_t usual, uint32_t *ret_days)
{
    uint64_t days = usual;
    int result = cli_number(cli, "days", 1, 36500, &days);

    *ret_days = (uint32_t)days;
    return result;
}

/* Says what was made: `text` for people, or the files as JSON. */
static void tell(const cli_run *cli, const char *certificate, const char *key, const char *text)
{
    hf_buffer body;
    hf_json_writer writer;

    if (!cli->json) {
        printf("made %s and %s; %s\n", certificate, key, text);
        return;
    }
    hf_buffer_init(&body, 1 << 16);
    hf_json_writer_init(&writer, &body);
    hf_json_begin_object(&writer);
    hf_json_member_text(&writer, "certificate", certificate);
    hf_json_member_text(&writer, "key", key);
    hf_json_end_object(&writer);
    if (writer.result)
        cli_out_of_memory();
    printf("%.*s\n", (int)body.size, (const char *)body.data);
    hf_buffer_done(&body);
}

/* DIRECTORY/NAME.crt and .key. */
static void tell_files(const cli_run *cli, const char *name, const char *text)
{
    char certificate[4400], key[4400];

    snprintf(certificate, sizeof certificate, "%s/%s.crt", cli->arguments[0], name);
    snprintf(key, sizeof key, "%s/%s.key", cli->arguments[0], name);
    tell(cli, certificate, key, text);
}

static int report(int32_t result, const hf_error *error)
{
    if (result == 0)
        return CLI_OK;
    fprintf(stderr, "holdfast: %s\n", error->message);
    return result == HF_EEXIST ? CLI_CONFLICT : CLI_FAILED;
}

int cli_ca_init(cli_run *cli)
{
    const char *directory = cli->arguments[0], *cluster = cli_option(cli, "cluster");
    hf_error error = {0};
    uint32_t days = 0;
    int result = read_days(cli, AUTHORITY_DAYS, &days);

    if (result != CLI_OK)
        return result;
    if (!cluster) {
        fprintf(stderr, "holdfast: --cluster is missing: the name that cluster.name has in the configuration\n");
        return CLI_USAGE;
    }
    if (mkdir(directory, 0700) != 0 && errno != EEXIST) {
        fprintf(stderr, "holdfast: cannot make the folder '%s': %s\n", directory, strerror(errno));
        return CLI_FAILED;
    }
    result = report(hf_authority_create(directory, cluster, days, &error), &error);
    if (result == CLI_OK)
        tell_files(cli, "ca", "keep the key off the nodes");
    return result;
}

/* The values of --name, NULL-terminated. */
static int read_names(const cli_run *cli, const char *names[NAMES_MAX + 1])
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < cli->option_count; i++) {
        if (cli->options[i].length != 4 || memcmp(cli->options[i].name, "name", 4) != 0)
            continue;
        if (count == NAMES_MAX) {
            fprintf(stderr, "holdfast: more than %d times --name\n", NAMES_MAX);
            return CLI_USAGE;
        }
        names[count++] = cli->options[i].value;
    }
    names[count] = NULL;
    return CLI_OK;
}

int cli_ca_issue(cli_run *cli)
{
    const char *directory = cli->arguments[0], *node = cli->arguments[1], *names[NAMES_MAX + 1] = {NULL};
    hf_error error = {0};
    uint32_t days = 0;
    int result = read_days(cli, NODE_DAYS, &days);

    if (result == CLI_OK)
        result = read_names(cli, names);
    if (result == CLI_OK)
        result = report(hf_authority_issue(directory, node, names, days, cli_option(cli, "replace") != NULL, &error),
                        &error);
    if (result == CLI_OK)
        tell_files(cli, node, "the node needs ca.crt too");
    return result;
}

/* ---- Tokens ------------------------------------------------------------------------------------------------------ */

enum { TOKEN_BYTES = 32, NAME_MAX_SIZE = 64 };

/* RFC 4648, section 5, without padding. */
static void encode(const uint8_t *bytes, size_t size, char *text)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t bits = 0, count = 0;

    for (size_t i = 0; i < size; i++) {
        bits = bits << 8 | bytes[i];
        for (count += 8; count >= 6; count -= 6)
            *text++ = letters[bits >> (count - 6) & 63];
    }
    if (count)
        *text++ = letters[bits << (6 - count) & 63];
    *text = '\0';
}

struct token {
    const char *name, *role, *tables; /* tables: NULL for all */
    char text[64];
    char sha256[2 * EVP_MAX_MD_SIZE + 1];
};

/* A name that libconfig takes for a group. */
static int is_name(const char *text, size_t size)
{
    static const char rest[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

    return size > 0 && size <= NAME_MAX_SIZE && strspn(text, rest) >= size && strchr(rest + 52, text[0]) == NULL;
}

static int check_token(const struct token *token)
{
    static const char *const roles[] = {"reader", "writer", "operator", "admin"};
    int known = 0, good = is_name(token->name, strlen(token->name));

    for (int i = 0; token->role && i < 4; i++)
        known |= strcmp(token->role, roles[i]) == 0;
    if (!known || !good) {
        fprintf(stderr, "holdfast: expected a name that begins with a letter and has letters, digits, '-' and '_', and "
                        "--role reader, writer, operator or admin\n");
        return CLI_USAGE;
    }
    for (const char *at = token->tables; at;) {
        size_t size = strcspn(at, ",");
        if (!is_name(at, size)) {
            fprintf(stderr, "holdfast: '%s' are not names of tables; expected A,B,...\n", token->tables);
            return CLI_USAGE;
        }
        at = at[size] ? at + size + 1 : NULL;
    }
    return CLI_OK;
}

static int make_token(struct token *token)
{
    uint8_t bytes[TOKEN_BYTES], digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;

    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) {
        fprintf(stderr, "holdfast: no random numbers: %s\n", strerror(errno));
        return CLI_FAILED;
    }
    memcpy(token->text, "hf_", 3);
    encode(bytes, sizeof bytes, token->text + 3);
    if (EVP_Digest(token->text, strlen(token->text), digest, &size, EVP_sha256(), NULL) != 1) {
        fprintf(stderr, "holdfast: SHA-256 is not available\n");
        return CLI_FAILED;
    }
    for (unsigned i = 0; i < size; i++)
        snprintf(token->sha256 + 2 * i, 3, "%02x", digest[i]);
    return CLI_OK;
}

/* The tables between quotes. */
static void print_tables(const char *tables, const char *separator)
{
    for (const char *at = tables; at;) {
        size_t size = strcspn(at, ",");
        printf("%s\"%.*s\"", at == tables ? "" : separator, (int)size, at);
        at = at[size] ? at + size + 1 : NULL;
    }
}

/* Everything printed was checked to need no escapes. */
static void print_token(const struct token *token, int json)
{
    if (json) {
        printf("{\"name\":\"%s\",\"role\":\"%s\",\"tables\":[", token->name, token->role);
        print_tables(token->tables, ",");
        printf("],\"token\":\"%s\",\"sha256\":\"%s\"}\n", token->text, token->sha256);
        return;
    }
    printf("token (shown only now): %s\n\nAdd to the configuration of every node, and reload it:\n", token->text);
    printf("tokens: {\n  %s: { sha256 = \"%s\"; role = \"%s\";", token->name, token->sha256, token->role);
    if (token->tables) {
        printf(" tables = [ ");
        print_tables(token->tables, ", ");
        printf(" ];");
    }
    printf(" };\n};\n");
}

int cli_token_create(cli_run *cli)
{
    struct token token = {
        .name = cli->arguments[0], .role = cli_option(cli, "role"), .tables = cli_option(cli, "tables")};
    int result = check_token(&token);

    if (result == CLI_OK)
        result = make_token(&token);
    if (result == CLI_OK)
        print_token(&token, cli->json);
    OPENSSL_cleanse(&token, sizeof token);
    return result;
}
