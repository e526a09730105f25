"""The actor outside of Ray: what it does to its own process."""

import json
import os
import subprocess
import sys
from pathlib import Path

from sut.launcher import actor
from tests.external_nodes import ROOT

_SCRIPT = """
import json, os, signal, sys
from sut.launcher.actor import AgentActor
os.nice(5)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
facts = AgentActor().prepare()
blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
print(json.dumps([facts["nice"], len(blocked), os.nice(0)]))
"""


def test_what_ray_does_to_its_workers_is_undone_or_reported() -> None:
    made = subprocess.run(
        [sys.executable, "-c", _SCRIPT], cwd=ROOT, capture_output=True, check=True
    )
    left, blocked, nice = json.loads(made.stdout)
    assert blocked == 0
    # Only root gets its priority back.
    expected = 0 if os.geteuid() == 0 else 5
    assert left == expected
    assert nice == os.nice(0) + expected


def test_an_agent_does_not_get_the_variables_that_ray_has_set() -> None:
    script = """
import os, json
os.environ.update(OMP_NUM_THREADS="2", RAY_JOB_ID="1", OF_THE_JOB="x", OF_USER="z")
from sut.launcher.actor import _environment
print(json.dumps(_environment("/nowhere")))
"""
    user = {"OF_USER": "y", "RAY_OF_USER": "y", "PATH": os.environ["PATH"]}
    parent = f"""
import subprocess, sys
print(subprocess.run([sys.executable, "-c", {script!r}], capture_output=True,
                     text=True, check=True).stdout)
"""
    made = subprocess.run(
        [sys.executable, "-c", parent],
        cwd=ROOT,
        env=user,
        capture_output=True,
        text=True,
    )
    found = json.loads(made.stdout)
    assert "OMP_NUM_THREADS" not in found
    assert "RAY_JOB_ID" not in found
    assert found["OF_THE_JOB"] == "x"
    assert (found["OF_USER"], found["RAY_OF_USER"]) == ("z", "y")
    # The folder that the job runs in holds our packages; /nowhere does not.
    assert found["PYTHONPATH"].split(os.pathsep)[0] == str(ROOT)


def test_the_actor_imports_the_standard_library_alone() -> None:
    names = {
        line.split()[1].partition(".")[0]
        for line in Path(actor.__file__).read_text().splitlines()
        if line.startswith(("import ", "from "))
    }
    assert names <= sys.stdlib_module_names
