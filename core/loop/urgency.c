/* Niceness is the share that a thread gets when all want to run.  How soon a thread that wakes takes the place of one
 * that runs is another matter: since version 6.6 Linux lets the latter go on until its slice is over, a millisecond or
 * more.  So bulk work has the shortest slice there is, too. */
#include "urgency.h"

#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BACKGROUND_NICENESS = 5, BULK_NICENESS = 15, SHORTEST_SLICE_NS = 100000, POLICY_OTHER = 0 };

/* struct sched_attr, version 0 (linux/sched/types.h), which the C library does not have. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t niceness;
    uint32_t priority;
    uint64_t slice_ns, deadline, period;
};

void hf_urgency_set(hf_urgency urgency)
{
    const struct attributes bulk = {
        .size = sizeof bulk, .policy = POLICY_OTHER, .niceness = BULK_NICENESS, .slice_ns = SHORTEST_SLICE_NS};

    if (urgency == HF_URGENCY_SERVE || (urgency == HF_URGENCY_BULK && syscall(SYS_sched_setattr, 0, &bulk, 0) == 0))
        return;
    /* On Linux this is about the calling thread only. */
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid),
                      urgency == HF_URGENCY_BULK ? BULK_NICENESS : BACKGROUND_NICENESS);
}
