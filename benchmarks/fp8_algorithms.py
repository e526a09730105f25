"""What cuBLASLt offers for the fp8 products of Llama-3.1-8B: speed and energy.

    python -m benchmarks.fp8_algorithms [--seconds 70] [--top 8] [--rows 16384 ...]

Asks cuBLASLt's heuristic for its best algorithms for each shape (e4m3 by e4m3 to bf16,
one scale per tensor, fast accumulation, as `sut.engines.hopper.products` multiplies)
and runs each. The first is what PyTorch takes; it runs again after every second one,
and the others are given as a ratio to its mean before and after, so that a card that
warms up favors none. Two rows each for int8 and bf16 follow. A card at its power limit
turns energy into speed: compare TFLOP/s where W is the limit, J/TFLOP where it is not.
Prints a Markdown table; SM MHz is read at the end of each case.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pynvml
import torch
from vllm import _custom_ops as ops

from sut.engines.hopper.cublaslt import BF16, FP8, CublasLt

SHAPES = {  # name: (K, N)
    "qkv": (4096, 6144),
    "o": (4096, 4096),
    "gate_up": (4096, 28672),
    "down": (14336, 4096),
}
ROWS = (16384, 7680, 1024)
WARM_UP_S = 3.0
DEFAULT_EVERY = 2


@dataclass(frozen=True, slots=True)
class Case:
    """A way to multiply."""

    name: str
    call: Callable[[], torch.Tensor]


def products(
    library: CublasLt, a: torch.Tensor, b: torch.Tensor, one: torch.Tensor, top: int
) -> list[Case]:
    """Return ways to multiply a (M x K) by b (N x K), both in fp8 and in rows."""
    return [
        Case(str(way), partial(library.multiply, a, b, one, one, way))
        for way in library.algorithms(a, b, one)[:top]
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a case reached."""

    rate: float
    watts: float
    mhz: int


def measure(
    call: Callable[[], object], flops: float, seconds: float, card: object
) -> Reading:
    """Run some calls for about so many seconds; power is energy over time, by NVML."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    call()
    torch.cuda.synchronize()
    begin.record()
    call()
    end.record()
    end.synchronize()
    count = max(3, int(seconds * 1e3 / max(1e-3, begin.elapsed_time(end))))
    before, started = pynvml.nvmlDeviceGetTotalEnergyConsumption(card), time.monotonic()
    begin.record()
    for _ in range(count):
        call()
    end.record()
    mhz = 0
    while not end.query():
        mhz = pynvml.nvmlDeviceGetClockInfo(card, pynvml.NVML_CLOCK_SM)
        time.sleep(0.005)
    joules = (pynvml.nvmlDeviceGetTotalEnergyConsumption(card) - before) / 1e3
    spent = time.monotonic() - started
    rate = flops * count / (begin.elapsed_time(end) / 1e3) / 1e12
    return Reading(rate=rate, watts=joules / spent, mhz=mhz)


def row(*cells: object) -> None:
    """Print a row of the table."""
    print("|", " | ".join(str(cell) for cell in cells), "|", flush=True)


def show(
    work: str, m: int, name: str, got: Reading, ratio: object, wrong: object
) -> None:
    """Print a reading."""
    joules = got.watts / got.rate
    row(
        work,
        m,
        name,
        f"{got.rate:,.0f}",
        ratio,
        f"{got.watts:.0f}",
        got.mhz,
        f"{joules:.3f}",
        wrong,
    )


def offered(
    work: str, m: int, cases: list[Case], flops: float, seconds: float, card: object
) -> None:
    """Measure the default and, between its repetitions, the others."""
    default, others = cases[0], cases[1:]
    wanted = default.call().float()
    last = measure(default.call, flops, seconds, card)
    show(work, m, f"default: {default.name}", last, "", "")
    for at in range(0, len(others), DEFAULT_EVERY):
        readings = []
        for case in others[at : at + DEFAULT_EVERY]:
            try:
                wrong = float((case.call().float() - wanted).norm() / wanted.norm())
                readings.append((case, measure(case.call, flops, seconds, card), wrong))
            except RuntimeError as error:
                print(f"{work} {m} {case.name}: {error}")
        following = measure(default.call, flops, seconds, card)
        mean = (last.rate + following.rate) / 2
        for case, got, wrong in readings:
            show(work, m, case.name, got, f"{got.rate / mean:.3f}", f"{wrong:.1e}")
        last = following


def others(seconds: float, card: object) -> None:
    """Measure int8 and bf16 on two shapes."""
    m = ROWS[0]
    one, rows = torch.ones(1, device="cuda"), torch.ones(m, 1, device="cuda")
    for work in ("gate_up", "down"):
        k, n = SHAPES[work]
        a, b = (
            (torch.randn(size, k, device="cuda") * (127 / 6)).round().to(torch.int8)
            for size in (m, n)
        )
        columns = torch.ones(n, 1, device="cuda")
        bf16_a, bf16_b = a.to(BF16), b.to(BF16)
        calls: dict[str, Callable[[], Any]] = {
            "int8, CUTLASS, per tensor": partial(
                ops.cutlass_scaled_mm, a, b.t(), one, one, BF16
            ),
            "int8, CUTLASS, per token and channel": partial(
                ops.cutlass_scaled_mm, a, b.t(), rows, columns, BF16
            ),
            "int8, cuBLASLt to int32": partial(torch._int_mm, a, b.t()),
            "bf16, cuBLAS": partial(torch.matmul, bf16_a, bf16_b.t()),
        }
        for name, call in calls.items():
            try:
                got = measure(call, 2.0 * m * k * n, seconds, card)
                show(work, m, name, got, "", "")
            except RuntimeError as error:
                print(f"{work} {name}: {error}".splitlines()[0])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=70.0, help="of measuring")
    parser.add_argument("--top", type=int, default=8, help="algorithms a shape")
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    options = parser.parse_args()
    pynvml.nvmlInit()
    uuid = str(torch.cuda.get_device_properties(0).uuid)
    card = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    library = CublasLt()
    torch.manual_seed(0)
    runs = len(SHAPES) * len(options.rows) * options.top * (1 + 1 / DEFAULT_EVERY) + 8
    each = options.seconds / runs
    one = torch.ones(1, device="cuda")
    # Six deviations at the end of fp8's range, as a calibrated scale would.
    most = max(k * n for k, n in SHAPES.values())
    left, right = (
        (torch.randn(count, device="cuda", dtype=BF16) * (448 / 6)).clamp(-448, 448)
        for count in (max(options.rows) * max(k for k, _ in SHAPES.values()), most)
    )
    left, right = left.to(FP8), right.to(FP8)
    print(f"cuBLASLt {library.version}, {each:.2f} s a case\n")
    print(
        "| work | rows | algorithm | TFLOP/s | ratio | W | SM MHz | J/TFLOP | error |"
    )
    print("|---|---:|---|---:|---:|---:|---:|---:|---:|")
    warm, other = left[: 4096 * 4096].view(4096, 4096), right[: 4096 * 4096]
    case = products(library, warm, other.view(4096, 4096), one, 1)[0]
    measure(case.call, 1.0, WARM_UP_S, card)
    for m in options.rows:
        for work, (k, n) in SHAPES.items():
            a, b = left[: m * k].view(m, k), right[: n * k].view(n, k)
            cases = products(library, a, b, one, options.top)
            offered(work, m, cases, 2.0 * m * k * n, each, card)
    others(each, card)


if __name__ == "__main__":
    main()
