"""A node's disk that fails and forgets: the other half of faulty_disk.c, which says what is kept where."""
import ctypes
import mmap
import os
import shutil
import struct

SECTOR = 512 # what a disk writes wholly or not at all
ERRORS = struct.Struct("<iiiiiI64s") # struct control
LIBRARY = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, AT_SYMLINK_NOFOLLOW = -100, 0x100
STATX_TYPE, STATX_INO, STATX_BTIME = 0x1, 0x100, 0x800


def identity_of(path):
    """As faulty_disk.c names a file; None where the file system does not know when files were born."""
    buffer = ctypes.create_string_buffer(256)
    if LIBRARY.statx(AT_FDCWD, path.encode(), AT_SYMLINK_NOFOLLOW, STATX_TYPE | STATX_INO | STATX_BTIME, buffer) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    mask, = struct.unpack_from("<I", buffer, 0)
    inode, = struct.unpack_from("<Q", buffer, 32)
    seconds, nanoseconds = struct.unpack_from("<qI", buffer, 80)
    return "%d-%d.%d" % (inode, seconds, nanoseconds) if mask & STATX_BTIME else None


def is_kept(path):
    """A file or a folder; sockets and links are not what a disk keeps here."""
    return not os.path.islink(path) and (os.path.isfile(path) or os.path.isdir(path))


def empty(folder):
    for entry in os.scandir(folder):
        shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)


class Disk:
    """Of one node, from before its first start on.  All but `fail` is for a node that does not run."""

    def __init__(self, node, library):
        self.data = os.path.realpath(os.path.join(node.directory, "data"))
        self.durable = os.path.join(node.directory, "durable")
        self.control = os.path.join(node.directory, "disk-control")
        os.makedirs(self.data, exist_ok=True)
        with open(self.control, "wb") as file:
            file.write(bytes(ERRORS.size))
        with open(self.control, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), ERRORS.size)
        self.take_all_for_durable()
        node.environment.update(LD_PRELOAD=library, HOLDFAST_DISK=self.data, HOLDFAST_DISK_DURABLE=self.durable,
                                HOLDFAST_DISK_CONTROL=self.control)
        node.environment["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"

    @staticmethod
    def reason_against(directory):
        return None if identity_of(directory) else "its file system does not tell when files were born"

    # ---- Errors ----

    def fail(self, write=0, sync=0, read=0, per_mille=1000, short=False, only=""):
        ERRORS.pack_into(self.page, 0, write, sync, read, per_mille, short, self.failed(), only.encode())

    def mend(self):
        self.fail()

    def failed(self):
        """How many calls were made to fail."""
        return ERRORS.unpack_from(self.page, 0)[5]

    # ---- Power cuts ----

    def take_all_for_durable(self):
        shutil.rmtree(self.durable, ignore_errors=True)
        for kind in ("files", "dirs"):
            os.makedirs(os.path.join(self.durable, kind))
        for folder, _, _ in os.walk(self.data):
            with open(os.path.join(self.durable, "dirs", identity_of(folder)), "w") as entries:
                for kind, identity, name in self.living_entries(folder):
                    entries.write("%s %s %s\n" % (kind, identity, name))
                    if kind == "f":
                        shutil.copyfile(os.path.join(folder, name), os.path.join(self.durable, "files", identity))

    def durable_entries(self, identity):
        """[(kind, id, name)] of a directory as of its last fsync; nothing when it never had one."""
        try:
            with open(os.path.join(self.durable, "dirs", identity)) as file:
                return [line.rstrip("\n").split(" ", 2) for line in file]
        except FileNotFoundError:
            return []

    @staticmethod
    def living_entries(folder):
        return [("d" if entry.is_dir() else "f", identity_of(entry.path), entry.name)
                for entry in os.scandir(folder) if is_kept(entry.path)]

    def durable_bytes(self, identity):
        try:
            with open(os.path.join(self.durable, "files", identity), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b"" # its name was flushed, its bytes never were

    def cut_power(self, chance):
        """Makes the data directory what a power cut leaves, for a node that was killed just now.  Of what was not
        flushed some may have reached the disk: in half of the cases nothing has; otherwise every sector may have, or
        not, and all the names that there were, or none."""
        living = {identity_of(path): path for folder, folders, files in os.walk(self.data)
                  for path in (os.path.join(folder, name) for name in files + folders) if is_kept(path)}
        share = chance.choice([0, 0, 0.5, 0.9])
        names = chance.random() < share
        fresh = self.data + ".fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        self.restore(identity_of(self.data), self.data, fresh, living, names, share, chance)
        empty(self.data) # it may be a mount
        for name in os.listdir(fresh):
            shutil.move(os.path.join(fresh, name), os.path.join(self.data, name))
        self.take_all_for_durable()
        return "%s%s" % ("nothing more" if not share else "%d %% of the sectors" % (share * 100),
                         " and all names" if names else "")

    def restore(self, identity, path, to, living, names, share, chance):
        os.makedirs(to)
        entries = self.living_entries(path) if names and path else self.durable_entries(identity)
        for kind, child, name in sorted(entries):
            if kind == "d":
                self.restore(child, living.get(child), os.path.join(to, name), living, names, share, chance)
                continue
            data = self.durable_bytes(child)
            if share and child in living:
                data = self.mix(data, living[child], share, chance)
            with open(os.path.join(to, name), "wb") as file:
                file.write(data)

    @staticmethod
    def mix(durable, path, share, chance):
        with open(path, "rb") as file:
            present = file.read()
        if present == durable:
            return durable
        size = len(present) if chance.random() < share else len(durable)
        mixed = bytearray(durable[:size].ljust(size, b"\0"))
        for at in range(0, min(size, len(present)), SECTOR):
            sector = present[at:at + SECTOR]
            if sector != mixed[at:at + SECTOR] and chance.random() < share:
                mixed[at:at + len(sector)] = sector
        return bytes(mixed[:size])
