/* holdfast.h: the root of the plugin interface.
 *
 * A plugin is a shared object that exports one symbol, hf_plugin_v1.  It returns static data that says what the
 * plugin is and what it provides; the host reads it, validates the configuration against the declared options, and
 * calls through the function tables of each kind (kind/KIND.h).  The plugin calls the host through the tables of
 * host/NAME.h, which it asks for by name.
 *
 * Rules of the border: fixed-width integers, int32_t for enumerations, sizes in bytes and times in microseconds or
 * with the unit in the name, slices {data, size}.  Every function table begins with an hf_head.  Tables only grow at
 * their end; a change of meaning is a new name.
 *
 * Thread tags: [main] the process's main loop; [loop] the instance's own loop, never concurrently; [pool] a
 * background thread; [any] thread-safe.
 *
 * Changes
 *   1.0  first version
 */
#ifndef HOLDFAST_HOLDFAST_H
#define HOLDFAST_HOLDFAST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HF_INTERFACE_MAJOR 1
#define HF_INTERFACE_MINOR 0

#if defined(__GNUC__)
#define HF_EXPORT                               __attribute__((visibility("default")))
#define HF_PRINTF(format_index, first_argument) __attribute__((format(printf, format_index, first_argument)))
#else
#define HF_EXPORT
#define HF_PRINTF(format_index, first_argument)
#endif

/* Bytes that somebody else owns; whoever hands out a slice says until when it is valid. */
typedef struct hf_slice {
    const uint8_t *data; /* may be NULL when size is 0 */
    uint64_t size;       /* bytes */
} hf_slice;

/* ---- Errors -------------------------------------------------------------------------------------------------- */

/* Functions that can fail return 0 or one of these.  The values never change. */
enum {
    HF_OK = 0,
    HF_EINVAL = -1,        /* the caller's input is wrong; a retry cannot help */
    HF_ENOMEM = -2,        /* out of memory, or of a declared budget */
    HF_ENOTFOUND = -3,     /* what was asked for does not exist */
    HF_EEXIST = -4,        /* it exists already */
    HF_ECONFLICT = -5,     /* the condition (a version, an idempotency key) did not hold */
    HF_EBUSY = -6,         /* overloaded; retry after hf_error.retry_after_ms */
    HF_ENOTLEADER = -7,    /* another node must be asked */
    HF_ETIMEOUT = -8,      /* the deadline passed; the outcome may be unknown */
    HF_EIO = -9,           /* a disk or a network failed; the message has the system's words */
    HF_ECORRUPT = -10,     /* stored or received bytes are damaged */
    HF_EPROTOCOL = -11,    /* a peer broke the protocol */
    HF_ETOOLARGE = -12,    /* over a declared limit */
    HF_EDENIED = -13,      /* not allowed */
    HF_EUNSUPPORTED = -14, /* not offered by this plugin, host or build */
    HF_ESTATE = -15,       /* not possible in the present state */
    HF_ECLOSED = -16,      /* closed or shutting down */
    HF_EPOLICY = -17,      /* a Lua policy failed or overran its budget */
    HF_EVERSION = -18,     /* interface or format versions do not fit */
    HF_EMOVED = -19        /* it is elsewhere now; look up where, and ask there */
};

/* Whether trying again can help. */
enum { HF_RETRY_NO = 0, HF_RETRY_LATER = 1, HF_RETRY_ELSEWHERE = 2 };

#define HF_ERROR_MESSAGE_SIZE 480

/* The caller's storage for a failure's details.  Functions that take one accept NULL and leave it untouched on
 * success. */
typedef struct hf_error {
    int32_t code;                        /* HF_E... */
    int32_t retry;                       /* HF_RETRY_... */
    uint64_t retry_after_ms;             /* with HF_RETRY_LATER; 0: the caller chooses */
    char message[HF_ERROR_MESSAGE_SIZE]; /* one sentence: cause, what was expected, what to do; UTF-8, no newline */
} hf_error;

/* ---- Interfaces ---------------------------------------------------------------------------------------------- */

/* Head of every function table.  A reader looks only at the first `size` bytes and treats the rest as NULL. */
typedef struct hf_head {
    uint32_t size;  /* of the whole table, as its builder knew it, in bytes */
    uint16_t major; /* of the interface it was built against */
    uint16_t minor;
    uint64_t capabilities; /* bits declared by the kind */
} hf_head;

#define HF_HEAD(type)                                                                                                  \
    {                                                                                                                  \
        (uint32_t)sizeof(type), HF_INTERFACE_MAJOR, HF_INTERFACE_MINOR, 0                                              \
    }

/* ---- Declared options ---------------------------------------------------------------------------------------- */

