"""Puts what makes components of each language into a cache outside the checkout, once per set of pinned versions."""

import os
import shutil
import subprocess
import sys
import venv

from harness import environment
from harness.environment import CACHE, ROOT
from harness.report import Skip

SDK = ROOT / "sdk"
INSTALL_SECONDS = 240


def tools(language):
    """Directories with the programs that `tidegate plugin build` needs. Raises Skip where they cannot be had here."""
    return {"rust": lambda: [], "go": _go, "js": _npm, "c": _pip, "python": _pip}[language]()


def _go():
    if not shutil.which("go"):
        raise Skip("there is no Go toolchain in PATH")
    return []


def _pip():
    wanted = SDK / "python" / "requirements.txt"

    def install(home):
        venv.create(home, with_pip=True)
        _run(home / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r", wanted)

    return [_once("lang-venv", environment.digest(wanted, sys.version), install) / "bin"]


def _npm():
    if not shutil.which("npm"):
        raise Skip("there is no npm in PATH")
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    lock = SDK / "js" / "package-lock.json"

    def install(home):
        home.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(SDK / "js" / name, home)
        # Not `npm ci`: it wants optional packages for every platform in the lock, and registries lack some of them.
        _run("npm", "install", "--no-save", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", cwd=home)

    return [_once("lang-npm", environment.digest(lock, node), install) / "node_modules" / ".bin"]


def _once(kind, digest, install):
    home = CACHE / kind / digest
    with environment.lock(home):
        if not (home / "done").exists():
            print(f"installing compilers into {home}", flush=True)
            shutil.rmtree(home, ignore_errors=True)
            home.parent.mkdir(parents=True, exist_ok=True)
            install(home)
            (home / "done").touch()
    return home


def _run(*command, **options):
    """A registry that is slow or away is no fault of what is tested here."""
    command = [str(part) for part in command]
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=INSTALL_SECONDS, **options)
    except subprocess.TimeoutExpired:
        raise Skip(f"`{' '.join(command[:4])} ...` had not installed its packages after {INSTALL_SECONDS} s") from None
    if done.returncode != 0:
        raise Skip(f"`{' '.join(command[:4])} ...` exited {done.returncode}: {done.stderr.strip()[-300:]}")


def environ(directories):
    """The environment in which `tidegate` finds these tools."""
    return {**os.environ, "TIDEGATE_TOOLS": os.pathsep.join(map(str, directories))}
