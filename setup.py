"""Installs the packages of the MLPerf Llama-3.1-8B summarization SUT.

Dependencies are pinned in `requirements/` (see `scripts/install.sh`): vLLM's own
requirement list drags in CUDA builds on a CPU host, which a lock can leave out and
`install_requires` cannot.
"""

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

RULES = ("mlperf.conf", "user.conf")
"""Files that the packages read from the folder above them."""


class BuildWithRules(build_py):
    """Puts `RULES` beside the packages, where an editable install has them anyway."""

    def run(self) -> None:
        """Build the packages, then copy the files."""
        super().run()
        if not self.editable_mode:
            for name in RULES:
                self.copy_file(name, f"{self.build_lib}/{name}")


setup(
    name="mlperf-loadgen-sut",
    version="0.1.0",
    description="MLPerf LoadGen SUT for Llama-3.1-8B summarization on vLLM replicas",
    python_requires=">=3.11",
    packages=find_packages(exclude=["tests", "tests.*"]),
    package_data={
        "conf": ["*.yaml", "*/*.yaml"],
        "offline_bundle": ["host.sh"],
        "qsl": ["embedded/*.json"],
        "report": ["report.schema.json"],
        "report.rendering": ["templates/*"],
        "scenarios": ["*.config"],
        "sut": ["shapes/*/config.json"],
    },
    cmdclass={"build_py": BuildWithRules},
)
