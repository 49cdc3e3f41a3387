/* Stale reads, and how old what they see may be.
 *
 * That this replica hears a leader, or leads, says little: messages wait in sockets while a process is paused, and a
 * leader that was cut off does not know that there is another.  So now and then, while stale reads come, the replica
 * asks for the leader's index as a linearizable read does.  When it has applied that much, it has everything that was
 * acknowledged before it asked: the age of a read is the time since then. */
#include "replica/private.h"

#include <holdfast/lib/error.h>

enum {
    REFRESH_US = 200000,    /* an age that is worth asking for a lower one */
    IMPATIENT_US = 1000000, /* an age for which a read waits a little */
    WAIT_US = 100000        /* so long at most; the leader may be away, and then the read is to be answered as it is */
};

static void refresh(struct store_replica *replica, uint64_t now_us)
{
    if (replica->refresh_us)
        return;
    replica->refresh_us = now_us;
    replica->environment->refresh(replica->environment->refresh_arg, replica, now_us);
}

static uint64_t age_of(uint64_t fresh_us, uint64_t now_us)
{
    return fresh_us ? now_us - fresh_us : UINT64_MAX;
}

void store_stale_begin(struct store_replica *replica, struct store_work *work)
{
    uint64_t now = replica->environment->clock_us(), age = age_of(replica->fresh_us, now);

    if (age > REFRESH_US)
        refresh(replica, now);
    if (age > IMPATIENT_US && replica->leader && !replica->refresh_failed && now - replica->refresh_us < WAIT_US) {
        work->retry_us = now + WAIT_US;
        work->state = STORE_WORK_REFRESHING;
        store_works_add(&replica->refreshing, work);
        return;
    }
    work->fresh_us = replica->fresh_us;
    store_work_read(replica, work);
}

/* Once more, with what is known now. */
static void read_those_waiting(struct store_replica *replica, uint64_t until_us)
{
    struct store_work *next;

    for (struct store_work *work = replica->refreshing.first; work; work = next) {
        next = work->next;
        if (work->retry_us > until_us)
            continue;
        store_works_remove(&replica->refreshing, work);
        work->fresh_us = replica->fresh_us;
        store_work_read(replica, work);
    }
}

void store_stale_applied(struct store_replica *replica)
{
    if (!replica->refresh_index || replica->applied < replica->refresh_index)
        return;
    if (replica->fresh_us < replica->refresh_us)
        replica->fresh_us = replica->refresh_us;
    replica->refresh_index = replica->refresh_us = 0;
    replica->refresh_failed = 0;
    read_those_waiting(replica, UINT64_MAX);
}

void store_replica_refreshed(struct store_replica *replica, uint64_t asked_us, int32_t code, uint64_t index)
{
    if (replica->refresh_us != asked_us)
        return; /* it was asked by one that was here before */
    if (code == HF_OK) {
        replica->refresh_index = index ? index : 1;
        store_stale_applied(replica);
        return;
    }
    replica->refresh_us = 0;
    replica->refresh_failed = 1; /* nobody waits for the next ones, until one has succeeded */
    if (!replica->failed && !replica->stopping)
        read_those_waiting(replica, UINT64_MAX);
}

void store_stale_tick(struct store_replica *replica)
{
    read_those_waiting(replica, replica->now_us);
}

/* The answer is as old as its data when it is given, not when the read began; a millisecond for what is rounded. */
void store_stale_age(struct store_work *work)
{
    uint64_t age = age_of(work->fresh_us, work->replica->environment->clock_us());

    work->op->age_ms = age / 1000 >= STORE_AGE_UNKNOWN ? STORE_AGE_UNKNOWN : (uint32_t)(age / 1000 + 1);
}
