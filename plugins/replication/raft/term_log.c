/* term_log.c: which term each index has, as runs: memory grows with elections, not with entries. */
#include "raft.h"

#include <string.h>

bool raft_log_reserve(raft_term_log *log, uint64_t more)
{
    return raft_grow(log->host, (void **)&log->runs, &log->capacity, log->count + more, sizeof *log->runs);
}

uint64_t raft_log_last_term(const raft_term_log *log)
{
    return log->count ? log->runs[log->count - 1].term : log->snapshot_term;
}

void raft_log_append(raft_term_log *log, uint64_t term, uint64_t count)
{
    if (!log->count || log->runs[log->count - 1].term != term)
        log->runs[log->count++] = (raft_run){log->last + 1, term};
    log->last += count;
}

void raft_log_truncate(raft_term_log *log, uint64_t from)
{
    while (log->count && log->runs[log->count - 1].first >= from)
        log->count--;
    if (log->last >= from)
        log->last = from - 1;
}

/* The last run that begins at or before `index`; the caller knows that index is in the log. */
static uint64_t find_run(const raft_term_log *log, uint64_t index)
{
    uint64_t low = 0, high = log->count;

    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;

        if (log->runs[middle].first <= index)
            low = middle;
        else
            high = middle;
    }
    return low;
}

bool raft_log_term(const raft_term_log *log, uint64_t index, uint64_t *ret_term)
{
    if (index < log->snapshot_index || index > log->last)
        return false;
    *ret_term = index == log->snapshot_index ? log->snapshot_term : log->runs[find_run(log, index)].term;
    return true;
}

bool raft_log_matches(const raft_term_log *log, uint64_t index, uint64_t term)
{
    uint64_t own;

    return raft_log_term(log, index, &own) && own == term;
}

void raft_log_compact(raft_term_log *log, uint64_t index)
{
    uint64_t term, keep;

    if (index <= log->snapshot_index || !raft_log_term(log, index, &term))
        return;
    if (index == log->last) {
        log->count = 0;
    } else {
        keep = find_run(log, index + 1);
        memmove(log->runs, log->runs + keep, (log->count - keep) * sizeof *log->runs);
        log->count -= keep;
        log->runs[0].first = index + 1;
    }
    log->snapshot_index = index;
    log->snapshot_term = term;
}

void raft_log_reset(raft_term_log *log, uint64_t index, uint64_t term)
{
    log->count = 0;
    log->snapshot_index = log->last = index;
    log->snapshot_term = term;
}

/* The highest position at or before `index` whose term is at most `term`: two logs cannot agree beyond it.  Steps over
 * a whole term at a time (the faster backtracking of section 3.5's last paragraphs). */
uint64_t raft_log_agreement(const raft_term_log *log, uint64_t index, uint64_t term)
{
    if (index > log->last)
        index = log->last;
    while (index > log->snapshot_index) {
        raft_run *run = &log->runs[find_run(log, index)];

        if (run->term <= term)
            return index;
        index = run->first - 1;
    }
    return index;
}
