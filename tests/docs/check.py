#!/usr/bin/env python3
"""Holds README.md and docs/*.md to what they show: every fenced block is run, loaded or parsed.

    check.py [DOCUMENT ...]

- `console`: each line that begins with `$ ` is run, in one shell per document, against a broker of its own; the lines below
  it are its output, in order, where `…` stands for anything and runs of spaces count as one. The ports 9092 and 9644 in
  the text become the broker's real ones. `tidegate serve &` starts it, or else it runs from the beginning.
- `toml`, `properties`: a configuration file that `tidegate serve` starts from; what is Cargo's or a plugin project's is parsed.
- `json`: parsed. `rust`: compiled by the crate here. `text`: nothing to hold.
- `c`, `go`, `js`, `python`: part of what `tidegate plugin new only-errors` writes in that language, which tests/languages builds.
- `<!-- not run: reason -->` on the line before a block leaves it out, and is counted as skipped.

A command that begins with `make` or `export PATH` is passed over: it was done before this runs.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "clients"))

from harness import environment
from harness.broker import free_port
from harness.report import Report, same

DOCUMENTS = ("README.md", "docs/plugins.md", "docs/configuration.md", "docs/operations.md")
FENCE = re.compile(r"^```(.*)$")
NOT_RUN = re.compile(r"^<!-- not run: (.+) -->$")
# Colours, and what moves a cursor.
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# The tables of a Cargo.toml, and of a plugin project in another language.
OTHER_TOML = {"package", "lib", "dependencies", "build", "profile"}
DONE_BEFORE = ("make ", "export PATH")
# Other languages are quoted from the templates of their filters.
QUOTED = {"c": "plugin.c", "go": "main.go", "js": "plugin.js", "python": "plugin.py"}
COMMAND_SECONDS = 400
BACKGROUND_SECONDS = 60


class Block:
    def __init__(self, line, info, reason):
        self.line, self.info, self.reason, self.lines = line, info, reason, []

    text = property(lambda self: "".join(line + "\n" for line in self.lines))


def blocks(document):
    found, block, before = [], None, ""
    for number, line in enumerate(document.read_text().splitlines(), 1):
        fence = FENCE.match(line)
        if fence and block is None:
            reason = NOT_RUN.match(before.strip())
            block = Block(number, fence[1].strip(), reason and reason[1])
        elif fence:
            found.append(block)
            block = None
        elif block is not None:
            block.lines.append(line)
        before = line
    return found


class Place:
    """A directory like the one a reader stands in, with ports of its own, and a shell."""

    def __init__(self, name):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix=f"tidegate-docs-{name}-"))
        for shared in ("target", "plugins", "sdk", "examples", "wit"):
            (self.home / shared).symlink_to(environment.ROOT / shared)
        self.ports = {"9092": str(free_port()), "9644": str(free_port())}
        self.shell = None
        self.broker = None

    def real(self, text):
        """The text with this place's ports."""
        for written, port in self.ports.items():
            text = re.sub(rf"\b{written}\b", port, text)
        return text

    def environ(self):
        return {**os.environ, "PATH": f"{environment.tidegate().parent}:{os.environ['PATH']}", "NO_COLOR": "1",
                "TIDEGATE_BOOTSTRAP": f"127.0.0.1:{self.ports['9092']}",
                "TIDEGATE_ADMIN": f"http://127.0.0.1:{self.ports['9644']}",
                "TIDEGATE_CFG_LISTENERS": f"PLAINTEXT://127.0.0.1:{self.ports['9092']}",
                "TIDEGATE_CFG_ADMIN_LISTENER": f"127.0.0.1:{self.ports['9644']}"}

    def run(self, command, expected):
        """Runs one command and compares what it says."""
        if self.shell is None:
            self.shell = Shell(self.home, self.environ())
        background = command.rstrip().endswith("&")
        self.shell.run(self.real(command), expected if background else None, self.real)
        matches(self.shell.said, [self.real(line) for line in expected])

    def serve(self, config=None):
        """A broker that runs from now on; returns once it is ready."""
        command = [str(environment.tidegate()), "serve", *(["--config", str(config)] if config else [])]
        log = self.home / "broker.log"
        with open(log, "wb") as out:
            self.broker = subprocess.Popen(command, cwd=self.home, env=self.environ(), stdin=subprocess.DEVNULL,
                                           stdout=out, stderr=subprocess.STDOUT)
        end = time.monotonic() + 60
        while b"ready" not in log.read_bytes():
            if self.broker.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"the broker did not become ready:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    def stop(self):
        if self.broker:
            self.broker.terminate()
            same(self.broker.wait(30), 0, "exit code of the broker")
            self.broker = None

    def close(self):
        if self.shell:
            self.shell.close()
        if self.broker:
            self.broker.kill()
            self.broker.wait()
        shutil.rmtree(self.home, ignore_errors=True)


