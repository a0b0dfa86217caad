"""franz-go's own tests of kgo, and those of kadm, from the modules that the proxy has."""

import json
import pathlib
import shutil

from suite import Suite, bounded, built, cached, ended, go_outcomes


class FranzGo(Suite):
    NAME = "franz-go, kgo and kadm"
    VERSION = "1.21.5"
    KADM = "1.20.0"
    LIMIT_SECONDS = 1500
    EXPLAINED = []

    def prepare(self):
        def make(home):
            for name, module, package in (("kgo", f"github.com/twmb/franz-go@v{self.VERSION}", "pkg/kgo"),
                                          ("kadm", f"github.com/twmb/franz-go/pkg/kadm@v{self.KADM}", ".")):
                said = json.loads(built(["go", "mod", "download", "-json", module], cwd=home))
                # The module cache is read-only, and compiling wants to write beside go.mod.
                shutil.copytree(said["Dir"], home / name, copy_function=_writable)
                for directory in [home / name, *(home / name).rglob("*")]:
                    directory.chmod(0o755 if directory.is_dir() else 0o644)
                built(["go", "test", "-c", "-o", home / f"{name}.test", f"./{package}"], cwd=home / name)
        self.home = cached(f"franz-go-{self.VERSION}", make)

    def run(self, broker, log):
        outcomes = {}
        for name, where in (("kgo", "kgo/pkg/kgo"), ("kadm", "kadm")):
            report = log.with_suffix(f".{name}.json")
            report.unlink(missing_ok=True)
            # Records are 500,000 by default, on all of some 20 combinations of codecs and balancers.
            code = bounded(["go", "tool", "test2json", "-t", self.home / f"{name}.test", "-test.v=test2json",
                            f"-test.timeout={self.LIMIT_SECONDS - 60}s"],
                           report, self.LIMIT_SECONDS, cwd=self.home / where,
                           env={"KGO_SEEDS": broker.bootstrap, "KGO_TEST_RF": "1", "KGO_TEST_STABLE_FETCH": "true",
                                "KGO_LOG_LEVEL": "none", "KGO_TEST_RECORDS": "50000"})
            found = go_outcomes(report.read_text(errors="replace"))
            outcomes.update({f"{name}: {test}": what for test, what in ended(found, code).items()})
        return outcomes


def _writable(source, target):
    return pathlib.Path(shutil.copyfile(source, target))
