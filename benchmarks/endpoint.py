"""How many streamed answers per second the client of `engine=endpoint` can take.

Each rate is a run of `sut.main` in the Server scenario over a stub server in a process
of its own, which answers at once: TTFT is what client, coordinator and stub add.
`python -m benchmarks.endpoint --rates 50 100 200 --chunk-tokens 1 127`
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil

from record.folder import RunFolder, read_lines
from record.structs import HostLine, SampleRecord, TelemetryLine

_HEAD = (
    "| tokens per chunk | servers | asked/s | done/s | TTFT p50, ms | p99, ms"
    " | client, % of a core | stub, % of a core | lost |"
)


@contextlib.contextmanager
def _stub(chunk_tokens: int) -> Iterator[tuple[str, psutil.Process]]:
    """Yield the address of a stub server and its process."""
    command = [sys.executable, "-m", "tests.sut.engines.stub_server"]
    process = subprocess.Popen(
        [*command, "--chunk-tokens", str(chunk_tokens)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield f"http://localhost:{port}", psutil.Process(process.pid)
    finally:
        process.kill()
        process.communicate()


def _measure(rate: float, chunk_tokens: int, servers: int, seconds: float) -> str:
    with contextlib.ExitStack() as stack:
        runs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stubs = [stack.enter_context(_stub(chunk_tokens)) for _ in range(servers)]
        urls = ",".join(url for url, _ in stubs)
        command = [
            *(sys.executable, "-m", "sut.main", f"run.dir={runs}"),
            *("engine=endpoint", f"engine.urls=[{urls}]", "scenario=server"),
            *("model=llama3_1-8b_dummy", "dataset=synthetic", "dataset.count=2000"),
            *(f"scenario.target_qps={rate}", f"run.min_queries={int(rate * seconds)}"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            return f"| {chunk_tokens} | {servers} | {rate:g} | {done.stderr[-200:]!r} |"
        busy_s = sum(sum(process.cpu_times()[:2]) for _, process in stubs)
        folder = RunFolder((runs / "latest").resolve())
        samples: list[SampleRecord] = list(read_lines(folder.samples, SampleRecord))
        lines: list[TelemetryLine] = list(read_lines(folder.telemetry, TelemetryLine))
    ended = [s for s in samples if s.first_token_ns and s.completed_ns]
    begin = min(s.issued_ns for s in samples)
    end = max(s.completed_ns or 0 for s in ended)
    ttft = [((s.first_token_ns or 0) - s.issued_ns) / 1e6 for s in ended]
    p50, p99 = np.percentile(ttft, [50, 99])
    # Samples stand for time here: lines of the start and of warm-up do not count.
    client = [
        line.process_cpu_pct
        for line in lines
        if isinstance(line, HostLine)
        and line.replica is not None
        and line.process_cpu_pct is not None
        and begin <= line.t_ns <= end
    ]
    share = servers * float(np.mean(client)) if client else float("nan")
    span_s = (end - begin) / 1e9
    return (
        f"| {chunk_tokens} | {servers} | {rate:g} | {len(ended) / span_s:.0f}"
        f" | {p50:.1f} | {p99:.1f} | {share:.0f} | {100 * busy_s / span_s:.0f}"
        f" | {len(samples) - len(ended)} |"
    )


def main() -> int:
    """Print a row for each case; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=float, nargs="+", default=[50, 100, 200])
    parser.add_argument("--chunk-tokens", type=int, nargs="+", default=[1, 127])
    parser.add_argument("--servers", type=int, nargs="+", default=[1])
    parser.add_argument("--seconds", type=float, default=15.0)
    options = parser.parse_args()
    print(_HEAD)
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for chunk_tokens in options.chunk_tokens:
        for servers in options.servers:
            for rate in options.rates:
                print(_measure(rate, chunk_tokens, servers, options.seconds))
    print(f"load of the host at the end: {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
