/* Commands that make secrets, on this machine alone: certificates and tokens. */
#include "authority.h"

#include "cli/cli.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

enum { AUTHORITY_DAYS = 3650, NODE_DAYS = 825, NAMES_MAX = 16 };

static int read_days(const cli_run *cli, uint32_t usual, uint32_t *ret_days)
{
    const char *text = cli_option(cli, "days");
    unsigned long days = text ? strtoul(text, NULL, 10) : usual;

    if (days < 1 || days > 36500) {
        fprintf(stderr, "holdfast: '%s' is not a number of days; expected 1 to 36500\n", text);
        return CLI_USAGE;
    }
    *ret_days = (uint32_t)days;
    return CLI_OK;
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
        printf("made %s/ca.crt and %s/ca.key; keep the key off the nodes\n", directory, directory);
    return result;
}

int cli_ca_issue(cli_run *cli)
{
    const char *directory = cli->arguments[0], *node = cli->arguments[1], *names[NAMES_MAX + 1] = {NULL};
    hf_error error = {0};
    uint32_t days = 0, count = 0;
    int result = read_days(cli, NODE_DAYS, &days);

    for (uint32_t i = 0; i < cli->option_count && count < NAMES_MAX; i++)
        if (strncmp(cli->options[i].name, "name", 4) == 0)
            names[count++] = cli->options[i].value;
    if (result == CLI_OK)
        result = report(hf_authority_issue(directory, node, names, days, cli_option(cli, "replace") != NULL, &error),
                        &error);
    if (result == CLI_OK)
        printf("made %s/%s.crt and %s/%s.key; the node also needs %s/ca.crt\n", directory, node, directory, node,
               directory);
    return result;
}

/* ---- Tokens
 * -------------------------------------------------------------------------------------------------------------- */

enum { TOKEN_BYTES = 32 };

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

static void print_tables(const char *tables)
{
    printf(" tables = [ ");
    for (const char *at = tables; *at;) {
        size_t size = strcspn(at, ",");
        printf("%s\"%.*s\"", at == tables ? "" : ", ", (int)size, at);
        at += size + (at[size] == ',');
    }
    printf(" ];");
}

int cli_token_create(cli_run *cli)
{
    static const char *const roles[] = {"reader", "writer", "operator", "admin"};
    const char *role = cli_option(cli, "role"), *tables = cli_option(cli, "tables");
    uint8_t bytes[TOKEN_BYTES], digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    char token[64] = "hf_";
    int known = 0;

    for (int i = 0; role && i < 4; i++)
        known |= strcmp(role, roles[i]) == 0;
    if (!known || strpbrk(cli->arguments[0], "\"\\ ;{}") || (tables && strpbrk(tables, "\"\\"))) {
        fprintf(stderr,
                "holdfast: expected a name of letters and digits, and --role reader, writer, operator or admin\n");
        return CLI_USAGE;
    }
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return fprintf(stderr, "holdfast: no random numbers: %s\n", strerror(errno)), CLI_FAILED;
    encode(bytes, sizeof bytes, token + 3);
    if (EVP_Digest(token, strlen(token), digest, &size, EVP_sha256(), NULL) != 1)
        return fprintf(stderr, "holdfast: SHA-256 is not available\n"), CLI_FAILED;
    if (!cli->json) {
        printf("token (shown only now): %s\n\nAdd to the configuration of every node, and reload it:\ntokens: {\n  %s: "
               "{ sha256 = \"",
               token, cli->arguments[0]);
    } else {
        printf("{\"name\":\"%s\",\"role\":\"%s\",\"token\":\"%s\",\"sha256\":\"", cli->arguments[0], role, token);
    }
    for (unsigned i = 0; i < size; i++)
        printf("%02x", digest[i]);
    if (cli->json) {
        printf("\"}\n");
        return CLI_OK;
    }
    printf("\"; role = \"%s\";", role);
    if (tables)
        print_tables(tables);
    printf(" };\n};\n");
    return CLI_OK;
}