/* Types of options, and the type of the field that each is stored in. */
enum {
    HF_OPTION_BOOLEAN = 1,    /* int32_t 0 or 1         true, false */
    HF_OPTION_INTEGER = 2,    /* int64_t                42 */
    HF_OPTION_FLOAT = 3,      /* double                 0.5 */
    HF_OPTION_STRING = 4,     /* const char *           "text" */
    HF_OPTION_SIZE = 5,       /* uint64_t, bytes        "64MiB" or 67108864 */
    HF_OPTION_DURATION = 6,   /* uint64_t, microseconds "300ms", "10s", "1h" */
    HF_OPTION_CHOICE = 7,     /* int32_t, index into `choices` */
    HF_OPTION_STRINGS = 8,    /* hf_strings             [ "a", "b" ] */
    HF_OPTION_GROUP = 9,      /* struct                 name: { ... }, described by `members` */
    HF_OPTION_GROUPS = 10,    /* hf_groups              name: { a: { ... }; b: { ... }; } */
    HF_OPTION_PATH = 11,      /* const char *           made absolute, relative to the file that holds it */
    HF_OPTION_ADDRESS = 12,   /* const char *           "host:port", "[v6]:port" or "unix:PATH" */
    HF_OPTION_CAPABILITY = 13 /* hf_capability_choice "ketama", or name: { name = "ketama"; points = 100; } */
};

enum {
    HF_OPTION_REQUIRED = 1,   /* has no default: the user must give it */
    HF_OPTION_RELOADABLE = 2, /* a reload applies it; otherwise it needs a restart */
    HF_OPTION_SECRET = 4      /* never printed */
};

typedef struct hf_strings {
    uint64_t count;
    const char *const *items;
} hf_strings;

/* `items` points to `count` structs of the option's item_size; the first field of each is its name, const char *. */
typedef struct hf_groups {
    uint64_t count;
    void *items;
} hf_groups;

/* One capability of the option's kind, with a configuration of its own for every option that chooses it; for
 * hf_node_interface.capability_chosen (host/node.h).
 *
 * The document has its name, or a group: the member `name` says which (none: the default), the others are options of
 * that capability.  What is not given there is as in the capability's own section, if the document has one, or else has
 * its default; required options must be given in either place.  (An option that is itself called `name` can only be
 * given in the section.)  HF_OPTION_RELOADABLE of the option counts for all that is chosen with it.
 *
 * `configuration` is NULL when none is chosen, and when the document leaves the group out whose default no enabled
 * plugin provides. */
typedef struct hf_capability_choice {
    const char *name;          /* "ketama"; "": none, because there is no default and it was left out */
    const void *configuration; /* of its options, filled and checked, for its `create` */
} hf_capability_choice;

typedef struct hf_option hf_option;

typedef struct hf_option_table {
    const hf_option *rows;
    uint32_t row_size; /* bytes, so that rows can grow */
    uint32_t count;
} hf_option_table;

/* One option: parser, default, validation and documentation in a row. */
struct hf_option {
    const char *name; /* lower case, words joined by '_' */
    int32_t type;     /* HF_OPTION_... */
    uint32_t flags;
    uint64_t offset; /* of the field in the configuration struct */
    int64_t minimum; /* integers, sizes (bytes), durations (microseconds); both 0: no limit */
    int64_t maximum;
    double minimum_float; /* floats; both 0: no limit */
    double maximum_float;
    const char *default_text;       /* in the file's syntax, without quotes; NULL: zero, "" or an empty list.
                                       HF_OPTION_CAPABILITY: its name */
    const char *doc;                /* one or two sentences */
    const char *const *choices;     /* HF_OPTION_CHOICE: NULL-terminated */
    const hf_option_table *members; /* HF_OPTION_GROUP and HF_OPTION_GROUPS */
    uint64_t item_size;             /* HF_OPTION_GROUPS: size of one item's struct */
    const char *kind;               /* HF_OPTION_CAPABILITY: "balancer" */
};

/* Any table of rows: HF_TABLE(rows). */
#define HF_TABLE(array)                                                                                                \
    {                                                                                                                  \
        (array), (uint32_t)sizeof((array)[0]), (uint32_t)(sizeof(array) / sizeof((array)[0]))                          \
    }

/* offsetof that refuses a field of another type than the option's. */
#define HF_FIELD(record, field, type) (offsetof(record, field) + 0 * sizeof((&((record *)0)->field) == ((type *)0)))

#define HF_CONFIG_BOOLEAN(key, record, field, ...)                                                                     \
    {                                                                                                                  \
        .name = (key), .type = HF_OPTION_BOOLEAN, .offset = HF_FIELD(record, field, int32_t), __VA_ARGS__              \
    }
#define HF_CONFIG_INTEGER(key, record, field, ...)                                                                     \
    {                                                                                                                  \
        .name = (key), .type = HF_OPTION_INTEGER, .offset = HF_FIELD(record, field, int64_t), __VA_ARGS__              \
    }
