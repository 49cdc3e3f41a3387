#include "worker/wheel.h"

#include <stddef.h>

static struct gateway_deadline *slot_at(struct gateway_wheel *wheel, uint64_t us)
{
    return &wheel->slots[us / GATEWAY_WHEEL_TICK_US % GATEWAY_WHEEL_SLOTS];
}

void gateway_wheel_init(struct gateway_wheel *wheel, uint64_t now_us)
{
    wheel->turned_us = now_us / GATEWAY_WHEEL_TICK_US * GATEWAY_WHEEL_TICK_US;
    wheel->count = 0;
    for (size_t i = 0; i < GATEWAY_WHEEL_SLOTS; i++)
        wheel->slots[i] = (struct gateway_deadline){.next = &wheel->slots[i], .previous = &wheel->slots[i]};
}

static void take_out(struct gateway_wheel *wheel, struct gateway_deadline *deadline)
{
    if (!deadline->next)
        return;
    deadline->next->previous = deadline->previous;
    deadline->previous->next = deadline->next;
    deadline->next = deadline->previous = NULL;
    wheel->count--;
}

/* Into the first slot that comes after it is due, or the last one there is. */
static void put_in(struct gateway_wheel *wheel, struct gateway_deadline *deadline)
{
    uint64_t first = wheel->turned_us + GATEWAY_WHEEL_TICK_US;
    uint64_t last = wheel->turned_us + (GATEWAY_WHEEL_SLOTS - 1) * (uint64_t)GATEWAY_WHEEL_TICK_US;
    uint64_t at = (deadline->due_us / GATEWAY_WHEEL_TICK_US + 1) * GATEWAY_WHEEL_TICK_US;

    at = at < first ? first : at > last ? last : at;
    struct gateway_deadline *slot = slot_at(wheel, at);
    deadline->slot_us = at;
    deadline->next = slot;
    deadline->previous = slot->previous;
    slot->previous->next = deadline;
    slot->previous = deadline;
    wheel->count++;
}

void gateway_deadline_set(struct gateway_wheel *wheel, struct gateway_deadline *deadline, uint64_t due_us)
{
    deadline->due_us = due_us;
    if (deadline->next && deadline->slot_us <= due_us + GATEWAY_WHEEL_TICK_US)
        return; /* found in time, and then placed anew */
    take_out(wheel, deadline);
    put_in(wheel, deadline);
}

void gateway_deadline_clear(struct gateway_wheel *wheel, struct gateway_deadline *deadline)
{
    deadline->due_us = 0;
    take_out(wheel, deadline);
}

/* What is called may take out any other entry of the slot, so each is looked up from the head. */
static void empty_slot(struct gateway_wheel *wheel, struct gateway_deadline *slot, uint64_t now_us)
{
    struct gateway_deadline mark = {.next = slot, .previous = slot->previous};

    slot->previous->next = &mark; /* what is put into this slot meanwhile comes behind it */
    slot->previous = &mark;
    while (slot->next != &mark) {
        struct gateway_deadline *deadline = slot->next;

        take_out(wheel, deadline);
        if (deadline->due_us > now_us) {
            put_in(wheel, deadline);
        } else {
            deadline->due_us = 0;
            deadline->passed(deadline);
        }
    }
    slot->next = mark.next;
    mark.next->previous = slot;
}

void gateway_wheel_turn(struct gateway_wheel *wheel, uint64_t now_us)
{
    while (wheel->turned_us + GATEWAY_WHEEL_TICK_US <= now_us) {
        wheel->turned_us += GATEWAY_WHEEL_TICK_US;
        if (wheel->count)
            empty_slot(wheel, slot_at(wheel, wheel->turned_us), now_us);
    }
}
