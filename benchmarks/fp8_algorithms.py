"""What cuBLASLt offers for the fp8 products of Llama-3.1-8B: speed and energy.

    python -m benchmarks.fp8_algorithms [--seconds 70] [--top 8] [--rows 16384 ...]

Asks cuBLASLt's heuristic for its best algorithms for each shape (e4m3 by e4m3 to bf16,
one scale per tensor, fast accumulation, as `sut.engines.fast_fp8` multiplies) and runs
each. The first is what PyTorch takes; it runs again after every second one, and the
others are given as a ratio to its mean before and after, so that a card that warms up
favours none. Two rows each for int8 and bf16 follow. A card at its power limit turns
energy into speed: compare TFLOP/s where W is the limit, J/TFLOP where it is not.
Prints a Markdown table; SM MHz is read at the end of each case.
"""

import argparse
import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pynvml
import torch
from vllm import _custom_ops as ops

SHAPES = {  # name: (K, N)
    "qkv": (4096, 6144),
    "o": (4096, 4096),
    "gate_up": (4096, 28672),
    "down": (14336, 4096),
}
ROWS = (16384, 7680, 1024)
FP8, BF16 = torch.float8_e4m3fn, torch.bfloat16
WORKSPACE = 32 << 20  # PyTorch's on Hopper: its first choice is ours
WARM_UP_S = 3.0
DEFAULT_EVERY = 2
MOST = 32

# Of cublasLt.h and library_types.h.
CUDA_R_32F, CUDA_R_16BF, CUDA_R_8F_E4M3, CUBLAS_COMPUTE_32F = 0, 14, 28, 68
TRANSA, TRANSB, A_SCALE, B_SCALE, FAST_ACCUMULATION = 3, 4, 17, 18, 25
PREFERENCE_WORKSPACE = 1
CONFIGURATION = {  # attribute: (number, bytes)
    "id": (0, 4),
    "tile": (1, 4),
    "split": (2, 4),
    "swizzle": (4, 4),
    "custom": (5, 4),
    "stages": (6, 4),
    "inner": (7, 2),
    "cluster": (8, 2),
}


class Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = (
        ("algorithm", ctypes.c_uint64 * 8),
        ("workspace", ctypes.c_size_t),
        ("state", ctypes.c_int),
        ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    )


@dataclass(frozen=True, slots=True)
class Case:
    """A way to multiply."""

    name: str
    call: Callable[[], torch.Tensor]


