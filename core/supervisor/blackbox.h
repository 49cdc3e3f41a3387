/* blackbox.h: memory that outlives a child process, so that the cause of its death can be read afterwards.
 *
 * The supervisor creates one per child; the child maps it through an inherited descriptor, and writes its backtrace
 * into it when a fatal signal arrives.  The log's ring of recent lines lives there too, so that even a SIGKILL leaves
 * the last lines behind. */
#ifndef HOLDFAST_CORE_SUPERVISOR_BLACKBOX_H
#define HOLDFAST_CORE_SUPERVISOR_BLACKBOX_H

#include <holdfast/holdfast.h>

/* Environment variable by which a child finds its black box: the descriptor's number. */
#define HF_BLACKBOX_ENVIRONMENT "HOLDFAST_BLACKBOX"

enum { HF_BLACKBOX_BACKTRACE_SIZE = 16384 };

typedef struct hf_blackbox hf_blackbox;

/* Supervisor: creates an empty black box; *ret_fd is inheritable and stays owned by the box.  [main] */
int32_t hf_blackbox_create(hf_blackbox **ret_box, int32_t *ret_fd, hf_error *error);
void hf_blackbox_destroy(hf_blackbox *box);

/* Supervisor: goes on with one whose descriptor an exec has left open; `fd` is taken.  HF_EIO, HF_ENOMEM.  [main] */
int32_t hf_blackbox_adopt(int32_t fd, hf_blackbox **ret_box, hf_error *error);
int32_t hf_blackbox_fd(const hf_blackbox *box);

/* Child: maps the box named by the environment, moves the log's ring into it, and installs handlers for the fatal
 * signals, which write a backtrace there and then let the signal kill the process as it would have.  Returns
 * HF_ENOTFOUND when there is no box, which is fine: the process was started by hand.  [main], before threads. */
int32_t hf_blackbox_attach(hf_error *error);

/* Supervisor, after the child's death: what it left.  Both texts are copied, at most `capacity` bytes with a final
 * zero; they may be empty. */
void hf_blackbox_read_backtrace(const hf_blackbox *box, char *text, uint64_t capacity);
void hf_blackbox_read_log(const hf_blackbox *box, char *text, uint64_t capacity);

#endif
