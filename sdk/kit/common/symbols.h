/* symbols.h: which symbols a shared object exports, read from its file. */
#ifndef HOLDFAST_KIT_SYMBOLS_H
#define HOLDFAST_KIT_SYMBOLS_H

#include <holdfast/holdfast.h>

enum { KIT_SYMBOL_SIZE = 128 };

/* Counts the symbols that other objects can see, but not the sanitizers' own, and puts the first that is not `wanted`
 * into `other` (empty: there is none).  The bytes are not trusted.  HF_EINVAL: not a shared object for this machine;
 * HF_ECORRUPT: its tables point outside of it. */
int32_t kit_exported_symbols(hf_slice file, const char *wanted, uint32_t *ret_count, char other[KIT_SYMBOL_SIZE],
                             hf_error *error);

#endif
