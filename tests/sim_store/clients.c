/* clients.c: clients that read, write and send transactions, to any node, and what they come to know. */
#include "sim.h"

#include <stdio.h>
#include <string.h>

enum { ATTEMPTS_MAX = 6 };

operation history[HISTORY_MAX];
uint32_t history_count;
static uint64_t versions_seen[KEYS + EXPIRING_KEYS]; /* newest, 0: none */

static struct {
    bool busy;    /* an operation is not over */
    bool waiting; /* an attempt is under way: */
    uint32_t node;
    uint64_t life, attempt;
    uint32_t operation;
} clients[CLIENTS];

uint32_t key_text(uint32_t key, char *text, uint32_t capacity)
{
    return (uint32_t)snprintf(text, capacity, "%c%u", key < KEYS ? 'k' : 'e', key);
}

uint64_t key_partition(const struct store_routing *routing, uint32_t key)
{
    char text[16];
    uint32_t size = key_text(key, text, sizeof text);

    return store_table_find(table_of(routing), (hf_slice){NULL, 0}, (hf_slice){(const uint8_t *)text, size})->id;
}

/* ---- What is asked for ------------------------------------------------------------------------------------------- */

static void choose_condition(operation *o, uint32_t i)
{
    uint64_t seen = versions_seen[o->operations[i].key];
    bool must = o->operations[i].type == STORE_CHECK;

    if (seen && chance(must ? 100 : 40)) {
        o->operations[i].condition = STORE_IF_VERSION;
        o->operations[i].condition_version = seen;
    } else if (must || chance(5)) {
        o->operations[i].condition = chance(70) ? STORE_IF_PRESENT : STORE_IF_ABSENT;
    }
}

static void choose_writes(operation *o)
{
    uint64_t used = 0;

    o->count = chance(70) ? 2 + (uint32_t)roll(PARTS_MAX - 1) : 1;
    for (uint32_t i = 0; i < o->count; i++) {
        uint32_t key;

        do
            key = (uint32_t)roll(KEYS);
        while (used >> key & 1);
        used |= UINT64_C(1) << key;
        o->operations[i].key = key;
        /* The first is a put, by which the rest is found again. */
        o->operations[i].type = i > 0 && chance(25) ? STORE_CHECK : i > 0 && chance(8) ? STORE_DELETE : STORE_PUT;
        choose_condition(o, i);
    }
}

static void choose(uint32_t number)
{
    operation *o = &history[history_count];

    *o = (operation){.type = chance(40) ? READ : WRITE, .begun = now, .ended = UINT64_MAX};
    o->has_idempotency_key = o->type == WRITE && chance(60);
    o->expires = chance(12);
    o->count = 1;
    o->operations[0].type = STORE_PUT;
    o->operations[0].key = o->expires ? KEYS + (uint32_t)roll(EXPIRING_KEYS) : (uint32_t)roll(KEYS);
    if (o->type == WRITE && !o->expires)
        choose_writes(o);
    clients[number].busy = true;
    clients[number].operation = history_count++;
}

/* ---- What came of it --------------------------------------------------------------------------------------------- */

static void over(uint32_t number, int outcome)
{
    operation *o = &history[clients[number].operation];

    o->outcome = outcome;
    o->ended = outcome == OUTCOME_DONE || outcome == OUTCOME_NOT_DONE ? now : UINT64_MAX;
    trace(clients[number].operation, (uint64_t)outcome);
    clients[number].busy = clients[number].waiting = false;
    schedule((event){.at = now + roll(40 * MS), .type = EV_CLIENT, .node = number});
}

/* Whether the attempt had an effect is not known, or (`sure`) it had none, but a former one may have had. */
static void not_known(uint32_t number, bool sure)
{
    operation *o = &history[clients[number].operation];

    clients[number].waiting = false;
    o->was_unknown = o->was_unknown || !sure;
    if (o->type == READ || !o->has_idempotency_key || o->attempts >= ATTEMPTS_MAX) {
        fault_counts[FAULT_NO_KEY] += o->type == WRITE && !o->has_idempotency_key;
        over(number, o->type == READ ? OUTCOME_NONE : o->was_unknown ? OUTCOME_UNKNOWN : OUTCOME_NOT_DONE);
        return;
    }
    fault_counts[FAULT_ABANDONED]++;
    schedule((event){.at = now + MS + roll(150 * MS), .type = EV_CLIENT, .node = number});
}

