"""`python -m forecast RUN... [key=value...]`: what a run would do, without making it.

RUN is the folder of a run with step records. The options are those of a run; without
any, the recorded run itself is forecast. Writes `forecast.json` into the first RUN.
"""

from base.command import ArgumentParser, run_command, start_module

if __name__ == "__main__":
    # Before the imports below, in which memory can run out.
    start_module("forecast.__main__")

from collections.abc import Sequence
from pathlib import Path

from base.errors import ExitCode
from forecast.evidence import pooled, read_evidence
from forecast.predict import Estimate, forecast
from forecast.request import OPTIONS, make_target
from forecast.result import ForecastRecord, forecast_record
from record.folder import RunFolder, write_json


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Args:
        arguments: of the command; left out: the process's own.
    """
    return run_command(lambda: _command(arguments))


def _command(arguments: Sequence[str] | None) -> int:
    parser = ArgumentParser(
        prog="python -m forecast",
        description=(__doc__ or "").partition("\n\n")[2],
        epilog="options: " + "; ".join(f"{k} ({v})" for k, v in OPTIONS.items()),
    )
    parser.add_argument("run", nargs="+", help="a run folder, or key=value")
    given: list[str] = parser.parse_args(arguments).run
    folders = [Path(text) for text in given if "=" not in text or Path(text).is_dir()]
    if not folders:
        parser.error("no RUN given")
    runs = [read_evidence(folder) for folder in folders]
    overrides = [text for text in given if Path(text) not in folders]
    target = make_target(runs[0], overrides)
    record = forecast_record(runs, pooled(runs), target, forecast(runs, target))
    path = RunFolder(folders[0]).forecast
    write_json(path, record)
    print(_table(record))
    print(f"written: {path}")
    return ExitCode.GOOD


def _table(record: ForecastRecord) -> str:
    lines = [f"{'':<16}{'forecast':>12}{'90% interval':>26}"]
    lines += [_line(name, record.figures[name]) for name in record.figures]
    if record.keeps_limits is not None:
        lines.append(f"limits: {'kept' if record.keeps_limits else 'missed'}")
    if record.highest_rate is not None:
        lines.append(_line("highest rate/s", record.highest_rate))
    elif record.keeps_limits:
        lines.append("highest rate/s: so few queries keep the limits at any rate")
    elif record.keeps_limits is not None:
        lines.append("highest rate/s: no rate found that meets the limits")
    if record.beyond:
        lines.append("extrapolated: " + "; ".join(record.beyond))
    else:
        lines.append("every step is within the range of the recorded ones")
    return "\n".join(lines)


def _line(name: str, figure: Estimate) -> str:
    span = f"{figure.low:,.2f} to {figure.high:,.2f}"
    return f"{name:<16}{figure.value:>12,.2f}{span:>26}"
