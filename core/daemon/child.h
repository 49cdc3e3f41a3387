/* daemon/child.h: one process of the configuration, from its start to its end. */
#ifndef HOLDFAST_CORE_DAEMON_CHILD_H
#define HOLDFAST_CORE_DAEMON_CHILD_H

/* Runs the process `name` of the configuration at `path` until SIGTERM or SIGINT; SIGHUP reloads the configuration.
 * Returns the program's exit code: 0, or 1 with the cause in the log.  The signals are held back already
 * (hf_unix_signals_block). */
int hf_child_run(const char *path, const char *name);

#endif
