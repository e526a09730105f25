"""Where things lie in a submission tree."""

from dataclasses import dataclass
from pathlib import Path

from base.benchmark import Benchmark
from conf.schema import Mode
from record.folder import RunFolder
from submission.request import Division

BENCHMARK_FOLDERS = {
    Benchmark.datacenter: "llama3.1-8b",
    Benchmark.edge: "llama3.1-8b-edge",
}
LOADGEN_LOGS = ("mlperf_log_detail.txt", "mlperf_log_summary.txt")


@dataclass(frozen=True, slots=True)
class SubmitterFolder:
    """`<division>/<submitter>` of a tree."""

    path: Path

    @property
    def division(self) -> str:
        """Name of the division, as the folder has it."""
        return self.path.parent.name

    @property
    def submitter(self) -> str:
        """Name of the submitter, as the folder has it."""
        return self.path.name

    @property
    def source(self) -> Path:
        """The code."""
        return self.path / "src"

    @property
    def calibration(self) -> Path:
        """How weights were calibrated."""
        return self.path / "documentation" / "calibration.md"

    @property
    def bandwidth(self) -> Path:
        """Statement on ingress bandwidth."""
        return self.path / "documentation" / "ingress_bandwidth.md"

    def system(self, name: str) -> Path:
        """Return the file of a system's description."""
        return self.path / "systems" / f"{name}.json"

    def result(self, system: str, benchmark: str, scenario: str) -> "ResultFolder":
        """Return the folder of one result."""
        return ResultFolder(self.path / "results" / system / benchmark / scenario)

    def results(self) -> list["ResultFolder"]:
        """Return every result."""
        return [
            ResultFolder(path)
            for path in sorted(self.path.glob("results/*/*/*"))
            if path.is_dir()
        ]


@dataclass(frozen=True, slots=True)
class ResultFolder:
    """`results/<system>/<benchmark>/<scenario>`: one result."""

    path: Path

    @property
    def scenario(self) -> str:
        """Name of the scenario, as the folder has it."""
        return self.path.name

    @property
    def benchmark(self) -> str:
        """Name of the benchmark, as the folder has it."""
        return self.path.parent.name

    @property
    def system(self) -> str:
        """Name of the system, as the folder has it."""
        return self.path.parents[1].name

    @property
    def measurements(self) -> Path:
        """Weights and numbers."""
        return self.path / "measurements.json"

    @property
    def user_conf(self) -> Path:
        """LoadGen's user.conf."""
        return self.path / "user.conf"

    @property
    def readme(self) -> Path:
        """How to make the result again."""
        return self.path / "README.md"

    @property
    def performance(self) -> RunFolder:
        """The performance run."""
        return RunFolder(self.path / "performance" / "run_1")

    @property
    def accuracy(self) -> RunFolder:
        """The accuracy run."""
        return RunFolder(self.path / "accuracy")

    @property
    def scores(self) -> Path:
        """Accuracy, and the hash of the whole accuracy log."""
        return self.path / "accuracy" / "accuracy.txt"

    @property
    def compliance(self) -> RunFolder:
        """The TEST06 run; its accuracy log lies elsewhere (`compliance_answers`)."""
        return RunFolder(self.path / "TEST06" / "performance" / "run_1")

    @property
    def compliance_answers(self) -> Path:
        """LoadGen's record of the 100 logged answers."""
        return self.path / "TEST06" / "accuracy" / "mlperf_log_accuracy.json"

    @property
    def verification(self) -> Path:
        """What TEST06's token checks found."""
        return self.path / "TEST06" / "verify_accuracy.txt"

    def run(self, mode: Mode) -> RunFolder:
        """Return the folder of one of the runs."""
        return {
            Mode.performance: self.performance,
            Mode.accuracy: self.accuracy,
            Mode.compliance: self.compliance,
        }[mode]


def submitter_folders(tree: Path) -> list[SubmitterFolder]:
    """Return each submitter's folder under `tree`."""
    return [
        SubmitterFolder(path)
        for division in Division
        for path in sorted((tree / division.value).glob("*"))
        if path.is_dir()
    ]
