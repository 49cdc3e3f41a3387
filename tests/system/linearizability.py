"""Whether a history of one register is linearizable: the algorithm of Wing and Gong with Lowe's memory of states seen
(G. Lowe, "Testing for linearizability", 2017), as A. Horn and D. Kroening describe it ("Faster linearizability checking
via P-compositionality", 2015): registers are independent, so that each key is checked by itself (M. Herlihy, J. Wing,
"Linearizability: a correctness condition for concurrent objects", 1990).

A value is written once, so that a state is the name of a value, or None: there is no record."""
import math

READ, WRITE, REPLACE, DELETE = "read", "write", "replace", "delete"


class Operation:
    """`invoked` and `returned` are times; returned is math.inf when it is not known what came of it: it may have been
    done at any time after its invocation, or never.

    READ      result: the value, or None
    WRITE     value; result True
    REPLACE   value, if `expected` is there; result: whether it was
    DELETE    result: whether there was something"""
    __slots__ = ("client", "kind", "value", "expected", "result", "invoked", "returned")

    def __init__(self, client, kind, invoked, value=None, expected=None):
        self.client = client
        self.kind = kind
        self.value = value
        self.expected = expected
        self.result = None
        self.invoked = invoked
        self.returned = math.inf

    def __repr__(self):
        what = {READ: "read", WRITE: "write %s" % self.value, DELETE: "delete",
                REPLACE: "replace %s by %s" % (self.expected, self.value)}[self.kind]
        came = "?" if self.returned == math.inf else repr(self.result)
        return "%10.4f..%10.4f %-4s %s -> %s" % (self.invoked, self.returned, self.client, what, came)


def step(operation, state):
    """The states after the operation in `state`, when it can have had its result there; else None, False."""
    known = operation.returned != math.inf
    if operation.kind == READ:
        return state, not known or operation.result == state
    if operation.kind == WRITE:
        return operation.value, True
    if operation.kind == REPLACE:
        fits = state == operation.expected
        if known and fits != operation.result:
            return None, False
        return (operation.value if fits else state), True
    there = state is not None
    if known and there != operation.result:
        return None, False
    return None, True


class Entry:
    """A call, or a return, in the list of what happened; calls know their return."""
    __slots__ = ("operation", "number", "match", "previous", "next")

    def __init__(self, operation, number, match=None):
        self.operation = operation
        self.number = number
        self.match = match
        self.previous = None
        self.next = None


def make_list(operations):
    events = []
    for number, operation in enumerate(operations):
        back = None
        if operation.returned != math.inf:
            back = Entry(operation, number)
            events.append((operation.returned, 1, number, back))
        events.append((operation.invoked, 0, number, Entry(operation, number, back)))
    events.sort(key=lambda event: event[:3]) # a call at the moment of a return comes before it: they may overlap
    head = last = Entry(None, -1)
    for event in events:
        last.next, event[3].previous = event[3], last
        last = event[3]
    return head


def unlink(entry):
    entry.previous.next = entry.next
    if entry.next:
        entry.next.previous = entry.previous


def relink(entry):
    entry.previous.next = entry
    if entry.next:
        entry.next.previous = entry


def lift(call):
    unlink(call)
    if call.match:
        unlink(call.match)


def unlift(call):
    if call.match:
        relink(call.match)
    relink(call)


def check(operations, initial=None):
    """None when the history is linearizable, else (the longest order that was found, the return that stood against it).
    """
    operations = [o for o in operations if not (o.kind == READ and o.returned == math.inf)]
    missing = sum(o.returned != math.inf for o in operations)
    head = make_list(operations)
    state, done, seen, taken = initial, 0, set(), []
    longest, against = [], None
    entry = head.next
    while missing:
        if entry is not None and (entry.match or entry.operation.returned == math.inf): # a call
            after, possible = step(entry.operation, state)
            place = (done | 1 << entry.number, after)
            if not entry.match and after == state:
                possible = False # what may as well not have happened
            if possible and place not in seen:
                seen.add(place)
                taken.append((entry, state))
                state, done = after, place[0]
                missing -= entry.match is not None
                lift(entry)
                entry = head.next
            else:
                entry = entry.next
            continue
        if entry is not None and len(taken) >= len(longest):
            longest, against = [call.operation for call, _ in taken], entry.operation
        if not taken:
            return longest, against
        call, state = taken.pop()
        done &= ~(1 << call.number)
        missing += call.match is not None
        unlift(call)
        entry = call.next
    return None
