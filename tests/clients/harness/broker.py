"""One broker process on a temporary directory and free loopback ports."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

from . import environment
from .report import until

READY = re.compile(r"\bready\b", re.IGNORECASE)


def free_port():
    """A loopback port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Broker:
    """Start, stop, kill and restart; the data directory and the ports stay the same throughout.

    `configs` become a server.properties; or else `config` is the path of a file to start from as it is.
    """

    def __init__(self, name="broker", configs=None, wrapper=(), config=None):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix=f"tidegate-{name}-"))
        self.data = self.home / "data"
        self.log = self.home / "broker.log"
        self.port = free_port()
        self.admin_port = free_port()
        self.wrapper = list(wrapper)
        self.config = config
        self.process = None
        self.starts = 0
        self.configs = {
            "group.initial.rebalance.delay.ms": "300",
            **(configs or {}),
        }

    @property
    def bootstrap(self):
        return f"127.0.0.1:{self.port}"

    @property
    def admin(self):
        return f"http://127.0.0.1:{self.admin_port}"

    @property
    def pid(self):
        """The broker's own process id, also under a wrapper such as strace."""
        if not self.wrapper:
            return self.process.pid
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def start(self, timeout=60.0):
        """Returns once the broker has said that it is ready."""
        config = self.config or self.home / "server.properties"
        if not self.config:
            config.write_text("".join(f"{key}={value}\n" for key, value in self.configs.items()))
        self.starts += 1
        begin = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self.wrapper, str(environment.tidegate()), "serve", "--config", str(config), "--data-dir", str(self.data),
                 "--listen", self.bootstrap, "--admin", f"127.0.0.1:{self.admin_port}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=self.home,
            )
        until(lambda: self._ready(begin), lambda: f"ready; its log ends:\n{self.tail()}", timeout)
        return self

    def stop(self, timeout=30.0):
        """SIGTERM; returns the exit code, which a clean stop makes 0."""
        return self._end(signal.SIGTERM, timeout)

    def kill(self, timeout=30.0):
        """SIGKILL: what a crash of the process is."""
        return self._end(signal.SIGKILL, timeout)

    def restart(self):
        code = self.stop()
        if code != 0:
            raise RuntimeError(f"the broker exited {code} on SIGTERM:\n{self.tail()}")
        return self.start()

    def close(self, keep=False):
        """Ends the process if it still runs and removes its directory."""
        if self.process and self.process.poll() is None:
            self.kill()
        if not keep:
            shutil.rmtree(self.home, ignore_errors=True)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def tail(self, lines=30):
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def cli(self, *arguments, timeout=120):
        """Runs `tidegate` against this broker and returns its standard output."""
        environ = {**os.environ, "TIDEGATE_BOOTSTRAP": self.bootstrap, "TIDEGATE_ADMIN": self.admin}
        done = subprocess.run([str(environment.tidegate()), *map(str, arguments)], env=environ, timeout=timeout,
                              capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise RuntimeError(f"tidegate {' '.join(map(str, arguments))} exited {done.returncode}: "
                               f"{done.stdout}{done.stderr}")
        return done.stdout

    def push(self, name, path=None, version="0.1.0"):
        return self.cli("plugin", "push", path or environment.plugin(name), "--name", name, "--version", version)

    def get(self, path, timeout=10):
        with urllib.request.urlopen(self.admin + path, timeout=timeout) as response:
            return response.read().decode()

    def plugin_stats(self, name):
        return json.loads(self.cli("plugin", "show", name, "-o", "json"))

    def memory(self, field="VmRSS"):
        """One figure of /proc/PID/status, in bytes (VmHWM is the highest VmRSS since `reset_peak`)."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise KeyError(field)

    def reset_peak(self):
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        if kind is not None:
            print(f"the broker's log ends:\n{self.tail()}", flush=True)
        self.close()

    def _ready(self, begin):
        if self.process.poll() is not None:
            raise RuntimeError(f"the broker exited {self.process.returncode} at start:\n{self.tail()}")
        with open(self.log, errors="replace") as log:
            log.seek(begin)
            return any(READY.search(line) for line in log)

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
