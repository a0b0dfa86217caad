"""Checks, counted and printed one a line; the last line of a run is `N passed, M failed`."""

import contextlib
import sys
import time
import traceback


class Skip(Exception):
    """A check that cannot be made on this machine; the message says why."""


class Report:
    def __init__(self, scope=""):
        self.scope = scope
        self.passed = 0
        self.failed = []
        self.skipped = []

    def check(self, name, ok, detail=""):
        """Counts one check and says whether it held."""
        if ok:
            self.passed += 1
            self._line("ok  ", name)
        else:
            self.failed.append(name)
            self._line("FAIL", name, detail)
        return ok

    def skip(self, name, reason):
        self.skipped.append(name)
        self._line("skip", name, reason)

    @contextlib.contextmanager
    def case(self, name):
        """A check that holds when its block raises nothing."""
        started = time.monotonic()
        try:
            yield
        except Skip as reason:
            self.skip(name, str(reason))
        except Exception as error:  # one broken check must not hide the others
            self.check(name, False, f"{type(error).__name__}: {error}")
            traceback.print_exc(limit=-6, file=sys.stdout)
            sys.stdout.flush()
        else:
            self.check(f"{name} ({time.monotonic() - started:.1f} s)", True)

    def finish(self):
        """Prints the closing line and returns the exit code."""
        for name in self.failed:
            print(f"failed: {self._scoped(name)}")
        line = f"{self.passed} passed, {len(self.failed)} failed"
        print(line + (f", {len(self.skipped)} skipped" if self.skipped else ""), flush=True)
        return 1 if self.failed or not (self.passed or self.skipped) else 0

    def _line(self, verdict, name, detail=""):
        print(f"{verdict} {self._scoped(name)}{': ' + detail if detail else ''}", flush=True)

    def _scoped(self, name):
        return f"{self.scope}: {name}" if self.scope else name


def same(actual, expected, what="value"):
    """Raises with both sides, shortened, when they differ."""
    if actual != expected:
        raise AssertionError(f"{what}: got {_short(actual)}, expected {_short(expected)}")


def until(condition, what, timeout=30.0):
    """Waits until `condition()` is truthy and returns it; raises with `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            said = what() if callable(what) else what
            raise TimeoutError(f"after {timeout:.0f} s still not: {said}")
        time.sleep(0.02)


def _short(value):
    text = repr(value)
    return text if len(text) <= 400 else f"{text[:300]} ... ({len(text)} characters) ... {text[-80:]}"