class CublasLt:
    """The library that PyTorch has loaded, by ctypes."""

    def __init__(self) -> None:
        torch.ones(16, 16, device="cuda") @ torch.ones(16, 16, device="cuda")
        maps = Path("/proc/self/maps").read_text().split()
        found = [path for path in maps if "/libcublasLt.so" in path]
        self.library = ctypes.CDLL(found[0] if found else "libcublasLt.so.13")
        self.library.cublasLtGetVersion.restype = ctypes.c_size_t
        self.handle = self.made("cublasLtCreate")
        self.workspace = torch.empty(WORKSPACE, dtype=torch.uint8, device="cuda")

    @property
    def version(self) -> int:
        """The version of the library, as 130000."""
        return int(self.library.cublasLtGetVersion())

    def do(self, name: str, *arguments: object) -> None:
        """Call a function; raise what is not success."""
        status = getattr(self.library, name)(*arguments)
        if status != 0:
            raise RuntimeError(f"{name}: status {status}")

    def made(self, name: str, *arguments: object) -> ctypes.c_void_p:
        """Return what a function creates."""
        pointer = ctypes.c_void_p()
        self.do(name, ctypes.byref(pointer), *arguments)
        return pointer

    def products(
        self, a: torch.Tensor, b: torch.Tensor, one: torch.Tensor, top: int
    ) -> list[Case]:
        """Return ways to multiply a (M x K) by b (N x K), both in fp8 and in rows.

        To a library that counts by columns the result, M x N in rows, is N x M: b is
        its first operand, transposed, and a its second. Whoever calls keeps a, b and
        one, as long as the cases are in use.
        """
        (m, k), n = a.shape, b.shape[0]
        out = torch.empty(m, n, dtype=BF16, device="cuda")
        how = self.made("cublasLtMatmulDescCreate", CUBLAS_COMPUTE_32F, CUDA_R_32F)
        scale = ctypes.c_void_p(one.data_ptr())
        for number, value in (
            (TRANSA, ctypes.c_int32(1)),
            (TRANSB, ctypes.c_int32(0)),
            (A_SCALE, scale),
            (B_SCALE, scale),
            (FAST_ACCUMULATION, ctypes.c_int8(1)),
        ):
            self.do(
                "cublasLtMatmulDescSetAttribute",
                how,
                ctypes.c_int(number),
                ctypes.byref(value),
                ctypes.c_size_t(ctypes.sizeof(value)),
            )
        layouts = [
            self.made(
                "cublasLtMatrixLayoutCreate",
                ctypes.c_int(kind),
                ctypes.c_uint64(rows),
                ctypes.c_uint64(columns),
                ctypes.c_int64(rows),
            )
            for kind, rows, columns in (
                (CUDA_R_8F_E4M3, k, n),
                (CUDA_R_8F_E4M3, k, m),
                (CUDA_R_16BF, n, m),
            )
        ]
        preference = self.made("cublasLtMatmulPreferenceCreate")
        room = ctypes.c_size_t(WORKSPACE)
        self.do(
            "cublasLtMatmulPreferenceSetAttribute",
            preference,
            ctypes.c_int(PREFERENCE_WORKSPACE),
            ctypes.byref(room),
            ctypes.c_size_t(ctypes.sizeof(room)),
        )
        results, count = (Heuristic * MOST)(), ctypes.c_int()
        self.do(
            "cublasLtMatmulAlgoGetHeuristic",
            self.handle,
            how,
            *(layouts[0], layouts[1], layouts[2], layouts[2]),
            preference,
            ctypes.c_int(MOST),
            results,
            ctypes.byref(count),
        )
        factor, nothing = ctypes.c_float(1.0), ctypes.c_float(0.0)
        pointers = [ctypes.c_void_p(x.data_ptr()) for x in (a, b, out, self.workspace)]

        def call(result: Heuristic) -> Callable[[], torch.Tensor]:
            def multiply() -> torch.Tensor:
                self.do(
                    "cublasLtMatmul",
                    self.handle,
                    how,
                    ctypes.byref(factor),
                    *(pointers[1], layouts[0], pointers[0], layouts[1]),
                    ctypes.byref(nothing),
                    *(pointers[2], layouts[2], pointers[2], layouts[2]),
                    ctypes.byref(result.algorithm),
                    pointers[3],
                    ctypes.c_size_t(WORKSPACE),
                    ctypes.c_void_p(torch.cuda.current_stream().cuda_stream),
                )
                return out

            return multiply

        cases: dict[str, Case] = {}
        for result in results[: count.value]:
            if result.state == 0:
                name = self.described(result)
                cases.setdefault(name, Case(name, call(result)))
        return list(cases.values())[:top]

    def described(self, result: Heuristic) -> str:
        """Return an algorithm's configuration in words."""
        words = []
        for name, (number, size) in CONFIGURATION.items():
            value, written = ctypes.c_uint64(), ctypes.c_size_t()
            status = self.library.cublasLtMatmulAlgoConfigGetAttribute(
                ctypes.byref(result.algorithm),
                ctypes.c_int(number),
                ctypes.byref(value),
                ctypes.c_size_t(size),
                ctypes.byref(written),
            )
            if status == 0 and value.value:
                words.append(f"{name} {value.value}")
        return ", ".join(words)


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
        for name, call in {
            "int8, CUTLASS, per tensor": lambda a=a, b=b: ops.cutlass_scaled_mm(
                a, b.t(), one, one, BF16
            ),
            "int8, CUTLASS, per token and channel": (
                lambda a=a, b=b, c=columns: ops.cutlass_scaled_mm(
                    a, b.t(), rows, c, BF16
                )
            ),
            "int8, cuBLASLt to int32": lambda a=a, b=b: torch._int_mm(a, b.t()),
            "bf16, cuBLAS": lambda a=bf16_a, b=bf16_b: a @ b.t(),
        }.items():
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
    case = library.products(warm, other.view(4096, 4096), one, 1)[0]
    measure(case.call, 1.0, WARM_UP_S, card)
    for m in options.rows:
        for work, (k, n) in SHAPES.items():
            a, b = left[: m * k].view(m, k), right[: n * k].view(n, k)
            cases = library.products(a, b, one, options.top)
            offered(work, m, cases, 2.0 * m * k * n, each, card)
    others(each, card)


if __name__ == "__main__":
    main()
