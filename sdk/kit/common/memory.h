/* memory.h: the calls by which a plugin takes memory from the C library, and their failing. */
#ifndef HOLDFAST_KIT_MEMORY_H
#define HOLDFAST_KIT_MEMORY_H

#include <stdint.h>

/* Leads the calls of a shared object that dlopen gave through the kit; C++'s `new` goes its own way. */
void kit_memory_lead(void *object);

/* The `number`-th of them from now on finds no memory, counted from 1; 0: none. */
void kit_memory_fail(uint64_t number);
int32_t kit_memory_failed(void);

/* Bytes that everybody has from the C library now. */
uint64_t kit_allocated(void);

#endif
