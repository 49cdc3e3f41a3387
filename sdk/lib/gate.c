#include <holdfast/lib/gate.h>

#include <stdlib.h>

/* Items and bytes are one number, so that one atomic addition counts both: items in the upper part.  `entered` and
 * `left` wrap round; their difference is right as long as what is inside fits. */
enum { ITEM_SHIFT = 40, SLOTS = 16384, WINDOW_US = 90000 };

#define BYTES_MASK   ((UINT64_C(1) << ITEM_SHIFT) - 1)
#define RATE_SECONDS 1000

struct hf_shares {
    uint64_t seed;
    uint64_t slots[SLOTS];
};

static uint64_t load(const uint64_t *number)
{
    return __atomic_load_n(number, __ATOMIC_RELAXED);
}

static void store(uint64_t *number, uint64_t value)
{
    __atomic_store_n(number, value, __ATOMIC_RELAXED);
}

static uint64_t pack(uint64_t items, uint64_t bytes)
{
    return (items << ITEM_SHIFT) + bytes;
}

static uint64_t items_of(uint64_t packed)
{
    return packed >> ITEM_SHIFT;
}

static uint64_t bytes_of(uint64_t packed)
{
    return packed & BYTES_MASK;
}

static uint64_t limit(const uint64_t *configured, uint64_t most)
{
    uint64_t value = load(configured);

    return value < most ? value : most;
}

/* ---- Shares ------------------------------------------------------------------------------------------------------ */

hf_shares *hf_shares_create(uint64_t seed)
{
    hf_shares *shares = calloc(1, sizeof *shares);

    if (shares)
        shares->seed = seed | 1;
    return shares;
}

void hf_shares_destroy(hf_shares *shares)
{
    free(shares);
}

/* The finisher of splitmix64. */
static uint64_t *slot_of(hf_shares *shares, uint64_t key)
{
    uint64_t x = key + shares->seed;

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return &shares->slots[(x ^ (x >> 31)) % SLOTS];
}

/* `mine` of what all have together, both with what comes now.  The share is of what the others leave.  A client that
 * has nothing yet needs only room. */
static int exceeds_share(uint64_t mine, uint64_t all, uint64_t added, uint64_t most, uint64_t share)
{
    uint64_t others = all > mine ? all - mine : 0, left_to_me = most > others ? most - others : 0;

    return mine > added && mine * 100 > left_to_me * share;
}

/* ---- In and out -------------------------------------------------------------------------------------------------- */

/* `left` is read first: what is inside may be taken for more than it is, never for less. */
static uint64_t inside(const hf_gate *gate)
{
    uint64_t left = __atomic_load_n(&gate->left, __ATOMIC_ACQUIRE);

    return load(&gate->entered) - left;
}

uint64_t hf_gate_items(const hf_gate *gate)
{
    return items_of(inside(gate));
}

uint64_t hf_gate_bytes(const hf_gate *gate)
{
    return bytes_of(inside(gate));
}

/* Returns what is inside with it. */
static uint64_t add(hf_gate *gate, uint64_t packed, uint64_t now_us)
{
    uint64_t left = __atomic_load_n(&gate->left, __ATOMIC_ACQUIRE);
    uint64_t before = __atomic_fetch_add(&gate->entered, packed, __ATOMIC_RELAXED) - left;

    if (before == 0)
        store(&gate->busy_us, now_us);
    return before + packed;
}

static int is_full(const hf_gate *gate, uint64_t all)
{
    return items_of(all) > limit(&gate->limits->items, HF_GATE_ITEMS_MAX) ||
           bytes_of(all) > limit(&gate->limits->bytes, HF_GATE_BYTES_MAX);
}

static int is_over_share(const hf_gate *gate, uint64_t mine, uint64_t all, uint64_t added)
{
    uint64_t share = load(&gate->limits->share);

    return share < 100 && (exceeds_share(items_of(mine), items_of(all), items_of(added),
                                         limit(&gate->limits->items, HF_GATE_ITEMS_MAX), share) ||
                           exceeds_share(bytes_of(mine), bytes_of(all), bytes_of(added),
                                         limit(&gate->limits->bytes, HF_GATE_BYTES_MAX), share));
}

static int32_t refuse(hf_gate *gate, uint64_t packed, int32_t why)
{
    __atomic_fetch_sub(&gate->entered, packed, __ATOMIC_RELAXED);
    return why;
}

