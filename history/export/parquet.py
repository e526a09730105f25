"""Samples and engine steps of a run as Parquet, for pandas, DuckDB or Spark."""

from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from types import NoneType
from typing import Any, get_args, get_type_hints

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from record.folder import RunFolder, read_batches
from record.steps import STEP, read_steps
from record.structs import SampleRecord

_STEPS_AT_ONCE = 1_000_000
_TYPES = {int: pa.int64(), float: pa.float64()}


def write_parquet(folder: RunFolder, target: Path) -> list[Path]:
    """Write `samples.parquet`, and `steps.parquet` if the run has steps.

    Columns have the names and units of `samples.jsonl` and `steps.bin`. A value that is
    not known is null.

    Args:
        folder: of the run.
        target: folder for the files; it is made.

    Returns:
        The files.

    Raises:
        RecordError: a file of the run is missing or damaged.
        OSError: a file cannot be written.
    """
    target.mkdir(parents=True, exist_ok=True)
    written = [target / "samples.parquet"]
    _write(written[0], _sample_schema(), _samples(folder))
    if folder.steps.exists():
        written.append(target / "steps.parquet")
        _write(written[1], _step_schema(), _steps(folder))
    return written


def _write(path: Path, schema: Any, batches: Iterator[Any]) -> None:
    draft = path.with_name(f".{path.name}.{token_hex(8)}")
    try:
        with pq.ParquetWriter(draft, schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _sample_schema() -> Any:
    fields = []
    for name, annotation in get_type_hints(SampleRecord).items():
        kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
        kind = kinds[0] if NoneType in get_args(annotation) else annotation
        fields.append(pa.field(name, _TYPES.get(kind, pa.string())))
    return pa.schema(fields)


def _samples(folder: RunFolder) -> Iterator[Any]:
    schema = _sample_schema()
    batches: Iterator[list[SampleRecord]] = read_batches(folder.samples, SampleRecord)
    for records in batches:
        columns = [
            pa.array(
                [getattr(record, name) for record in records], schema.field(name).type
            )
            for name in schema.names
        ]
        yield pa.record_batch(columns, schema=schema)


def _step_schema() -> Any:
    return pa.schema(
        [(name, pa.from_numpy_dtype(STEP[name])) for name in STEP.names or ()]
    )


def _steps(folder: RunFolder) -> Iterator[Any]:
    steps, schema = read_steps(folder.steps), _step_schema()
    for begin in range(0, len(steps), _STEPS_AT_ONCE):
        part = steps[begin : begin + _STEPS_AT_ONCE]
        columns = [
            pa.array(np.ascontiguousarray(part[name]), schema.field(name).type)
            for name in schema.names
        ]
        yield pa.record_batch(columns, schema=schema)
