/* cli/cli.h: the `holdfast` command: its global options, its commands as a table, and what they share. */
#ifndef HOLDFAST_CORE_CLI_CLI_H
#define HOLDFAST_CORE_CLI_CLI_H

#include <holdfast/lib/arena.h>
#include <holdfast/lib/buffer.h>
#include <holdfast/lib/json.h>

enum {
    CLI_NODES_MAX = 32,
    CLI_ARGUMENTS_MAX = 64,
    CLI_OPTIONS_MAX = 32,
    CLI_COMMANDS_MAX = 128,
    CLI_TOKEN_MAX = 256,
    CLI_SECONDS_MAX = 86400,
    CLI_KEY_MAX = 1024, /* bytes of a record's key */
};

/* What the program ends with. */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_NOT_FOUND = 3, CLI_CONFLICT = 4, CLI_UNAVAILABLE = 5 };

typedef struct cli_command cli_command;

/* One run of the program. */
typedef struct cli_run {
    const char *nodes[CLI_NODES_MAX]; /* "host:port" */
    uint32_t node_count;
    uint32_t node; /* the one that answered last */
    const char *token;
    int json;
    uint64_t timeout_s;
    const cli_command *command;
    /* Of the command: what is not an option, and the options that were given. */
    const char *arguments[CLI_ARGUMENTS_MAX];
    uint32_t argument_count;
    struct {
        const char *name; /* the first `length` bytes */
        size_t length;
        const char *value;
    } options[CLI_OPTIONS_MAX];
    uint32_t option_count;
    hf_arena arena; /* lives as long as the run */
} cli_run;

struct cli_command {
    const char *name;     /* "table create": one or two words */
    const char *usage;    /* its arguments and options */
    const char *options;  /* "prefix: start: follow": the names of its options; those with ':' take a value */
    uint32_t least, most; /* arguments */
    const char *summary;
    const char *example;
    int (*run)(cli_run *cli);
};

/* commands.c */
const cli_command *cli_commands(uint32_t *ret_count);

/* arguments.c: fills in everything but `command`'s run.  Returns CLI_OK, or CLI_USAGE after saying what is wrong; a
 * NULL command then or with CLI_OK means: show the help. */
int cli_parse(cli_run *cli, int argc, char **argv);
/* The option's value; "" for one that takes none; NULL: not given. */
const char *cli_option(const cli_run *cli, const char *name);

/* Reads a number between `least` and `most`; CLI_USAGE, after saying so, for anything else. */
int cli_read_number(const char *what, const char *text, uint64_t least, uint64_t most, uint64_t *ret_number);
/* The same for an option; *number stays as it is when the option is not given. */
int cli_number(const cli_run *cli, const char *option, uint64_t least, uint64_t most, uint64_t *number);

/* help.c */
/* 1 for a command, or for the first word of several. */
int cli_is_topic(const char *topic);
/* About a topic, or everything when it is NULL. */
void cli_help(const char *topic);
int cli_completion(cli_run *cli);
int cli_manual(cli_run *cli);

/* client.c */
typedef struct cli_answer {
    long status; /* 0: nobody answered */
    hf_buffer body;
    hf_value document; /* the body, where it is JSON; lies in `arena` */
    hf_arena arena;
} cli_answer;

/* Sends a request to the first node that can be reached, and reads its JSON.  A request that can do no harm twice goes
 * to the next node also when a connection breaks.  `headers` is NULL-terminated and may be NULL; `body` with NULL data:
 * none.  Returns CLI_OK for a 2xx answer, otherwise what the program ends with, after saying why on standard error.
 * The caller ends the answer in any case. */
int cli_request(cli_run *cli, const char *method, const char *path, const char *const *headers, hf_slice body,
                cli_answer *ret_answer);
void cli_answer_done(cli_answer *answer);
/* "Authorization: Bearer ..." into `text` of CLI_HEADER_SIZE bytes; NULL without a token. */
enum { CLI_HEADER_SIZE = CLI_TOKEN_MAX + 32 };
const char *cli_authorization(const cli_run *cli, char *text);
/* What makes it safe to hand any key and any node to libcurl. */
void cli_set_up_curl(void *curl);
/* The same with the body passed on to standard output as it comes. */
int cli_stream(cli_run *cli, const char *path);
/* What an answer means for the program's end. */
int cli_code(long status);
/* Says what a problem document says. */
void cli_complain(const char *what, long status, hf_slice body);

/* table_fields.c: the members "fields" and "other_fields" of a table's declaration, as the options say. */
int cli_write_fields(cli_run *cli, hf_json_writer *writer);

