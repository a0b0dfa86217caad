#!/usr/bin/env python3
"""One plugin, `pick`, in every language: built here, held to the same golden files, and run in one broker beside Rust's.

    run.py [LANGUAGE ...]            of rust, c, go, js, python
    run.py --build [LANGUAGE ...]    only builds target/languages/pick-*.wasm, for the bench

Needs the release build (`make build`); installs the compilers itself, outside the checkout. What cannot be installed here
is skipped and said, and so is a language without its toolchain. The last line is `N passed, M failed[, K skipped]`.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "clients"))

from harness import environment
from harness.environment import ROOT
from harness.report import Report, same, until

import toolchains

LANGUAGES = ("rust", "c", "go", "js", "python")
KINDS = ("filter", "router", "transform")
BUILT = ROOT / "target" / "languages"
GOLDEN = ROOT / "sdk" / "rust" / "example" / "golden"
# The first build of C compiles the C library, and the first of Rust the standard library.
BUILD_SECONDS = 400
RUN_SECONDS = 120


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("languages", nargs="*", metavar="LANGUAGE", help=f"of {', '.join(LANGUAGES)}")
    parser.add_argument("--build", action="store_true", help="only build the components")
    options = parser.parse_args()
    chosen = [language for language in LANGUAGES if language in (options.languages or LANGUAGES)]
    if not options.build:
        # The Kafka client lives in the environment of tests/clients.
        environment.enter()
    report = Report()
    tools = {language: made for language in chosen if (made := build(report, language)) is not None}
    if not options.build:
        for language in tools:
            golden(report, language)
            templates(report, language, tools[language])
        units(report, "go" in tools)
        if "rust" in tools:
            in_a_broker(report, list(tools))
        else:
            report.skip("in a broker", "Rust's component is what the others are compared with")
    sys.exit(report.finish())


def build(report, language):
    """The tools of a language, if its component could be built."""
    tools = None
    with report.case(f"{language}: builds"):
        BUILT.mkdir(parents=True, exist_ok=True)
        component(language).unlink(missing_ok=True)
        tools = toolchains.tools(language)
        tidegate(tools, "plugin", "build", ROOT / "sdk" / language / "example", "--out", component(language), seconds=BUILD_SECONDS)
    return tools if component(language).exists() else None


def component(language):
    return BUILT / f"pick-{language}.wasm"


def golden(report, language):
    """Verdicts, sentences, log lines and counters are to the letter those of Rust's."""
    with report.case(f"{language}: answers its golden cases as Rust does"):
        told = tidegate([], "plugin", "test", component(language), "--golden", GOLDEN)
        cases = len(list(GOLDEN.glob("*.jsonl")))
        same(f"{cases} cases" in told, True, f"all {cases} cases were run: {told}")


def templates(report, language, tools):
    """What `plugin new` makes builds, and its golden cases pass. Rust's templates are tested by the workbench's tests."""
    if language == "rust":
        return
    for kind in KINDS:
        with report.case(f"{language}: a new {kind} builds and passes"), tempfile.TemporaryDirectory() as home:
            tidegate([], "plugin", "new", "mine", "--lang", language, "--kind", kind, "--dir", f"{home}/mine")
            told = tidegate(tools, "plugin", "test", f"{home}/mine", seconds=BUILD_SECONDS)
            same("as they should be" in told, True, told)


def units(report, go):
    """The SDKs' own tests, natively, where the language has a way."""
    if not go:
        report.skip("go: the SDK's own tests", "there is no Go toolchain")
        return
    for directory in ("sdk/go", "sdk/go/example"):
        with report.case(f"go: vet and tests of {directory}"):
            for command in ("vet", "test"):
                called(["go", command, "./..."], cwd=ROOT / directory)


def in_a_broker(report, languages):
    """Every case is produced to one topic for each language; what is stored is what the snapshot says."""
    from cases import Side
    from harness.broker import Broker

    with report.case("one broker runs them all, and stops cleanly"):
        with Broker("languages") as broker:
            side = Side(broker)
            for language in languages:
                with report.case(f"{language}: pushed"):
                    broker.push(f"pick-{language}", component(language))
            for path in sorted(GOLDEN.glob("*.jsonl")):
                for language in languages:
                    with report.case(f"{language}: {path.stem}, in a broker"):
                        side.check(language, path)
            with report.case("the counters of all languages are Rust's"):
                counted = {language: side.counters(language) for language in languages}
                same(counted, {language: counted["rust"] for language in languages}, "counters")
                same(counted["rust"].get("kept", 0) > 0, True, "something was kept")
            with report.case("the log lines of all languages are Rust's"):
                expected = side.logged("rust")
                same(len(expected) > 0, True, "something was logged")
                for language in languages:
                    until(lambda: side.logged(language) == expected, lambda: f"{language} logged {side.logged(language)}, Rust {expected}")
            same(broker.stop(), 0, "exit code")


def tidegate(tools, *arguments, seconds=RUN_SECONDS):
    return called([str(environment.tidegate()), *map(str, arguments)], seconds=seconds, env=toolchains.environ(tools))


def called(command, seconds=RUN_SECONDS, **options):
    """Standard output and error of a command that succeeds in time."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", timeout=seconds, **options)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"`{' '.join(command)}` was not done after {seconds} s") from None
    if done.returncode != 0:
        raise RuntimeError(f"`{' '.join(command)}` exited {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
