"""A server process on a temporary directory and free loopback ports: started, watched, ended."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from .report import until


def free_port():
    """A loopback port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """Start, stop, kill and restart; the directory and the port stay the same throughout.

    A subclass has `command()`, the command line, and `READY`, a pattern of the line of its log that says it serves.
    """

    READY = None
    # The exit code of a clean stop.
    STOPPED = 0

    def __init__(self, name):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix=f"tidegate-{name}-"))
        self.log = self.home / "broker.log"
        self.port = free_port()
        self.process = None
        self.starts = 0

    def command(self):
        raise NotImplementedError

    @property
    def bootstrap(self):
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self):
        return self.process.pid

    def start(self, timeout=60.0):
        """Returns once the server has said that it is ready."""
        self.starts += 1
        begin = self.log.stat().st_size if self.log.exists() else 0
        command = [str(part) for part in self.command()]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                            cwd=self.home)
        until(lambda: self._ready(begin), lambda: f"ready; its log ends:\n{self.tail()}", timeout)
        return self

    def stop(self, timeout=30.0):
        """SIGTERM; returns the exit code, which a clean stop makes `STOPPED`."""
        return self._end(signal.SIGTERM, timeout)

    def kill(self, timeout=30.0):
        """SIGKILL: what a crash of the process is."""
        return self._end(signal.SIGKILL, timeout)

    def restart(self):
        code = self.stop()
        if code != self.STOPPED:
            raise RuntimeError(f"the broker exited {code} on SIGTERM:\n{self.tail()}")
        return self.start()

    def close(self, keep=False):
        """Ends the process if it still runs and removes its directory."""
        if self.alive():
            self.kill()
        if not keep:
            shutil.rmtree(self.home, ignore_errors=True)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def tail(self, lines=30):
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def memory(self, field="VmRSS"):
        """One figure of /proc/PID/status, in bytes (VmHWM is the highest VmRSS since `reset_peak`)."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise KeyError(field)

    def reset_peak(self):
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            # What did not become ready in time would otherwise run on.
            self.close()
            raise

    def __exit__(self, kind, *_):
        if kind is not None:
            print(f"the broker's log ends:\n{self.tail()}", flush=True)
        self.close()

    def _ready(self, begin):
        if self.process.poll() is not None:
            raise RuntimeError(f"the broker exited {self.process.returncode} at start:\n{self.tail()}")
        with open(self.log, errors="replace") as log:
            log.seek(begin)
            return any(self.READY.search(line) for line in log)

    def _end(self, number, timeout):
        os.kill(self.pid, number)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise TimeoutError(f"the broker was still there {timeout:.0f} s after signal {number}:\n{self.tail()}")


def wait_for_port(port, timeout=30.0):
    """Waits until something accepts on a loopback port."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on {port}")
