"""What a suite of a client's authors is here: found in a registry or a checkout, prepared in a cache, run against a broker.

Nothing of a suite is changed: a suite says what its own set-up gives a broker (`CONFIGS`), how its authors start it, and
what its failures mean.
"""

import dataclasses
import fnmatch
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import venv
import xml.etree.ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "clients"))

from harness import environment  # noqa: E402

CACHE = environment.CACHE / "suites"
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
# What trivup, which some suites start their clusters with, gives every broker; Tidegate warns of it and has no ACLs yet.
AUTHORIZER = {"authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
              "allow.everyone.if.no.acl.found": "true"}


class NotRun(Exception):
    """The suite, or what it needs, is not on this machine; the message says what is missing."""


@dataclasses.dataclass
class Why:
    """What is known of tests that fail or are skipped: `pattern` is matched against their names."""

    pattern: str
    reason: str


class Suite:
    # The name of the row, and the package and version whose tests these are.
    NAME = ""
    VERSION = ""
    # What the suite's own set-up gives a broker, as Kafka spells it.
    CONFIGS = {}
    # Where the suite looks for its broker whatever it is told.
    PORT = None
    LIMIT_SECONDS = 1200
    # Why tests fail that need not pass here. A failure on Apache Kafka too explains itself.
    EXPLAINED = []
    # Parts of the suite that are not started at all, each with its reason.
    LEFT_OUT = []

    def prepare(self):
        """Finds and builds the suite; raises NotRun."""

    def run(self, broker, log):
        """{name of a test: (outcome, detail)}; what the suite prints goes to the file `log`."""
        raise NotImplementedError

    def why(self, test):
        return next((known.reason for known in self.EXPLAINED if fnmatch.fnmatchcase(test, known.pattern)), None)


def move(broker, port):
    """Lets a broker that was not started yet listen on `port`, unless somebody else does."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return
    drawn, broker.port = broker.port, port
    broker.configs = {key: str(value).replace(f":{drawn}", f":{port}") for key, value in broker.configs.items()}


def bounded(command, log, limit_seconds, cwd=None, env=None):
    """Runs a command with a bound and returns its exit code, None when it was ended. Its output is appended to `log`."""
    with open(log, "ab") as out:
        process = subprocess.Popen([str(part) for part in command], cwd=cwd, env={**os.environ, **(env or {})},
                                   stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            return process.wait(limit_seconds)
        except subprocess.TimeoutExpired:
            # Runners write down on an interrupt what they have so far.
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                pass
            return None
        finally:
            # Also what the suite started and left behind.
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()


def built(command, cwd=None, env=None, limit_seconds=1800):
    """Runs a step of a preparation; one that fails, or takes too long, makes the suite "not run"."""
    try:
        done = subprocess.run([str(part) for part in command], cwd=cwd, env={**os.environ, **(env or {})},
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=limit_seconds)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotRun(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise NotRun(f"`{' '.join(map(str, command))}` exited {done.returncode}: {(done.stdout + done.stderr)[-600:]}")
    return done.stdout


def checkout(variable, marker):
    """The directory that an environment variable names, which must hold `marker`."""
    named = os.environ.get(variable)
    if not named:
        raise NotRun(f"needs a checkout, named by {variable}")
    home = pathlib.Path(named).resolve()
    if not (home / marker).exists():
        raise NotRun(f"{variable}={named} holds no {marker}")
    return home


def cached(name, make):
    """A directory of the cache that `make(home)` fills once."""
    home = CACHE / name
    with environment.lock(home):
        if not (home / "done").exists():
            print(f"preparing {home}", flush=True)
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(parents=True)
            make(home)
            (home / "done").touch()
    return home


def virtual_environment(name, *packages):
    """The interpreter of an environment with these packages."""
    def make(home):
        venv.create(home, with_pip=True)
        built([home / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages])
    return cached(name, make) / "bin" / "python"


def crate(name, version):
    """The unpacked source of a crate, as Cargo's registry has it."""
    def make(home):
        # Beside the crate, not around it: a crate inside another's directory is taken for part of its workspace.
        fetch = home / "fetch"
        (fetch / "src").mkdir(parents=True)
        (fetch / "src" / "lib.rs").touch()
        (fetch / "Cargo.toml").write_text(
            f'[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\n{name} = "={version}"\n')
        built(["cargo", "fetch"], cwd=fetch)
        said = json.loads(built(["cargo", "metadata", "--format-version", "1"], cwd=fetch))
        found = next(p for p in said["packages"] if p["name"] == name and p["version"] == version)
        shutil.copytree(pathlib.Path(found["manifest_path"]).parent, home / name)
    return cached(f"{name}-{version}".replace("+", "-"), make) / name


def junit(path):
    """Outcomes of a JUnit file, as pytest writes it."""
    outcomes = {}
    if not path.is_file():
        return outcomes
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname', '').rsplit('.', 1)[-1]}::{case.get('name')}"
        outcome, detail = PASSED, ""
        for child in case:
            if child.tag in ("failure", "error"):
                outcome, detail = FAILED, _line(child.get("message"))
            elif child.tag == "skipped":
                outcome, detail = SKIPPED, _line(child.get("message"))
        # A test that passed and whose teardown broke stands there twice.
        if outcomes.get(name, (PASSED,))[0] == PASSED:
            outcomes[name] = (outcome, detail)
    return outcomes


def pytest(interpreter, suite, cwd, arguments, log, env):
    """Runs pytest so that one test that hangs costs itself only."""
    report = log.with_suffix(".xml")
    report.unlink(missing_ok=True)
    code = bounded([interpreter, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", "--tb=short", "--timeout=90",
                    "--timeout-method=signal", f"--junitxml={report}", *arguments],
                   log, suite.LIMIT_SECONDS, cwd=cwd, env=env)
    return ended(junit(report), code)


def cargo_outcomes(text, binary):
    """Outcomes of one test binary's plain output."""
    outcomes = {}
    for line in text.splitlines():
        # What a test prints may stand before its verdict on the same line.
        if line.startswith("test ") and " ... " in line:
            name, verdict = line[5:].split(" ... ", 1)
            said = {"ok": PASSED, "FAILED": FAILED, "ignored": SKIPPED}.get(verdict.split(",")[0].strip())
            if said:
                outcomes[f"{binary}::{name.split(' - ')[0]}"] = (said, "")
    return outcomes


def go_outcomes(text):
    """Outcomes of `go test -json`, of top-level tests and subtests; parents of subtests are left to these."""
    outcomes, said = {}, {}
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        test = event.get("Test")
        if not test:
            continue
        if event["Action"] == "output":
            # Not the runner's own "=== RUN" and "--- SKIP".
            if not event["Output"].lstrip().startswith(("===", "---")):
                said[test] = (said.get(test, "") + event["Output"])[-2000:]
        elif event["Action"] in ("pass", "fail", "skip"):
            outcome = {"pass": PASSED, "fail": FAILED, "skip": SKIPPED}[event["Action"]]
            outcomes[test] = (outcome, "" if outcome == PASSED else _line(said.get(test, "")))
    parents = {name.rsplit("/", 1)[0] for name in outcomes if "/" in name}
    return {name: what for name, what in outcomes.items() if name not in parents}


def ended(outcomes, code):
    """A suite that was cut off, or broke before its first test, has one failure more."""
    if code is None:
        outcomes["(the whole suite)"] = (FAILED, "was ended at its time limit")
    elif not outcomes:
        outcomes["(the whole suite)"] = (FAILED, f"exited {code} without a result")
    return outcomes


def _line(text):
    return " ".join((text or "").split())[:300]
