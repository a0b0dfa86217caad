"""File systems made for one test: in a file, mounted on loopback, small, and gone afterwards. Needs root."""

import os
import pathlib
import shutil
import subprocess
import tempfile

from harness import environment
from harness.report import Skip


class Disk:
    """A mounted image. `cut_power` ends it as a power cut does: what was synced stays, what was not is gone."""

    def __init__(self, kind="ext4", megabytes=1024):
        if os.geteuid() != 0:
            raise Skip("mounting a file system needs root")
        self.tools = {name: environment.apt(name, package) for name, package in
                      (("mkfs." + kind, {"ext4": "e2fsprogs", "xfs": "xfsprogs"}[kind]), ("xfs_io", "xfsprogs"))}
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="tidegate-disk-"))
        self.image, self.path = self.home / "image", self.home / "mnt"
        self.path.mkdir()
        self.mounted = False
        try:
            with open(self.image, "wb") as image:
                image.truncate(megabytes << 20)
            quiet = ["-q", "-F"] if kind == "ext4" else ["-q", "-f"]
            run(self.tools["mkfs." + kind], *quiet, self.image)
            self.mount()
        except subprocess.CalledProcessError as error:
            self.close()
            raise Skip(f"no file system can be mounted here: {error.stderr.strip()}") from error

    def mount(self):
        run("mount", "-o", "loop", self.image, self.path)
        self.mounted = True

    def unmount(self):
        run("umount", self.path)
        self.mounted = False

    def cut_power(self):
        """Nothing reaches the image from now on, not even its journal."""
        run(self.tools["xfs_io"], "-x", "-c", "shutdown", self.path)

    def remount(self):
        """After `cut_power` and the end of every process on it: what the next start finds."""
        self.unmount()
        self.mount()

    def used(self):
        """Bytes of the directory as `du` counts them."""
        return used(self.path)

    def close(self):
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.path)], check=False, capture_output=True)
        shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def used(path):
    """Bytes on disk below a path, as `du` counts them. Files may go while it counts."""
    out = subprocess.run(["du", "-s", "-B1", str(path)], capture_output=True, text=True, check=False).stdout
    return int(out.split()[0])


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
