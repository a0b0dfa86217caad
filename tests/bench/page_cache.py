"""Keeps the machine's memory in use, so that what page cache costs is the same for whoever makes it grow.

A virtual machine gets memory from its host when it is first written, gives back what has been free for a second or two, and gets it
again at a tenth of the speed of a copy (0.4 GB/s instead of 6). Whoever needs pages next would be charged for what the last one gave back.
"""

import pathlib
import re
import tempfile

# Left free, and not less than the kernel keeps free by itself.
LEAST_FREE = 1 << 30
CHUNK = 4 << 20


class PageCache:
    """A file without blocks on the disk: read, it fills the page cache with zeros, which the kernel drops for whatever needs their room."""

    def __init__(self):
        self.file = tempfile.TemporaryFile(buffering=0)
        self.file.truncate(8 << 40)
        self.buffer = bytearray(CHUNK)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def fill(self):
        """Takes what is free, wherever it came from. Nothing is read twice, so there is always more to read."""
        left = _memory("MemTotal")
        while _memory("MemFree") > LEAST_FREE and left > 0:
            left -= self.file.readinto(self.buffer)


def _memory(name):
    """Bytes; MemFree is what nobody uses, not even for files."""
    found = re.search(rf"^{name}: *(\d+) kB", pathlib.Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(found[1]) << 10 if found else 0