/* output.c */
/* "/v1/tables/" and the like; segments are encoded.  The text lies in the run's arena. */
typedef struct cli_path {
    hf_buffer text;
    int query; /* a question mark was written */
} cli_path;
void cli_path_begin(cli_path *path, const char *text);
void cli_path_segment(cli_path *path, hf_slice segment);
void cli_path_text(cli_path *path, const char *text);
/* Adds name=value when the value is not NULL. */
void cli_path_query(cli_path *path, const char *name, const char *value);
const char *cli_path_end(cli_run *cli, cli_path *path);

/* Appends text with blanks in place of control characters, which a terminal would obey. */
void cli_append_clean(hf_buffer *buffer, hf_slice text);
void cli_print_clean(hf_slice text); /* on standard output */
/* "2026-11-01 10:00:00" in local time.  cli_local_time takes UTC as the nodes write it, and returns it as it is when it
 * is no time. */
enum { CLI_TIME_SIZE = 32 };
void cli_local_ms(int64_t ms, char text[CLI_TIME_SIZE]);
void cli_local_time(hf_slice utc, char text[CLI_TIME_SIZE]);
/* With --json the answer's body as it is; else through `print`, or indented when that is NULL. */
void cli_show(const cli_run *cli, const cli_answer *answer, void (*print)(const hf_value *document));
/* Requests a document and shows it; `body` with NULL data: none. */
int cli_show_path(cli_run *cli, const char *method, const char *path, hf_slice body,
                  void (*print)(const hf_value *document));
/* Items of a list; 0 for anything else, and for NULL. */
uint64_t cli_list_count(const hf_value *list);
/* A table with aligned columns: rows of `columns` texts each. */
typedef struct cli_table {
    uint32_t columns;
    uint64_t count, capacity; /* cells */
    char **cells;
} cli_table;
void cli_table_begin(cli_table *table, uint32_t columns, const char *const *titles);
void cli_table_text(cli_table *table, const char *text);
void cli_table_value(cli_table *table, const hf_value *value); /* NULL: "-" */
void cli_table_rate(cli_table *table, const hf_value *rate);   /* per second; with a tenth when it is small */
/* Appends the aligned lines. */
void cli_table_format(const cli_table *table, hf_buffer *text);
/* Prints and frees it. */
void cli_table_end(cli_table *table);
int cli_out_of_memory(void); /* says so and exits */

/* The commands, by file. */
int cli_status(cli_run *cli);
int cli_node_list(cli_run *cli);
int cli_get(cli_run *cli);
int cli_put(cli_run *cli);
int cli_delete(cli_run *cli);
int cli_scan(cli_run *cli);
int cli_changes(cli_run *cli);
int cli_load(cli_run *cli);
int cli_table_list(cli_run *cli);
int cli_table_show(cli_run *cli);
int cli_table_create(cli_run *cli);
int cli_table_rebalance(cli_run *cli);
int cli_table_split(cli_run *cli);
int cli_table_merge(cli_run *cli);
int cli_node_add(cli_run *cli);
int cli_node_drain(cli_run *cli);
int cli_node_remove(cli_run *cli);
int cli_node_replace(cli_run *cli);
int cli_cluster_recover(cli_run *cli);
int cli_plugin_list(cli_run *cli);
int cli_plugin_show(cli_run *cli);
int cli_policy_list(cli_run *cli);
int cli_policy_reload(cli_run *cli);
int cli_policy_test(cli_run *cli);
int cli_config_check(cli_run *cli);
int cli_config_show(cli_run *cli);
int cli_config_reload(cli_run *cli);
int cli_config_diff(cli_run *cli);
int cli_ca_init(cli_run *cli);
int cli_ca_issue(cli_run *cli);
int cli_token_create(cli_run *cli);
int cli_action_list(cli_run *cli);
int cli_action_run(cli_run *cli);
int cli_upstream_list(cli_run *cli);
int cli_upstream_add(cli_run *cli);
int cli_upstream_set(cli_run *cli);
int cli_upstream_drain(cli_run *cli);
int cli_upstream_undrain(cli_run *cli);
int cli_upstream_remove(cli_run *cli);
int cli_gateway_status(cli_run *cli);
int cli_gateway_top(cli_run *cli);
int cli_signals(cli_run *cli);
int cli_audit(cli_run *cli);
int cli_canary_start(cli_run *cli);
int cli_canary_status(cli_run *cli);
int cli_canary_abort(cli_run *cli);
int cli_cache_list(cli_run *cli);
int cli_cache_purge(cli_run *cli);

#endif
