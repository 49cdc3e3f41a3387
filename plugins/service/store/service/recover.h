/* service/recover.h: bringing back a cluster that lost its majority for good; see recover/plan.h and
 * docs/decisions/0012-recovery.md.
 *
 * One node drives: it asks all that are left what they have, and the plan that comes of it is shown to the operator.
 * To carry it out, every node that is left first binds itself to it; only then the catalog's chosen replica is made
 * its group, the catalog is told where the partitions are now and that the dead nodes are lost, and the other chosen
 * replicas become their groups. */
#ifndef STORE_SERVICE_RECOVER_H
#define STORE_SERVICE_RECOVER_H

#include "recover/plan.h"
#include "service/private.h"

/* recover.c: the part of a node that is left. */
enum { STORE_RECOVER_FACTS = 1, STORE_RECOVER_PROMISE, STORE_RECOVER_CATALOG, STORE_RECOVER_PARTITIONS };
enum { STORE_RECOVER_ACTOR_MAX = 120 };

struct store_recover_request {
    int32_t kind;
    uint64_t catalog_version; /* PARTITIONS: what the routing must have */
    char actor[STORE_RECOVER_ACTOR_MAX];
    hf_slice plan; /* as JSON, with FACTS: none */
};

/* Answers reply(arg, code, text) on the calling loop, maybe before this returns: with FACTS the facts as JSON, else
 * nothing, or what is wrong.  The request is copied.  HF_EBUSY: ask again soon.  [worker loops] */
typedef void (*store_recover_reply)(void *arg, int32_t code, hf_slice text);
void store_recover_ask_here(struct store_service *service, const struct store_recover_request *request,
                            store_recover_reply reply, void *arg);

/* The same of any node.  [worker loops] */
void store_recover_ask(struct store_service *service, uint32_t node, const struct store_recover_request *request,
                       uint64_t timeout_us, store_recover_reply reply, void *arg);

/* Writes the audit log, where the host has one.  [pool] */
void store_recover_note(struct store_service *service, const char *actor, const char *step,
                        const struct store_recover_plan *plan, uint64_t count, const char *outcome);

/* Whether this loop hears the node and believes it.  [worker loops] */
int32_t store_recover_hears(struct store_service *service, uint32_t node);

#endif
