/* linearizability.c: whether clients saw one order of operations. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void finish(operation *o, uint64_t version)
{
    if (o->write ? version <= o->floor : version < o->floor)
        fail(o->write ? "linearizability: a write took effect in the past" : "linearizability: a read saw the past",
             version, o->floor);
    if (version > floors[o->key])
        floors[o->key] = version;
    o->done = true;
    trace(version, o->key);
}
