/* list.h: the servers of an upstream as they are to be: as the configuration has them, or as they were changed since
 * through the admin interface.  A list owns its texts; where each server is found stands in the set that is made from
 * it.  [main] */
#ifndef GATEWAY_LIST_H
#define GATEWAY_LIST_H

#include "options/options.h"

struct gateway_server_list {
    struct gateway_server_options *items; /* numbers may be set where they are, texts only by the functions below */
    uint32_t count, capacity;
    /* Of what the configuration says of the servers: tells whether another configuration says the same. */
    uint64_t configured;
    int32_t is_changed; /* it is not what the configuration says any more */
};

/* A list of what the configuration says, with its own copies.  Texts are found by the rows of gateway_server_table, so
 * that options which come later are copied, too.  HF_ENOMEM: the list is empty. */
int32_t gateway_server_list_read(struct gateway_server_list *list, const hf_groups *servers, hf_error *error);

int32_t gateway_server_list_copy(struct gateway_server_list *list, const struct gateway_server_list *from,
                                 hf_error *error);

/* Accepts one of zero bytes. */
void gateway_server_list_done(struct gateway_server_list *list);

/* The number that a configuration has, or would have. */
uint64_t gateway_server_list_print(const hf_groups *servers);

/* The server of that name; NULL: there is none. */
struct gateway_server_options *gateway_server_list_find(const struct gateway_server_list *list, const char *name);

/* Adds a copy.  HF_EEXIST: a server of that name or at that address is there; HF_ETOOLARGE: there are
 * HF_BALANCER_SERVERS_MAX; HF_ENOMEM. */
int32_t gateway_server_list_add(struct gateway_server_list *list, const struct gateway_server_options *server,
                                hf_error *error);

/* HF_ENOTFOUND. */
int32_t gateway_server_list_remove(struct gateway_server_list *list, const char *name, hf_error *error);

/* A server with the default of every option but its name and address, which are borrowed. */
void gateway_server_defaults(struct gateway_server_options *server, const char *name, const char *address);

#endif
