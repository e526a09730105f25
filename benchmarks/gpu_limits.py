"""What a GPU reaches on the matrix products of Llama-3.1-8B, and on plain copies.

    python -m benchmarks.gpu_limits [SECONDS_A_CASE]

fp8 products of the model's four shapes by CUTLASS (vLLM's choice) and by cuBLASLt
(`torch._scaled_mm`), with scales per tensor and per token, on normal data and on
zeros. A card that runs into its power limit takes a second or more to settle its
clocks, and NVML's power lags as much: shorter cases profit from what ran before them.
Prints a Markdown table with the clock and the power that NVML read after each case.
"""

import sys
import time
from collections.abc import Callable

import pynvml
import torch
from vllm import _custom_ops as ops

SHAPES = {  # name: (K, N)
    "qkv": (4096, 6144),
    "o": (4096, 4096),
    "gate_up": (4096, 28672),
    "down": (14336, 4096),
}
ROWS = (8192, 16384, 2048)
FP8 = torch.float8_e4m3fn
COPY_BYTES = 8 << 30


def timed(work: Callable[[], object], seconds: float) -> float:
    """Return the seconds of one call, over about `seconds` of calls."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    torch.cuda.synchronize()
    count = max(5, int(seconds / max(1e-6, time.perf_counter() - started)))
    begin.record()
    for _ in range(count):
        work()
    end.record()
    torch.cuda.synchronize()
    return float(begin.elapsed_time(end)) / 1e3 / count


def products(m: int, k: int, n: int, zeros: bool) -> dict[str, Callable[[], object]]:
    """Return ways to multiply (m, k) by (k, n)."""
    make = torch.zeros if zeros else torch.randn

    def operand(rows: int, columns: int) -> torch.Tensor:
        # Six deviations at the end of fp8's range, as a calibrated scale would.
        return (make(rows, columns, device="cuda") * (448 / 6)).to(FP8)

    a, b = operand(m, k), operand(n, k).t()
    one = torch.ones(1, device="cuda")
    rows, columns = torch.ones(m, 1, device="cuda"), torch.ones(1, n, device="cuda")
    bf16 = torch.bfloat16

    def cutlass(scale_a: torch.Tensor, scale_b: torch.Tensor) -> Callable[[], object]:
        return lambda: ops.cutlass_scaled_mm(a, b, scale_a, scale_b, bf16)

    def cublas(fast: bool) -> Callable[[], object]:
        return lambda: torch._scaled_mm(
            a, b, one, one, out_dtype=bf16, use_fast_accum=fast
        )

    return {
        "CUTLASS, per tensor": cutlass(one, one),
        "CUTLASS, per token": cutlass(rows, one),
        "CUTLASS, per token and channel": cutlass(rows, columns.t().contiguous()),
        "cuBLASLt": cublas(False),
        "cuBLASLt, fast accumulation": cublas(True),
    }


def main() -> None:
    """Print the table."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    pynvml.nvmlInit()
    uuid = str(torch.cuda.get_device_properties(0).uuid)
    card = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    print("| work | rows | data | by | TFLOP/s | SM MHz | W |")
    print("|---|---:|---|---|---:|---:|---:|")

    def row(work: str, m: object, data: str, how: str, rate: float) -> None:
        clock = pynvml.nvmlDeviceGetClockInfo(card, pynvml.NVML_CLOCK_SM)
        power = pynvml.nvmlDeviceGetPowerUsage(card) / 1e3
        cells = (work, m, data, how, f"{rate:,.0f}", clock, f"{power:.0f}")
        print("|", " | ".join(str(cell) for cell in cells), "|", flush=True)

    for m in ROWS:
        for name, (k, n) in SHAPES.items():
            for zeros in (
                (False, True) if m == ROWS[0] and name == "gate_up" else (False,)
            ):
                for how, work in products(m, k, n, zeros).items():
                    try:
                        rate = 2 * m * k * n / timed(work, seconds) / 1e12
                    except Exception as error:  # noqa: BLE001  (a way that this card lacks)
                        print(f"{name} {m} {how}: {error}".splitlines()[0])
                        continue
                    row(name, m, "zeros" if zeros else "normal", how, rate)
    m, (k, n) = 8192, SHAPES["gate_up"]
    a = torch.randn(m, k, device="cuda", dtype=torch.bfloat16)
    b = torch.randn(n, k, device="cuda", dtype=torch.bfloat16).t()
    row(
        "gate_up, bf16",
        m,
        "normal",
        "cuBLAS",
        2 * m * k * n / timed(lambda: a @ b, seconds) / 1e12,
    )
    source = torch.randint(0, 255, (COPY_BYTES,), device="cuda", dtype=torch.uint8)
    target = torch.empty_like(source)
    spent = timed(lambda: target.copy_(source), seconds)
    print(f"copy: {2 * COPY_BYTES / spent / 1e12:.2f} TB/s read and written")


if __name__ == "__main__":
    main()
