"""One Tidegate process on a temporary directory and free loopback ports."""

import json
import os
import pathlib
import re
import subprocess
import urllib.request

from . import environment
from .process import Server, free_port, wait_for_port  # noqa: F401, for the tests that have them from here


class Broker(Server):
    """`configs` become a server.properties; or else `config` is the path of a file to start from as it is."""

    READY = re.compile(r"\bready\b", re.IGNORECASE)

    def __init__(self, name="broker", configs=None, wrapper=(), config=None):
        super().__init__(name)
        self.data = self.home / "data"
        self.admin_port = free_port()
        self.wrapper = list(wrapper)
        self.config = config
        self.configs = {
            "group.initial.rebalance.delay.ms": "300",
            **(configs or {}),
        }

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

    def command(self):
        config = self.config or self.home / "server.properties"
        if not self.config:
            config.write_text("".join(f"{key}={value}\n" for key, value in self.configs.items()))
        return [*self.wrapper, environment.tidegate(), "serve", "--config", config, "--data-dir", self.data,
                "--listen", self.bootstrap, "--admin", f"127.0.0.1:{self.admin_port}"]

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
