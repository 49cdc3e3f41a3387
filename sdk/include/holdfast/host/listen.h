/* host/listen.h: sockets that outlive the process: host->query(host, "hf.listen/1").
 *
 * The supervisor holds every socket that is opened here and gives it to the process's successor, whether that one
 * comes after a crash, kill -9, or the supervisor's own restart: what comes meanwhile waits in the kernel, up to the
 * length of its queue, and nothing is refused.  Without a supervisor sockets are simply opened.
 *
 * What the successor has not asked for when it is ready, which is when all services have started, is closed: open
 * listeners in `start`, not later.
 *
 * Changes
 *   1.0  first version
 */
#ifndef HOLDFAST_HOST_LISTEN_H
#define HOLDFAST_HOST_LISTEN_H

#include <holdfast/holdfast.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HF_LISTEN_INTERFACE "hf.listen/1"

enum { HF_LISTEN_STREAM = 1, HF_LISTEN_DATAGRAM = 2 };

enum { HF_LISTEN_COUNT_MAX = 256 };

typedef struct hf_listen_interface {
    hf_head head;

    /* Gives non-blocking sockets at "host:port", "[v6]:port" or "unix:PATH"; those of streams are listening.  The
     * kernel spreads connections and datagrams over them (SO_REUSEPORT), so each worker can have one; at a path all are
     * the same one.  "[::]:port" takes IPv4, too.
     *
     * `type`             HF_LISTEN_STREAM or HF_LISTEN_DATAGRAM
     * `count`            1..HF_LISTEN_COUNT_MAX
     * `ret_descriptors`  `count` of them, owned: closed with close() when the process ends, or with `close` below;
     *                    untouched on failure
     *
     * Where the supervisor holds sockets of this type and address from a predecessor, these are given.  When it has
     * fewer than `count`, more are opened.  When it has more, the surplus is closed, the emptiest first: connections
     * that wait in its queues go to the others if net.ipv4.tcp_migrate_req is 1 (Linux 5.14), and are otherwise reset,
     * as are datagrams lost.
     *
     * May block for a look-up: start-up and reload only.  [main]
     *
     * Returns 0, or
     *   HF_EINVAL  not an address, no such host, port 0, or this process listens there already
     *   HF_EIO     the system refused, such as when another program is there; the message says so
     *   HF_ENOMEM */
    int32_t (*open)(const hf_host *host, int32_t type, const char *address, uint32_t count, int32_t *ret_descriptors,
                    hf_error *error);

    /* Closes what `open` gave for this type and address, and has the supervisor forget it: nobody listens there any
     * more.  For a reload that takes a listener out.  A process that merely ends must not call this: it closes its
     * descriptors, or exits.  [main] */
    void (*close)(const hf_host *host, int32_t type, const char *address, const int32_t *descriptors, uint32_t count);
} hf_listen_interface;

#ifdef __cplusplus
}
#endif
#endif
