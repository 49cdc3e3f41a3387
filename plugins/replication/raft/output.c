/* output.c: collects what is to be done and hands it out; keeps count of the writes that are not yet durable. */
#include "raft.h"

#include <string.h>

bool raft_grow(const hf_host *host, void **array, uint64_t *capacity, uint64_t needed, uint64_t item_size)
{
    uint64_t wanted = *capacity ? *capacity : 8;
    void *larger;

    if (needed <= *capacity)
        return true;
    while (wanted < needed)
        wanted *= 2;
    larger = host->alloc(host, wanted * item_size);
    if (!larger)
        return false;
    if (*array)
        memcpy(larger, *array, *capacity * item_size);
    host->free(host, *array);
    *array = larger;
    *capacity = wanted;
    return true;
}

/* Every call on the group ends the life of the arrays that the last `take` gave out. */
void raft_output_begin(raft_group *g)
{
    if (!g->taken)
        return;
    g->taken = false;
    g->message_count = g->answer_count = g->snapshot_count = 0;
}

/* Without memory the message is dropped: the protocol survives lost messages.  Then returns NULL. */
hf_replication_message *raft_send(raft_group *g, uint64_t to, const raft_message *m, bool after_persist)
{
    hf_replication_message *out;

    if (!raft_grow(g->raft->host, (void **)&g->messages, &g->message_capacity, g->message_count + 1,
                   sizeof *g->messages))
        return NULL;
    out = &g->messages[g->message_count++];
    *out = (hf_replication_message){.from = g->self, .to = to, .after_persist = after_persist};
    raft_message_encode(m, out);
    return out;
}

/* read_request reserved the place. */
void raft_answer_read(raft_group *g, uint64_t context, uint64_t index, int32_t code)
{
    g->answers[g->answer_count++] = (hf_replication_read){.context = context, .index = index, .code = code};
}

/* When the table is full, the newest row stands for several writes, which only delays what it confirms. */
static uint64_t begin_write(raft_group *g)
{
    uint32_t row = g->write_count < RAFT_WRITES_MAX ? g->write_count++ : RAFT_WRITES_MAX - 1;

    g->writes[row] = (raft_write){g->next_write, g->log.last};
    return g->next_write++;
}

static void take_storage(raft_group *g, hf_replication_output *o)
{
    o->truncate_from = g->truncate_from;
    if (g->append_first && g->append_first <= g->log.last) {
        o->append_first = g->append_first;
        o->append_count = g->log.last - g->append_first + 1;
    }
    o->state_changed = g->state_dirty;
    /* Only durable entries: a torn write could keep the new commit but the old entries at these positions. */
    o->state = (hf_replication_state){g->term, g->vote, g->commit < g->persisted ? g->commit : g->persisted};
    if (o->truncate_from || o->append_count || o->state_changed)
        o->write_id = begin_write(g);
    if (g->vote_write == RAFT_NEVER && o->state_changed)
        g->vote_write = o->write_id;
    g->truncate_from = g->append_first = 0;
    g->state_dirty = false;
}

void raft_take(raft_group *g, hf_replication_output *output)
{
    hf_replication_output o = {.size = sizeof o};

    raft_output_begin(g);
    if (g->role == HF_ROLE_LEADER) {
        raft_reads_begin(g);
        raft_replicate(g);
    }
    take_storage(g, &o);
    /* The engine must never get ahead of the log that is durable here, or a crash would leave a gap between them. */
    o.commit_index = g->commit < g->persisted ? g->commit : g->persisted;
    o.messages = g->messages;
    o.message_count = g->message_count;
    o.reads = g->answers;
    o.read_count = g->answer_count;
    o.snapshots_wanted = g->snapshots;
    o.snapshot_wanted_count = g->snapshot_count;
    g->taken = true;
    if (output->size >= sizeof o)
        *output = o;
}

void raft_persisted(raft_group *g, uint64_t write_id)
{
    uint32_t done = 0;

    while (done < g->write_count && g->writes[done].id <= write_id) {
        if (g->writes[done].last > g->persisted)
            g->persisted = g->writes[done].last;
        done++;
    }
    memmove(g->writes, g->writes + done, (g->write_count - done) * sizeof g->writes[0]);
    g->write_count -= done;
    if (g->role == HF_ROLE_LEADER)
        raft_advance_commit(g);
    if (g->role == HF_ROLE_CANDIDATE && !g->pre_vote && g->vote_write && g->vote_write <= write_id)
        raft_count_own_vote(g);
}
