"""Installs the packages of the MLPerf Llama-3.1-8B summarization SUT.

Dependencies are pinned in `requirements/` (see `scripts/install.sh`): vLLM's own
requirement list drags in CUDA builds on a CPU host, which a lock can leave out and
`install_requires` cannot.
"""

from setuptools import setup

PACKAGES = [
    "accuracy",
    "base",
    "calibration",
    "campaigns",
    "conf",
    "parcel",
    "qsl",
    "record",
    "report",
    "report.findings",
    "report.plots",
    "report.scaling",
    "scenarios",
    "submission",
    "submission.checks",
    "sut",
    "sut.balancers",
    "sut.clusters",
    "sut.engines",
]

setup(
    name="mlperf-loadgen-sut",
    version="0.1.0",
    description="MLPerf LoadGen SUT for Llama-3.1-8B summarization on vLLM replicas",
    python_requires=">=3.11",
    packages=PACKAGES,
    package_data={
        "conf": ["*.yaml", "*/*.yaml"],
        "parcel": ["host.sh"],
        "qsl": ["embedded/*.json"],
        "report": ["templates/*", "report.schema.json"],
        "scenarios": ["*.config"],
        "sut": ["shapes/*/config.json"],
    },
)
