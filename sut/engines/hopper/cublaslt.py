"""cuBLASLt by ctypes: products in fp8 with an algorithm of one's own choice.

PyTorch takes the first algorithm that cuBLASLt's heuristic names, and offers no other.
For a card at its power limit that is not the fastest.
"""

import ctypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

FP8, BF16 = torch.float8_e4m3fn, torch.bfloat16
WORKSPACE = 32 << 20  # PyTorch's on Hopper: its first choice is ours
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
_MATMUL: list[Any] = [*[ctypes.c_void_p] * 14, ctypes.c_size_t, ctypes.c_void_p]


class Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = (
        ("algorithm", ctypes.c_uint64 * 8),
        ("workspace", ctypes.c_size_t),
        ("state", ctypes.c_int),
        ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Algorithm:
    """One way to multiply that cuBLASLt offers."""

    result: Heuristic
    configuration: dict[str, int]
    """Those of `CONFIGURATION` that are not zero."""

    def __str__(self) -> str:
        return ", ".join(f"{name} {is_}" for name, is_ in self.configuration.items())


class CublasLt:
    """The library that PyTorch has loaded, on the current device.

    Raises:
        OSError: there is none.
        RuntimeError: a function failed.
    """

    def __init__(self) -> None:
        torch.ones(16, 16, device="cuda") @ torch.ones(16, 16, device="cuda")
        maps = Path("/proc/self/maps").read_text().split()
        found = [path for path in maps if "/libcublasLt.so" in path]
        self.library = ctypes.CDLL(found[0] if found else "libcublasLt.so.13")
        self.library.cublasLtGetVersion.restype = ctypes.c_size_t
        self.library.cublasLtMatmul.argtypes = _MATMUL
        self.handle = self._made("cublasLtCreate")
        self.workspace = torch.empty(WORKSPACE, dtype=torch.uint8, device="cuda")
        self._one = ctypes.byref(ctypes.c_float(1.0))
        self._zero = ctypes.byref(ctypes.c_float(0.0))
        self._ways = cache(self._way)
        self._layouts = cache(self._layout)

    @property
    def version(self) -> int:
        """The version of the library, as 130000."""
        return int(self.library.cublasLtGetVersion())

    def algorithms(
        self, a: torch.Tensor, b: torch.Tensor, scale: torch.Tensor
    ) -> list[Algorithm]:
        """Return what the heuristic offers for M x K by N x K, its first choice first.

        Args:
            a: M x K in fp8, in rows.
            b: N x K in fp8, in rows.
            scale: One float32.
        """
        (m, k), n = a.shape, b.shape[0]
        preference = self._made("cublasLtMatmulPreferenceCreate")
        room = ctypes.c_size_t(WORKSPACE)
        self._do(
            "cublasLtMatmulPreferenceSetAttribute",
            preference,
            ctypes.c_int(PREFERENCE_WORKSPACE),
            ctypes.byref(room),
            ctypes.c_size_t(ctypes.sizeof(room)),
        )
        results, count = (Heuristic * MOST)(), ctypes.c_int()
        out = self._layouts(CUDA_R_16BF, n, m)
        self._do(
            "cublasLtMatmulAlgoGetHeuristic",
            self.handle,
            self._ways(scale.data_ptr(), scale.data_ptr()),
            self._layouts(CUDA_R_8F_E4M3, k, n),
            self._layouts(CUDA_R_8F_E4M3, k, m),
            *(out, out),
            preference,
            ctypes.c_int(MOST),
            results,
            ctypes.byref(count),
        )
        self._do("cublasLtMatmulPreferenceDestroy", preference)
        offered: dict[str, Algorithm] = {}
        for result in results[: count.value]:
            if result.state == 0:
                algorithm = Algorithm(result, self._configuration(result))
                offered.setdefault(str(algorithm), algorithm)
        return list(offered.values())

    def multiply(
        self,
        a: torch.Tensor,
        b: torch.Tensor,
        a_scale: torch.Tensor,
        b_scale: torch.Tensor,
        algorithm: Algorithm,
    ) -> torch.Tensor:
        """Return a (M x K) by b (N x K), scaled, M x N in bf16; both fp8 in rows.

        To a library that counts by columns the result, M x N in rows, is N x M: b is
        its first operand, transposed, and a its second.

        Raises:
            RuntimeError: the algorithm does not serve this shape.
        """
        (m, k), n = a.shape, b.shape[0]
        out = torch.empty(m, n, dtype=BF16, device=a.device)
        layout = self._layouts(CUDA_R_16BF, n, m)
        status = self.library.cublasLtMatmul(
            self.handle,
            self._ways(b_scale.data_ptr(), a_scale.data_ptr()),
            self._one,
            b.data_ptr(),
            self._layouts(CUDA_R_8F_E4M3, k, n),
            a.data_ptr(),
            self._layouts(CUDA_R_8F_E4M3, k, m),
            self._zero,
            *(out.data_ptr(), layout, out.data_ptr(), layout),
            ctypes.byref(algorithm.result.algorithm),
            self.workspace.data_ptr(),
            WORKSPACE,
            torch.cuda.current_stream().cuda_stream,
        )
        if status != 0:
            raise RuntimeError(f"cublasLtMatmul: status {status} for {m} x {k} x {n}")
        return out

    def _way(self, first_scale: int, second_scale: int) -> ctypes.c_void_p:
        """Return the description of a product; scales are addresses on the device."""
        how = self._made("cublasLtMatmulDescCreate", CUBLAS_COMPUTE_32F, CUDA_R_32F)
        for number, value in (
            (TRANSA, ctypes.c_int32(1)),
            (TRANSB, ctypes.c_int32(0)),
            (A_SCALE, ctypes.c_void_p(first_scale)),
            (B_SCALE, ctypes.c_void_p(second_scale)),
            (FAST_ACCUMULATION, ctypes.c_int8(1)),
        ):
            self._do(
                "cublasLtMatmulDescSetAttribute",
                how,
                ctypes.c_int(number),
                ctypes.byref(value),
                ctypes.c_size_t(ctypes.sizeof(value)),
            )
        return how

    def _layout(self, kind: int, rows: int, columns: int) -> ctypes.c_void_p:
        return self._made(
            "cublasLtMatrixLayoutCreate",
            ctypes.c_int(kind),
            ctypes.c_uint64(rows),
            ctypes.c_uint64(columns),
            ctypes.c_int64(rows),
        )

    def _configuration(self, result: Heuristic) -> dict[str, int]:
        values = {}
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
                values[name] = int(value.value)
        return values

    def _do(self, name: str, *arguments: object) -> None:
        """Call a function; raise what is not success."""
        status = getattr(self.library, name)(*arguments)
        if status != 0:
            raise RuntimeError(f"{name}: status {status}")

    def _made(self, name: str, *arguments: object) -> ctypes.c_void_p:
        """Return what a function creates."""
        pointer = ctypes.c_void_p()
        self._do(name, ctypes.byref(pointer), *arguments)
        return pointer
