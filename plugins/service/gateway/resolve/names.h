/* names.h: names of servers and their addresses, asked for without waiting (c-ares), and again when their time to live
 * ends.  [main]
 *
 * A name is asked for as long as somebody looks for it between two calls of gateway_names_sweep.  When an answer does
 * not come, or says that there is no such name, its last addresses stay. */
#ifndef GATEWAY_NAMES_H
#define GATEWAY_NAMES_H

#include "resolve/addresses.h"

#include <holdfast/host/loop.h>

enum { GATEWAY_NAMES_ASKED = 64 /* at a time; others wait */ };

struct gateway_names;

struct gateway_name {
    struct gateway_name *next;
    struct gateway_names *names;
    char *host;
    uint64_t minimum_us, maximum_us; /* between two questions */
    struct gateway_name_addresses addresses;
    int32_t is_answered; /* it has addresses, or is known to have none */
    int32_t has_changed; /* since whoever looks for it was told */
    int32_t is_asked;    /* just now */
    int32_t is_unused;
    uint32_t round;
    uint32_t failures; /* in a row */
    uint64_t due_us;
};

/* Names as whoever asks sees them: `changed` is called after some have other addresses, or are answered for the first
 * time, from the loop and not from within a call.  `resolvers`: their addresses, "10.0.0.1:53"; none: those of the
 * system (/etc/resolv.conf).  HF_EIO: the system's configuration cannot be read; HF_EINVAL: resolvers; HF_ENOMEM. */
int32_t gateway_names_create(const hf_host *host, const hf_loop_interface *loops, const hf_strings *resolvers,
                             void (*changed)(void *arg), void *arg, struct gateway_names **ret_names, hf_error *error);

/* Accepts NULL.  Names that were found before are freed. */
void gateway_names_destroy(struct gateway_names *names);

/* From now on those are asked, and the system's configuration is read anew.  When it fails, all is as before. */
int32_t gateway_names_use(struct gateway_names *names, const hf_strings *resolvers, hf_error *error);

/* The name with these bounds; when it is new, it will be asked for by the next gateway_names_run.  NULL: no memory.
 * Valid until a sweep before which nobody has looked for it. */
struct gateway_name *gateway_names_find(struct gateway_names *names, const char *host, uint64_t minimum_us,
                                        uint64_t maximum_us);

/* Asks for what is due now; after the first call it does so by itself. */
void gateway_names_run(struct gateway_names *names);

/* Names that nobody has looked for since the last sweep are asked for no more. */
void gateway_names_sweep(struct gateway_names *names);

#endif