void clients_of_dead(const node *n)
{
    for (uint32_t i = 0; i < CLIENTS; i++)
        if (clients[i].waiting && clients[i].node == n->index && clients[i].life == n->life) {
            const operation *o = &history[clients[i].operation];

            fault_counts[FAULT_COORDINATOR] += o->type == WRITE && o->count > 1;
            not_known(i, false);
        }
}

static void read_over(uint32_t number, int32_t code, hf_slice result)
{
    operation *o = &history[clients[number].operation];
    struct store_row row;

    if (code != HF_OK && code != HF_ENOTFOUND) {
        not_known(number, true);
        return;
    }
    if (code == HF_OK) {
        if (store_result_next(&result, &row) != 1 || row.value.size != sizeof o->writer)
            fail("a record's value is not one that was written", row.version, o->operations[0].key);
        else
            memcpy(&o->writer, row.value.data, sizeof o->writer);
        o->version = row.version;
        versions_seen[o->operations[0].key] = row.version;
    }
    over(number, OUTCOME_DONE);
}

static void write_over(uint32_t number, int32_t code, bool repeated)
{
    operation *o = &history[clients[number].operation];

    fault_counts[FAULT_REPEATED] += repeated;
    switch (code) {
    case HF_OK:
        fault_counts[FAULT_COMMITTED] += o->count > 1;
        over(number, OUTCOME_DONE);
        return;
    case HF_ECONFLICT:
        fault_counts[FAULT_CONFLICT] += o->count > 1;
        over(number, o->was_unknown ? OUTCOME_UNKNOWN : OUTCOME_NOT_DONE);
        return;
    case HF_EBUSY:
        fault_counts[FAULT_IN_THE_WAY] += o->count > 1;
        not_known(number, true);
        return;
    case HF_ENOTLEADER:
        not_known(number, true);
        return;
    case HF_ETIMEOUT:
        not_known(number, false);
        return;
    default:
        fail("an answer that is not documented", (uint64_t)-code, clients[number].operation);
    }
}

void attempt_over(uint32_t number, uint64_t attempt, int32_t code, bool repeated, hf_slice result)
{
    if (!clients[number].waiting || clients[number].attempt != attempt)
        return;
    if (history[clients[number].operation].type == READ)
        read_over(number, code, result);
    else
        write_over(number, code, repeated);
}

/* ---- Asking ------------------------------------------------------------------------------------------------------ */

static void send(uint32_t number)
{
    operation *o = &history[clients[number].operation];
    node *n = some_node();

    if (!n->up || n->paused_until > now) { /* nobody answers there */
        schedule((event){.at = now + roll(30 * MS), .type = EV_CLIENT, .node = number});
        return;
    }
    o->attempts++;
    clients[number].waiting = true;
    clients[number].node = n->index;
    clients[number].life = n->life;
    clients[number].attempt = ++serial;
    if (!calm && chance(4)) /* it will not wait for long */
        schedule(
            (event){.at = now + roll(150 * MS), .type = EV_CLIENT, .node = number, .number = clients[number].attempt});
    request_begin(n, number, clients[number].operation, clients[number].attempt);
}

void client(uint32_t number, uint64_t abandoned)
{
    if (abandoned) {
        if (clients[number].waiting && clients[number].attempt == abandoned)
            not_known(number, false);
        return;
    }
    if (clients[number].waiting)
        return;
    if (!clients[number].busy) {
        if (now > RUN_US + SETTLE_US || history_count == HISTORY_MAX)
            return;
        choose(number);
    }
    send(number);
}

bool clients_are_idle(void)
{
    for (uint32_t i = 0; i < CLIENTS; i++)
        if (clients[i].busy)
            return false;
    return true;
}

void clients_begin(void)
{
    memset(history, 0, history_count * sizeof history[0]);
    memset(versions_seen, 0, sizeof versions_seen);
    memset(clients, 0, sizeof clients);
    history_count = 0;
    for (uint32_t i = 0; i < CLIENTS; i++)
        schedule((event){.at = 300 * MS + roll(100 * MS), .type = EV_CLIENT, .node = i});
}
