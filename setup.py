"""Builds and installs the MLPerf Llama-3.1-8B summarization SUT.

`requirements/core.in` names what the package needs on any machine; the extras add an
engine or a tool. The locks in `requirements/` pin all of it (see its README).
"""

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
PACKAGES = find_packages(str(ROOT), exclude=["tests", "tests.*"])
CARRIED = {
    "mlperf.conf": "base",
    "user.conf": "base",
    "requirements/cpu.lock": "cli/locks",
    "requirements/torch-cpu.lock": "cli/locks",
    "requirements/cuda.lock": "cli/locks",
    "requirements/cuda-torch2.11.lock": "cli/locks",
}
"""Files outside of the packages, and where a wheel has them: see `base.files`."""
EXTRAS = ["cpu", "cuda", "data", "docs", "mlflow", "ray", "tune"]
"""Each is read from the file of its name in `requirements/`."""


class BuildWithData(build_py):
    """Puts `CARRIED` into the packages; an editable install reads them in place."""

    def run(self) -> None:
        """Build the packages, then copy the files."""
        super().run()
        if not self.editable_mode:
            for name, folder in CARRIED.items():
                target = Path(self.build_lib, folder)
                target.mkdir(parents=True, exist_ok=True)
                self.copy_file(name, str(target / Path(name).name))


def requirements(name: str) -> list[str]:
    """Return the lines of a requirements file and of those that it includes.

    What `core.in` names is left out of the others.
    """
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    found = []
    for line in (line.partition("#")[0].strip() for line in lines):
        if line == "-r core.in":
            continue
        if line.startswith("-r "):
            found += requirements(line.removeprefix("-r "))
        elif line:
            found.append(line)
    return found


def version() -> str:
    """Return the version that `base.version` holds, without importing it."""
    text = (ROOT / "base" / "version.py").read_text()
    found = re.search(r'^VERSION = "(.+)"$', text, re.MULTILINE)
    assert found is not None
    return found[1]


setup(
    name="mlperf-loadgen-sut",
    version=version(),
    description="MLPerf LoadGen SUT for Llama-3.1-8B summarization on vLLM replicas",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Environment :: GPU :: NVIDIA CUDA",
        "Intended Audience :: Developers",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: System :: Benchmark",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    install_requires=requirements("core.in"),
    extras_require={name: requirements(f"{name}.in") for name in EXTRAS},
    packages=PACKAGES,
    package_data={
        "": ["py.typed"],
        "campaigns.qualify": ["reference.yaml"],
        "conf": ["*.yaml", "*/*.yaml"],
        "history": ["templates/*"],
        "offline_bundle": ["host.sh"],
        "qsl": ["embedded/*.json"],
        "report": ["report.schema.json"],
        "report.rendering": ["templates/*", "uplot/*"],
        "scenarios": ["*.config"],
        "sut": ["shapes/*/config.json"],
        "watch": ["static/*"],
    },
    entry_points={"console_scripts": ["mlperf-sut = cli.__main__:main"]},
    cmdclass={"build_py": BuildWithData},
)