class Shell:
    """One bash: a command's output is what comes before the line that says that it ended."""

    END = "--- command ended"

    def __init__(self, home, environ):
        # In a session of its own, so that what it started in the background ends with it.
        # To a terminal, so that what a program says to two streams comes in the order in which it says it.
        self.terminal, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 250, 0, 0))
        self.process = subprocess.Popen(["bash", "--norc"], cwd=home, env=environ, text=True, stdin=subprocess.PIPE,
                                        stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        self.said = []
        self.lines, self.changed = [], threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def run(self, command, awaited, real):
        """Fills `said`. A background command is over once it has said what is awaited."""
        with self.changed:
            self.lines.clear()
        # Standard input is where the next commands stand: what is run must not read it.
        if "<<" not in command:
            command = f"{{ {command}\n}} < /dev/null" if not command.rstrip().endswith("&") else f"{command[:-1]} < /dev/null &"
        self.process.stdin.write(f"{command}\necho '{self.END}' $?\n")
        self.process.stdin.flush()
        end = time.monotonic() + COMMAND_SECONDS
        with self.changed:
            while not any(line.startswith(self.END) for line in self.lines):
                if not self.changed.wait(end - time.monotonic()) and time.monotonic() > end:
                    raise TimeoutError(f"no end in {COMMAND_SECONDS} s: {command}")
            self.said = [line for line in self.lines if not line.startswith(self.END)]
        end = time.monotonic() + BACKGROUND_SECONDS
        while awaited and time.monotonic() < end:
            with self.changed:
                self.said = [line for line in self.lines if not line.startswith(self.END)]
            try:
                matches(self.said, [real(line) for line in awaited])
                return
            except AssertionError:
                time.sleep(0.05)

    def close(self):
        try:
            os.killpg(self.process.pid, 15)
            self.process.wait(30)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            self.process.kill()

    def _read(self):
        # Reading ends with an error when nobody has the terminal open any more.
        with open(self.terminal, errors="replace", newline="\n") as said, contextlib.suppress(OSError):
            for line in said:
                with self.changed:
                    self.lines.append(ANSI.sub("", line.rstrip("\r\n")).rpartition("\r")[2])
                    self.changed.notify_all()


def matches(said, expected):
    """Every expected line is there, in order; a line `…` stands for any number of lines."""
    at, gap = 0, False
    for line in expected:
        if line.strip() == "…":
            gap = True
            continue
        pattern = re.compile(".*".join(re.escape(" ".join(part.split())) for part in line.split("…")))
        while at < len(said) and not (found := pattern.fullmatch(" ".join(said[at].split()))) and gap:
            at += 1
        if at >= len(said) or not found:
            raise AssertionError(f"expected {line!r}" + (f" at {said[at]!r}" if at < len(said) else "")
                                 + f"; it said: {said}")
        at, gap = at + 1, False
    if not gap and expected and at < len(said):
        raise AssertionError(f"it said more than is shown: {said[at:]}")


def commands(block):
    """[(command, expected lines)]; a command goes on after a backslash and through a here-document."""
    found, lines = [], iter(block.lines)
    for line in lines:
        if not line.startswith("$ "):
            if not found:
                raise AssertionError(f"a console block begins with a command, not with {line!r}")
            found[-1][1].append(line)
            continue
        command = line[2:]
        document = re.search(r"<<-?\s*'?(\w+)'?", command)
        while command.endswith("\\") or (document and not command.endswith("\n" + document[1])):
            command += "\n" + next(lines)
        found.append((command, []))
    return found


def check(document, report):
    path = environment.ROOT / document
    place = Place(path.stem)
    try:
        found = blocks(path)
        starts = any("tidegate serve" in block.text for block in found if block.info == "console")
        if not starts and any(block.info == "console" and not block.reason for block in found):
            place.serve()
        for block in found:
            name = f"{document}:{block.line} {block.info}"
            if block.reason:
                report.skip(name, block.reason)
            elif block.info.split(",")[0] != "rust" and block.info != "text":
                with report.case(name):
                    hold(block, place)
    finally:
        place.close()


def hold(block, place):
    if block.info == "console":
        for command, expected in commands(block):
            if not command.startswith(DONE_BEFORE):
                place.run(command, expected)
    elif block.info == "json":
        json.loads(block.text)
    elif block.info == "toml" and OTHER_TOML & tomllib.loads(block.text).keys():
        pass
    elif block.info in ("toml", "properties"):
        load(block)
    elif block.info in QUOTED:
        template = environment.ROOT / "sdk" / block.info / "template" / "filter" / f"{QUOTED[block.info]}.tmpl"
        whole = template.read_text().replace("{{name}}", "only-errors").replace("{{version}}", "0.1.0")
        if block.text.strip() not in whole:
            raise AssertionError(f"this is not in {template.relative_to(environment.ROOT)}")
    else:
        raise AssertionError(f"a block of {block.info or 'no language'!r}: say `text` if there is nothing to hold")


def load(block):
    """Starts a broker from the block."""
    place = Place("config")
    try:
        shutil.copytree(environment.ROOT / "target" / "plugins", place.home / "built")
        config = place.home / f"tidegate.{block.info}"
        # The plugins in these files stand where `make plugins` puts them; whose signature it is, is not said.
        lines = [line for line in block.text.splitlines() if not re.match(r"(plugin\..*)?signature", line)]
        config.write_text("\n".join(lines).replace("plugins/", "built/"))
        place.serve(config)
        place.stop()
    finally:
        place.close()


def main():
    report = Report("docs")
    for document in sys.argv[1:] or DOCUMENTS:
        check(document, report)
    sys.exit(report.finish())


if __name__ == "__main__":
    main()
