"""A flipped bit in a file of a node that does not run: which files there are, and where in them a bit matters."""
import os

# (what it is called, whether a path below the data directory is one)
KINDS = [
    ("log segment", lambda path: path.startswith("service-store/log/") and path.endswith(".log")),
    ("spare segment", lambda path: path.endswith(".spare")),
    ("table", lambda path: path.endswith(".sst")),
    ("manifest", lambda path: "/engine/MANIFEST-" in path),
    ("current", lambda path: path.endswith("/engine/CURRENT")),
    ("options", lambda path: "/engine/OPTIONS-" in path),
    ("engine identity", lambda path: path.endswith("/engine/IDENTITY")),
    ("identity", lambda path: path == "service-store/identity"),
    ("witness", lambda path: path == "service-store/witness"),
    ("audit log", lambda path: path.endswith("/audit.log")),
]
# Which are nobody's memory: locks, texts for people, a dead process's report, what an import left, the test's filler.
OTHERS = ("lock", "lock.main", "LOCK", "LOG", "reports", "import", "filler")


def files_of(data):
    """{kind: [path below the data directory]}; a file of no kind is one of its own, so that none is left out."""
    found = {}
    for folder, folders, files in os.walk(data):
        folders[:] = [name for name in folders if name not in OTHERS]
        for name in files:
            path = os.path.relpath(os.path.join(folder, name), data)
            if name in OTHERS or name.startswith("LOG.old") or not os.path.getsize(os.path.join(folder, name)):
                continue
            kind = next((kind for kind, is_one in KINDS if is_one(path)), path)
            found.setdefault(kind, []).append(path)
    return {kind: sorted(paths) for kind, paths in found.items()}


def flip(path, chance):
    """Flips a bit; where most of the file is empty, one in what is not.  Returns where: (byte, bit)."""
    with open(path, "r+b") as file:
        data = file.read()
        place = chance.randrange(len(data))
        if chance.random() < 0.9:
            filled = [at for at in range(0, len(data), 512) if data[at:at + 512].strip(b"\0")]
            if filled:
                block = chance.choice(filled)
                place = block + chance.randrange(len(data[block:block + 512]))
        bit = chance.randrange(8)
        file.seek(place)
        file.write(bytes([data[place] ^ 1 << bit]))
    return place, bit