#define HF_CONFIG_FLOAT(key, record, field, ...)                                                                       \
    {                                                                                                                  \
        .name = (key), .type = HF_OPTION_FLOAT, .offset = HF_FIELD(record, field, double), __VA_ARGS__                 \
    }
#define HF_CONFIG_STRING(key, record, field, ...)                                                                      \
    {                                                                                                                  \
        .name = (key), .type = HF_OPTION_STRING, .offset = HF_FIELD(record, field, const char *), __VA_ARGS__          \
    }
#define HF_CONFIG_SIZE(key, record, field, ...)                                                                        \
    {                                                                                                                  \
        .name = (key), .type = HF_OPTION_SIZE, .offset = HF_FIELD(record, field, uint64_t), __VA_ARGS__                \
    }
#define HF_CONFIG_DURATION(key, record, field, ...)                                                                    \
    {                                                                                                                  \
        .name = (key), .type = HF_OPTION_DURATION, .offset = HF_FIELD(record, field, uint64_t), __VA_ARGS__            \
    }
#define HF_CONFIG_CHOICE(key, record, field, ...)                                                                      \
    {                                                                                                                  \
        .name = (key), .type = HF_OPTION_CHOICE, .offset = HF_FIELD(record, field, int32_t), __VA_ARGS__               \
    }
#define HF_CONFIG_STRINGS(key, record, field, ...)                                                                     \
    {                                                                                                                  \
        .name = (key), .type = HF_OPTION_STRINGS, .offset = HF_FIELD(record, field, hf_strings), __VA_ARGS__           \
    }
#define HF_CONFIG_GROUP(key, record, field, ...)                                                                       \
    {                                                                                                                  \
        .name = (key), .type = HF_OPTION_GROUP, .offset = offsetof(record, field), __VA_ARGS__                         \
    }
#define HF_CONFIG_GROUPS(key, record, field, item, ...)                                                                \
    {                                                                                                                  \
        .name = (key), .type = HF_OPTION_GROUPS, .offset = HF_FIELD(record, field, hf_groups),                         \
        .item_size = sizeof(item), __VA_ARGS__                                                                         \
    }
#define HF_CONFIG_PATH(key, record, field, ...)                                                                        \
    {                                                                                                                  \
        .name = (key), .type = HF_OPTION_PATH, .offset = HF_FIELD(record, field, const char *), __VA_ARGS__            \
    }
#define HF_CONFIG_ADDRESS(key, record, field, ...)                                                                     \
    {                                                                                                                  \
        .name = (key), .type = HF_OPTION_ADDRESS, .offset = HF_FIELD(record, field, const char *), __VA_ARGS__         \
    }

#define HF_CONFIG_CAPABILITY(key, record, field, kind_text, ...)                                                       \
    {                                                                                                                  \
        .name = (key), .type = HF_OPTION_CAPABILITY, .offset = HF_FIELD(record, field, hf_capability_choice),          \
        .kind = (kind_text), __VA_ARGS__                                                                               \
    }

/* ---- The host ------------------------------------------------------------------------------------------------ */

enum { HF_LOG_DEBUG = 0, HF_LOG_INFO = 1, HF_LOG_WARNING = 2, HF_LOG_ERROR = 3 };

typedef struct hf_host hf_host;

/* The root of what the host offers; everything else is asked for by name.  One per plugin instance; those of a
 * capability that options choose share one. */
struct hf_host {
    hf_head head;

    /* Writes one line to the log, with the plugin's name.  `message` is UTF-8 without a newline. [any] */
    void (*log)(const hf_host *host, int32_t level, hf_slice message);

    /* Memory that is accounted to the plugin.  alloc returns zeroed memory, or NULL; free accepts NULL. [any] */
    void *(*alloc)(const hf_host *host, uint64_t size);
    void (*free)(const hf_host *host, void *memory);

    /* The interface `name`, such as "hf.loop/1" (host/loop.h), or NULL when this host has none. [any] */
    const hf_head *(*query)(const hf_host *host, const char *name);
};

/* ---- The plugin ---------------------------------------------------------------------------------------------- */

typedef struct hf_service hf_service;
typedef struct hf_engine hf_engine;
typedef struct hf_replication hf_replication;
typedef struct hf_detector hf_detector;
typedef struct hf_balancer hf_balancer;

/* What a check of a configuration may ask and say; valid during the call. */
typedef struct hf_config_report hf_config_report;
struct hf_config_report {
    hf_head head;
    void *arg; /* the host's own */

