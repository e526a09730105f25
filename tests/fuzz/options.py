"""What users write: options, configurations, requests."""

import contextlib
import io
import sys
from pathlib import Path
from unittest import mock

import msgspec

from base.decode import DecodeError, plain_yaml
from base.errors import UserError
from conf.load import load_config, to_yaml
from submission.request import read_request
from sut.node import joining as node_command
from sut.wire.node_messages import (
    join_problem,
)
from tests.fuzz.damage import damaged_text
from tests.fuzz.target import Target, file_target
from tests.fuzz.wire import OFFER

_REQUEST = b"""submitter: Example
division: closed
status: available
system: h100x8
benchmark: datacenter
scenarios: [offline, server]
folder: out
options: [model.path=/model, "cluster.replicas=8"]
scenario_options:
  server: [scenario.target_qps=100]
weights:
  starting_weights_filename: https://example.org/model
  weight_transformations: none
description: {host_memory_capacity: 2 TB}
machines: []
calibration: none
bandwidth: measured
"""


def option_targets(folder: Path) -> list[Target]:
    path = folder / "given.yaml"
    path.write_text(to_yaml(load_config(["engine=synthetic"])))
    request = folder / "request.yaml"
    request.write_bytes(_REQUEST)
    overrides = (
        b"model.path=/x",
        b"engine.options.max_num_seqs=4",
        b"scenario=server",
        b"scenario.target_qps=1.5",
        b"engine.env.A=[1, {x: y}]",
        b"dataset.path='a b'",
    )
    return [
        Target(
            name="plain YAML",
            inputs=damaged_text([_REQUEST]),
            run=plain_yaml,
            errors=(DecodeError,),
        ),
        file_target(
            path,
            lambda path: load_config([], path),
            (UserError,),
            name="--config",
            slow=True,
        ),
        file_target(
            request,
            read_request,
            (UserError,),
            name="request of a submission",
            slow=True,
        ),
        Target(
            name="options of a run",
            inputs=damaged_text(overrides),
            run=lambda data: load_config([" ".join(_argument(data).split())]),
            errors=(UserError,),
            slow=True,
        ),
        Target(
            name="options of sut.node",
            inputs=damaged_text(
                [
                    b"--connect\n127.0.0.1:5555\n--key\nk\n--name\nn0\n--wait-s\n60",
                    b"--connect\n[::1]:5555\n--key\nk\n--once",
                ]
            ),
            run=_node_options,
            errors=(UserError,),
        ),
    ]


def _argument(data: bytes) -> str:
    """Return `data` as a shell hands it on."""
    return data.replace(b"\0", b"").decode(errors="surrogateescape")


def _node_options(data: bytes) -> None:
    arguments = _argument(data).split("\n")
    with (
        mock.patch.object(sys, "argv", ["sut.node", *arguments]),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        try:
            options = node_command._parse()
        except SystemExit as end:
            if end.code not in (0, 2):
                raise ValueError(f"exit code {end.code}") from end
            return
    offer = msgspec.structs.replace(OFFER, name=options.name or "n0")
    if join_problem(offer) is None:
        # What ZeroMQ takes as an identity.
        assert len(f"{offer.name}-01234567".encode()) < 256
