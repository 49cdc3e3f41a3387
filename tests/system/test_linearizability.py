"""The checker itself: histories that are linearizable, and some that are not.  test_linearizability.py"""
import math
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from linearizability import DELETE, READ, REPLACE, WRITE, Operation, check


def history(*rows):
    operations = []
    for kind, invoked, returned, value, expected, result in rows:
        operation = Operation("c", kind, invoked, value, expected)
        operation.returned, operation.result = returned, result
        operations.append(operation)
    return operations


def write(invoked, returned, value):
    return WRITE, invoked, returned, value, None, True


def read(invoked, returned, result):
    return READ, invoked, returned, None, None, result


def replace(invoked, returned, expected, value, result):
    return REPLACE, invoked, returned, value, expected, result


def delete(invoked, returned, result):
    return DELETE, invoked, returned, None, None, result


NEVER = math.inf
good = {
    "nothing": (),
    "one after the other": (write(0, 1, "a"), read(2, 3, "a"), write(4, 5, "b"), read(6, 7, "b")),
    "at the same time": (write(0, 10, "a"), read(1, 2, None), read(3, 4, "a"), read(5, 6, "a")),
    "two writes, either order": (write(0, 10, "a"), write(0, 10, "b"), read(11, 12, "a")),
    "unknown, and done later": (write(0, NEVER, "a"), read(1, 2, None), read(5, 6, "a")),
    "unknown, and never done": (write(0, NEVER, "a"), read(1, 2, None), read(5, 6, None)),
    "replaced once": (write(0, 1, "a"), replace(2, 5, "a", "b", True), replace(2, 5, "a", "c", False), read(6, 7, "b")),
    "an unknown write explains a conflict": (write(0, 1, "a"), write(2, NEVER, "b"), replace(3, 4, "a", "c", False)),
    "deleted": (write(0, 1, "a"), delete(2, 3, True), read(4, 5, None), delete(6, 7, False)),
}
bad = {
    "a lost write": (write(0, 1, "a"), read(2, 3, None)),
    "an old value": (write(0, 1, "a"), write(2, 3, "b"), read(4, 5, "a")),
    "back and forth": (write(0, 1, "a"), write(2, 20, "b"), read(3, 4, "b"), read(5, 6, "a")),
    "out of nothing": (read(0, 1, "a"),),
    "replaced twice": (write(0, 1, "a"), replace(2, 5, "a", "b", True), replace(2, 5, "a", "c", True)),
    "a conflict without reason": (write(0, 1, "a"), replace(2, 3, "a", "b", False)),
    "unknown, seen and gone": (write(0, NEVER, "a"), read(1, 2, "a"), read(3, 4, None)),
    "seen before it began": (read(0, 1, "a"), write(2, 3, "a")),
    "deleted and still there": (write(0, 1, "a"), delete(2, 3, True), read(4, 5, "a")),
}


def simulate(seed, steps, stale):
    """Clients of a register that really is one; with `stale` now and then a read of what was there before."""
    chance = random.Random(seed)
    state = before = None
    operations = []
    busy = [0.0] * 6
    for number in range(steps):
        client = min(range(6), key=lambda c: busy[c] + chance.random())
        invoked = busy[client] + chance.random()
        at = invoked + chance.random() * 2
        operations.append((at, client, invoked, at + chance.random() * 2, number))
        busy[client] = operations[-1][3]
    result = []
    for at, client, invoked, returned, number in sorted(operations):
        kind = chance.choice((READ, READ, WRITE, REPLACE, DELETE))
        operation = Operation("c%d" % client, kind, invoked, "v%d" % number, state if chance.random() < 0.7 else "none")
        lost = chance.random() < 0.01
        if kind == READ:
            operation.result = before if stale and chance.random() < 0.1 else state
        elif kind == REPLACE:
            operation.result = state == operation.expected
        else:
            operation.result = True if kind == WRITE else state is not None
        if kind != READ and not (lost and chance.random() < 0.5):
            before, after = state, state
            if kind == WRITE or (kind == REPLACE and operation.result):
                after = operation.value
            elif kind == DELETE:
                after = None
            state = after
        if not lost:
            operation.returned = returned
        result.append(operation)
    return result


def main():
    for name, rows in good.items():
        assert check(history(*rows)) is None, name
    for name, rows in bad.items():
        assert check(history(*rows)) is not None, name
    found = 0
    for seed in range(60):
        assert check(simulate(seed, 400, False)) is None, seed
        found += check(simulate(seed, 400, True)) is not None
    assert found >= 30, found
    print("%d histories judged, %d of 60 stale ones found" % (len(good) + len(bad) + 120, found))


if __name__ == "__main__":
    main()
