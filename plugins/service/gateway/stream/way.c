#include "stream/way.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { AGAIN = -1, BROKEN = -2, UNFIT = -3 };

/* ---- Pipes ----------------------------------------------------------------------------------------------------- */

static void destroy_pipe(struct gateway_pipes *pipes, struct gateway_pipe *pipe)
{
    (void)close(pipe->out); /* what is in it is lost with the connection */
    (void)close(pipe->in);
    free(pipe);
    pipes->count--;
}

/* The system refuses large ones to a user who has many. */
static int set_size(struct gateway_pipe *pipe)
{
    int size = GATEWAY_WAY_PIPE_SIZE;

    while (size >= GATEWAY_WAY_PIPE_LEAST && fcntl(pipe->in, F_SETPIPE_SZ, size) < size)
        size /= 2;
    pipe->size = (uint32_t)size;
    return size >= GATEWAY_WAY_PIPE_LEAST;
}

static struct gateway_pipe *create_pipe(struct gateway_pipes *pipes)
{
    struct gateway_pipe *pipe = pipes->count < GATEWAY_WAY_PIPES_MAX ? calloc(1, sizeof *pipe) : NULL;
    int ends[2];

    if (!pipe)
        return NULL;
    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) {
        free(pipe);
        return NULL;
    }
    pipe->out = ends[0];
    pipe->in = ends[1];
    pipes->count++;
    if (set_size(pipe))
        return pipe;
    destroy_pipe(pipes, pipe);
    return NULL;
}

static struct gateway_pipe *take_pipe(struct gateway_pipes *pipes)
{
    struct gateway_pipe *pipe = pipes->spare;

    if (!pipe)
        return create_pipe(pipes);
    pipes->spare = pipe->next;
    pipes->spare_count--;
    return pipe;
}

/* Of one that is empty. */
static void give_back(struct gateway_pipes *pipes, struct gateway_pipe *pipe)
{
    if (pipes->spare_count >= GATEWAY_WAY_SPARE_MAX) {
        destroy_pipe(pipes, pipe);
        return;
    }
    pipe->next = pipes->spare;
    pipes->spare = pipe;
    pipes->spare_count++;
}

void gateway_pipes_done(struct gateway_pipes *pipes)
{
    while (pipes->spare) {
        struct gateway_pipe *pipe = pipes->spare;

        pipes->spare = pipe->next;
        destroy_pipe(pipes, pipe);
    }
    pipes->spare_count = 0;
}

/* ---- Life ------------------------------------------------------------------------------------------------------ */

void gateway_way_init(struct gateway_way *way)
{
    *way = (struct gateway_way){0};
    hf_buffer_init(&way->waiting, UINT64_MAX);
}

static void leave_pipe(struct gateway_way *way, struct gateway_pipes *pipes)
{
    if (!way->pipe)
        return;
    if (way->in_pipe)
        destroy_pipe(pipes, way->pipe); /* whoever had it next would get these bytes */
    else
        give_back(pipes, way->pipe);
    way->pipe = NULL;
    way->in_pipe = 0;
}

void gateway_way_done(struct gateway_way *way, struct gateway_pipes *pipes)
{
    leave_pipe(way, pipes);
    hf_buffer_done(&way->waiting);
}

int32_t gateway_way_waits(const struct gateway_way *way)
{
    return way->in_pipe > 0 || way->waiting.size > 0;
}

/* ---- System calls ---------------------------------------------------------------------------------------------- */

/* Bytes; AGAIN, BROKEN, or UNFIT: this kind of socket cannot be spliced. */
static int64_t result_of(ssize_t bytes)
{
    if (bytes >= 0)
        return bytes;
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return AGAIN;
    return errno == EINVAL || errno == EOPNOTSUPP ? UNFIT : BROKEN;
}

static int64_t read_bytes(int32_t from, hf_buffer scratch)
{
    ssize_t got;

    do
        got = recv(from, scratch.data, scratch.capacity, 0);
    while (got < 0 && errno == EINTR);
    return result_of(got);
}

