/* daemon/supervise.h: the node: one child process per entry of the configuration, kept running. */
#ifndef HOLDFAST_CORE_DAEMON_SUPERVISE_H
#define HOLDFAST_CORE_DAEMON_SUPERVISE_H

/* Checks the configuration at `path`, runs its processes with `program` (an absolute path), and keeps them running
 * until SIGTERM or SIGINT; SIGHUP checks the configuration again and makes all processes reload it; SIGUSR2 checks it
 * with the program that is at the path now, executes that with the same `arguments` in this process, and it goes on
 * from here.  Returns the program's exit code: 0, or 1 with the cause on standard error.  The signals are held back
 * already (hf_signals_block). */
int hf_supervise_run(const char *program, const char *path, char **arguments);

#endif