    /* One problem with what is at `path` within the section: names joined by '.', such as "upstreams.chat.servers"; ""
     * is the section itself.  `message` is one sentence, UTF-8 without a newline, that names the option: what is wrong,
     * and what was expected.  The host puts "FILE:LINE: " in front of it, the line of the option at the path, or of the
     * nearest group around it that the document has: options that were left out have none.  Both are borrowed for the
     * call.  [main] */
    void (*problem)(const hf_config_report *report, const char *path, const char *message);

    /* 1: an enabled plugin provides KIND/NAME.  [main] */
    int32_t (*has_capability)(const hf_config_report *report, const char *kind, const char *name);
};

/* One capability that a plugin provides.  A reader looks only at the first `size` bytes. */
typedef struct hf_provide {
    uint32_t size;       /* sizeof(hf_provide) */
    uint32_t reserved;   /* 0 */
    const char *kind;    /* "engine" */
    const char *name;    /* "rocksdb"; unique within the kind */
    const char *summary; /* one sentence */
    union {
        const hf_head *head;
        const hf_service *service;
        const hf_engine *engine;
        const hf_replication *replication;
        const hf_detector *detector;
        const hf_balancer *balancer;
    } interface;
    hf_option_table options;     /* of the configuration group that an instance gets */
    uint64_t configuration_size; /* bytes of the struct that the options fill */

    /* What the options' types cannot say: names that refer to each other, files that belong together.  Called after all
     * options of the document were read without a mistake, at every check, start and reload, whether or not this
     * process has an instance, and for each configuration that an option of type HF_OPTION_CAPABILITY was filled with;
     * not when the document leaves the section out, so `create` must take the defaults as they are.  Opens and changes
     * nothing, and is quick: the main loop waits.  NULL: there is nothing more to say. [main] */
    void (*check)(const void *configuration, const hf_config_report *report);
} hf_provide;

typedef struct hf_plugin {
    uint32_t size;            /* sizeof(hf_plugin) */
    uint16_t interface_major; /* built against */
    uint16_t interface_minor;
    uint16_t minor_needed; /* the oldest minor that it can live with */
    uint16_t reserved;     /* 0 */
    uint32_t provide_count;
    const char *id;               /* reverse domain: "org.holdfast.engine.rocksdb" */
    const char *version;          /* "1.2.3" */
    const char *summary;          /* one sentence */
    const char *licence;          /* SPDX identifier */
    const char *const *requires_; /* NULL-terminated "kind/name" of other capabilities, or NULL */
    const hf_provide *const *provides;

    /* Called once after loading, before any instance exists; may be NULL. [main] */
    int32_t (*load)(const hf_host *host, hf_error *error);
    void (*unload)(const hf_host *host);
} hf_plugin;

/* The one exported symbol; the interface's major version is in its name.  Pure: returns static data. */
HF_EXPORT const hf_plugin *hf_plugin_v1(void);

/* ---- What every kind's table begins with ---------------------------------------------------------------------- */

enum { HF_HEALTH_OK = 0, HF_HEALTH_DEGRADED = 1, HF_HEALTH_FAILING = 2 };

typedef struct hf_health {
    int32_t state; /* HF_HEALTH_... */
    uint32_t reserved;
    char reason[240]; /* one sentence when not ok: what, and what to do */
} hf_health;

/* head           size, version, capability bits
 * create         makes an instance from a validated configuration, which is borrowed until destroy or until a
 *                committed successor replaces it.  [main]
 * destroy        accepts NULL and half-built objects.  [main]
 * config_prepare checks a new configuration and gets ready for it; may fail and then changes nothing.  [main]
 * config_commit  makes the prepared configuration the present one; cannot fail.  [main]
 * config_abort   forgets the prepared one.  [main]
 * start          begins to work.  [main]
 * drain          finishes what is in flight, takes no new work, and calls done(arg) once, within deadline_us if it
 *                can.  [main]
 * stop           ends at once; every thread that the instance started is joined on return.  [main]
 * health         fills in the state of the instance; quick.  [any]
 * Only create and destroy are required. */
#define HF_INSTANCE_FUNCTIONS                                                                                          \
    hf_head head;                                                                                                      \
    int32_t (*create)(const hf_host *host, const void *configuration, void **ret_self, hf_error *error);               \
    void (*destroy)(void *self);                                                                                       \
    int32_t (*config_prepare)(void *self, const void *configuration, hf_error *error);                                 \
    void (*config_commit)(void *self);                                                                                 \
    void (*config_abort)(void *self);                                                                                  \
    int32_t (*start)(void *self, hf_error *error);                                                                     \
    void (*drain)(void *self, uint64_t deadline_us, void (*done)(void *arg), void *arg);                               \
    void (*stop)(void *self);                                                                                          \
    void (*health)(void *self, hf_health *ret_health);

/* Any kind's table, seen through what all share. */
typedef struct hf_instance_interface {
    HF_INSTANCE_FUNCTIONS
} hf_instance_interface;

#ifdef __cplusplus
}
#endif
#endif