int32_t hf_gate_enter(hf_gate *gate, hf_shares *shares, uint64_t key, uint64_t items, uint64_t bytes, uint64_t now_us)
{
    if (items > HF_GATE_ITEMS_MAX || bytes > HF_GATE_BYTES_MAX)
        return HF_GATE_FULL;
    uint64_t packed = pack(items, bytes), all = add(gate, packed, now_us);

    if (is_full(gate, all))
        return refuse(gate, packed, HF_GATE_FULL);
    if (!shares)
        return 0;
    uint64_t *slot = slot_of(shares, key), mine = __atomic_fetch_add(slot, packed, __ATOMIC_RELAXED) + packed;

    if (!is_over_share(gate, mine, all, packed))
        return 0;
    __atomic_fetch_sub(slot, packed, __ATOMIC_RELAXED);
    return refuse(gate, packed, HF_GATE_SHARE);
}

void hf_gate_force(hf_gate *gate, hf_shares *shares, uint64_t key, uint64_t items, uint64_t bytes, uint64_t now_us)
{
    uint64_t packed = pack(items, bytes);

    add(gate, packed, now_us);
    if (shares)
        __atomic_fetch_add(slot_of(shares, key), packed, __ATOMIC_RELAXED);
}

void hf_gate_leave(hf_gate *gate, hf_shares *shares, uint64_t key, uint64_t items, uint64_t bytes)
{
    uint64_t packed = pack(items, bytes);

    if (shares)
        __atomic_fetch_sub(slot_of(shares, key), packed, __ATOMIC_RELAXED);
    __atomic_fetch_add(&gate->left, packed, __ATOMIC_RELEASE);
}

/* ---- How fast ---------------------------------------------------------------------------------------------------- */

/* A new sample counts for a quarter, which is about the last half second; the first counts for all. */
static uint64_t blend(uint64_t rate, uint64_t amount, uint64_t elapsed_us, uint64_t measured)
{
    uint64_t sample = (uint64_t)((double)amount * 1e6 * RATE_SECONDS / (double)elapsed_us);

    return measured ? rate - rate / 4 + sample / 4 : sample;
}

void hf_gate_measure(hf_gate *gate, uint64_t now_us)
{
    uint64_t left = __atomic_load_n(&gate->left, __ATOMIC_ACQUIRE);

    if (load(&gate->entered) == left) {
        gate->window_us = 0; /* idle: it says nothing about how fast things can leave */
        return;
    }
    if (!gate->window_us || load(&gate->busy_us) > gate->window_us) {
        gate->window_us = now_us;
        gate->window_left = left;
        return;
    }
    if (now_us < gate->window_us + WINDOW_US)
        return;
    uint64_t gone = left - gate->window_left, elapsed = now_us - gate->window_us, measured = load(&gate->measured);

    store(&gate->item_rate, blend(load(&gate->item_rate), items_of(gone), elapsed, measured));
    store(&gate->byte_rate, blend(load(&gate->byte_rate), bytes_of(gone), elapsed, measured));
    store(&gate->measured, 1);
    gate->window_us = now_us;
    gate->window_left = left;
}

static uint64_t time_for(uint64_t amount, uint64_t rate)
{
    double us = rate ? (double)amount * 1e6 * RATE_SECONDS / (double)rate : 1e19;

    if (!amount)
        return 0;
    return us < 1e18 ? (uint64_t)us : UINT64_MAX;
}

uint64_t hf_gate_wait_us(const hf_gate *gate, uint64_t now_us)
{
    uint64_t all = inside(gate), busy_us = load(&gate->busy_us);

    if (!all)
        return 0;
    if (!load(&gate->measured))
        return now_us > busy_us ? now_us - busy_us : 0;
    uint64_t items = time_for(items_of(all), load(&gate->item_rate));
    uint64_t bytes = time_for(bytes_of(all), load(&gate->byte_rate));

    return items > bytes ? items : bytes;
}

uint64_t hf_gate_retry_after_ms(hf_gate *gate, uint64_t now_us, uint64_t minimum_ms, uint64_t maximum_ms)
{
    /* Steps of the golden ratio: any few that follow each other lie far apart. */
    uint64_t turn = __atomic_fetch_add(&gate->refused, 1, __ATOMIC_RELAXED);
    double spread = (double)(turn * UINT64_C(0x9e3779b97f4a7c15) >> 11) / (double)(UINT64_C(1) << 53);
    uint64_t wait_ms = hf_gate_wait_us(gate, now_us) / 1000;

    if (wait_ms < 2 * minimum_ms)
        wait_ms = 2 * minimum_ms;
    if (wait_ms > maximum_ms)
        wait_ms = maximum_ms;
    wait_ms = wait_ms / 2 + (uint64_t)((double)(wait_ms - wait_ms / 2) * spread);
    return wait_ms < minimum_ms ? minimum_ms : wait_ms;
}
