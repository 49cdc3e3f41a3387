/* host.h: between process.c and host.c. */
#ifndef HOLDFAST_CORE_PROCESS_HOST_H
#define HOLDFAST_CORE_PROCESS_HOST_H

#include "process.h"

uint32_t hf_process_worker_count(const hf_process *process);

#endif