static int64_t write_bytes(int32_t to, const uint8_t *bytes, uint64_t size)
{
    ssize_t sent;

    do
        sent = send(to, bytes, size, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return result_of(sent);
}

static int64_t move_pages(int32_t from, int32_t to, uint64_t size)
{
    ssize_t moved;

    do
        moved = splice(from, NULL, to, NULL, size, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    while (moved < 0 && errno == EINTR);
    return result_of(moved);
}

/* ---- Writing ---------------------------------------------------------------------------------------------------- */

static int32_t flush_waiting(struct gateway_way *way, int32_t to)
{
    int64_t sent = write_bytes(to, way->waiting.data, way->waiting.size);

    if (sent == AGAIN)
        return GATEWAY_WAY_GOES_ON;
    if (sent < 0)
        return GATEWAY_WAY_BROKEN;
    way->moved += (uint64_t)sent;
    hf_buffer_consume(&way->waiting, (uint64_t)sent);
    if (way->waiting.size == 0)
        hf_buffer_done(&way->waiting); /* connections are many */
    return GATEWAY_WAY_GOES_ON;
}

/* What the other side cannot take by splicing is read out of the pipe, once; the way goes through memory from then on.
 */
static int32_t empty_by_hand(struct gateway_way *way)
{
    if (hf_buffer_reserve(&way->waiting, way->in_pipe) != HF_OK)
        return GATEWAY_WAY_BROKEN;
    while (way->in_pipe) {
        ssize_t got = read(way->pipe->out, way->waiting.data + way->waiting.size, way->in_pipe);

        if (got <= 0 && errno != EINTR)
            return GATEWAY_WAY_BROKEN;
        way->waiting.size += got > 0 ? (uint64_t)got : 0;
        way->in_pipe -= got > 0 ? (uint32_t)got : 0;
    }
    way->splices = 0;
    way->is_unfit = 1;
    return GATEWAY_WAY_GOES_ON;
}

static int32_t flush_pipe(struct gateway_way *way, int32_t to)
{
    while (way->in_pipe) {
        int64_t sent = move_pages(way->pipe->out, to, way->in_pipe);

        if (sent == AGAIN)
            return GATEWAY_WAY_GOES_ON;
        if (sent == UNFIT)
            return empty_by_hand(way) == GATEWAY_WAY_GOES_ON ? flush_waiting(way, to) : GATEWAY_WAY_BROKEN;
        if (sent <= 0)
            return GATEWAY_WAY_BROKEN;
        way->moved += (uint64_t)sent;
        way->in_pipe -= (uint32_t)sent;
    }
    return GATEWAY_WAY_GOES_ON;
}

int32_t gateway_way_flush(struct gateway_way *way, int32_t to, struct gateway_pipes *pipes)
{
    int32_t result = GATEWAY_WAY_GOES_ON;

    if (way->waiting.size)
        result = flush_waiting(way, to);
    if (result == GATEWAY_WAY_GOES_ON && way->in_pipe && !way->waiting.size)
        result = flush_pipe(way, to);
    if (result == GATEWAY_WAY_BROKEN || gateway_way_waits(way))
        return result;
    leave_pipe(way, pipes);
    if (way->has_ended && !way->is_passed_on) {
        way->is_passed_on = 1;
        (void)shutdown(to, SHUT_WR); /* it fails when the other side is gone, which is as good */
    }
    return GATEWAY_WAY_GOES_ON;
}

/* ---- Reading ---------------------------------------------------------------------------------------------------- */

static int64_t copy(struct gateway_way *way, int32_t from, int32_t to, hf_buffer scratch)
{
    int64_t got = read_bytes(from, scratch), sent;

    if (got <= 0)
        return got == UNFIT ? BROKEN : got;
    sent = write_bytes(to, scratch.data, (uint64_t)got);
    if (sent < 0 && sent != AGAIN)
        return BROKEN;
    sent = sent > 0 ? sent : 0;
    way->moved += (uint64_t)sent;
    if (sent < got && hf_buffer_append(&way->waiting, scratch.data + sent, (uint64_t)(got - sent)) != HF_OK)
        return BROKEN;
    if (got < GATEWAY_WAY_LARGE)
        way->large = 0;
    else
        way->large += (uint64_t)got == scratch.capacity ? 2 : 1;
    way->splices = way->large >= 2 && !way->is_unfit;
    way->small = 0;
    return got;
}

static int64_t hand_on(struct gateway_way *way, int32_t from, int32_t to)
{
    int64_t got = move_pages(from, way->pipe->in, way->is_slow ? GATEWAY_WAY_SLOW_SIZE : way->pipe->size);

    if (got <= 0)
        return got;
    way->in_pipe = (uint32_t)got;
    if (flush_pipe(way, to) == GATEWAY_WAY_BROKEN)
        return BROKEN;
    way->is_slow = gateway_way_waits(way) != 0;
    way->small = got < GATEWAY_WAY_SMALL ? way->small + 1 : 0;
    if (way->small >= GATEWAY_WAY_SMALL_COUNT)
        way->splices = way->large = 0;
    return got;
}

static int64_t step(struct gateway_way *way, int32_t from, int32_t to, struct gateway_pipes *pipes, hf_buffer scratch)
{
    if (way->splices && !way->pipe)
        way->pipe = take_pipe(pipes);
    if (!way->splices || !way->pipe)
        return copy(way, from, to, scratch);

    int64_t got = hand_on(way, from, to);
    if (got != UNFIT)
        return got;
    way->splices = 0;
    way->is_unfit = 1;
    return copy(way, from, to, scratch);
}

int32_t gateway_way_move(struct gateway_way *way, int32_t from, int32_t to, struct gateway_pipes *pipes,
                         hf_buffer scratch)
{
    int64_t got = 0, all = 0;

    while (!gateway_way_waits(way) && !way->has_ended && all < GATEWAY_WAY_TURN) {
        got = step(way, from, to, pipes, scratch);
        if (got == BROKEN)
            return GATEWAY_WAY_BROKEN;
        if (got == 0)
            way->has_ended = 1;
        if (got < GATEWAY_WAY_LARGE)
            break; /* all that was there, most likely; if not, we are called again */
        all += got;
    }
    return gateway_way_waits(way) ? GATEWAY_WAY_GOES_ON : gateway_way_flush(way, to, pipes);
}
