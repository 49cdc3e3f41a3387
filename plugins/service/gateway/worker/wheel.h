/* wheel.h: many deadlines that hardly ever come, such as time-outs of connections (G. Varghese, T. Lauck, "Hashed and
 * Hierarchical Timing Wheels", 1987).  Putting a deadline off, which happens with every request, is one store: an entry
 * that is found too early is placed anew.  Pure; one thread at a time. */
#ifndef GATEWAY_WHEEL_H
#define GATEWAY_WHEEL_H

#include <holdfast/holdfast.h>

enum { GATEWAY_WHEEL_SLOTS = 512, GATEWAY_WHEEL_TICK_US = 20000 };

/* Part of what has a deadline.  All bytes zero: none. */
struct gateway_deadline {
    struct gateway_deadline *next, *previous; /* NULL: in no slot */
    uint64_t due_us;                          /* 0: none */
    uint64_t slot_us;                         /* when its slot comes */
    void (*passed)(struct gateway_deadline *deadline);
};

struct gateway_wheel {
    struct gateway_deadline slots[GATEWAY_WHEEL_SLOTS]; /* heads of rings */
    uint64_t turned_us;                                 /* up to which slots have come; a whole tick */
    uint32_t count;                                     /* of entries in slots */
};

void gateway_wheel_init(struct gateway_wheel *wheel, uint64_t now_us);

/* `passed` is called once the time has come, up to two ticks late.  Sets it anew if there was one. */
void gateway_deadline_set(struct gateway_wheel *wheel, struct gateway_deadline *deadline, uint64_t due_us);

/* It has none any more, and may be freed. */
void gateway_deadline_clear(struct gateway_wheel *wheel, struct gateway_deadline *deadline);

/* Calls what is due by now; what is called may set and clear any deadline. */
void gateway_wheel_turn(struct gateway_wheel *wheel, uint64_t now_us);

#endif
