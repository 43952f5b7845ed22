"""What a device can do and how much of it is free. Knows no models and no jobs."""

import ctypes
import gc
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import torch

DtypeName = Literal["fp32", "bf16"]
DTYPES: dict[DtypeName, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class DeviceFacts:
    """`compute_dtype` is what `auto` means here; the bytes are the device's own memory (host or cgroup for cpu)."""

    name: str
    compute_dtype: DtypeName
    has_native_bf16: bool
    total_bytes: int
    free_bytes: int

    @property
    def refuses_memory(self) -> bool:
        """Whether asking for more than there is raises an error; on a CPU the system gives it, and ends who uses it."""
        return self.name != "cpu"


def device_facts(name: str) -> DeviceFacts:
    """Ask the device called `cpu` or `cuda:N`."""
    if name == "cpu":
        has_native_bf16 = _cpu_has_bf16()
        total_bytes, free_bytes = _host_bytes()
    else:
        has_native_bf16 = torch.cuda.get_device_capability(name) >= (8, 0)
        free_bytes, total_bytes = torch.cuda.mem_get_info(name)
    return DeviceFacts(
        name=name, compute_dtype="bf16" if has_native_bf16 else "fp32", has_native_bf16=has_native_bf16,
        total_bytes=total_bytes, free_bytes=free_bytes,
    )  # fmt: skip


def visible_name(ordered: str) -> str:
    """The device under the name it has in a child, which sees one GPU only: `cuda:3` is its `cuda:0`."""
    return "cpu" if ordered == "cpu" else "cuda:0"


def compute_dtype(choice: Literal["auto", "fp32", "bf16"], facts: DeviceFacts) -> torch.dtype:
    """The order's choice, or the device's. Never the checkpoint's: bf16 without the instructions is 2-15x slower."""
    return DTYPES[facts.compute_dtype if choice == "auto" else choice]


def dtype_name(dtype: torch.dtype) -> DtypeName:
    return "bf16" if dtype == torch.bfloat16 else "fp32"


def peak_memory_bytes(name: str) -> int | None:
    """The most that this process has taken of the device so far; None where the system does not say.

    On a CPU resident memory, on a GPU what torch has reserved, which is what others cannot have.
    """
    if name != "cpu":
        return torch.cuda.max_memory_reserved(name)
    # Not ru_maxrss, which begins at what the parent had when this process was made.
    return _own_bytes().get("VmHWM")


def bytes_below_peak(name: str) -> int:
    """How much less host memory this process takes now than it once did; 0 on a GPU, or where nobody can say."""
    own = _own_bytes() if name == "cpu" else {}
    return own["VmHWM"] - own["VmRSS"] if len(own) == 2 else 0


def _own_bytes() -> dict[str, int]:
    """Resident memory of this process, now (VmRSS) and at most (VmHWM); empty where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return {}
    said = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return {name: int(said[name].split()[0]) * 1024 for name in ("VmHWM", "VmRSS") if name in said}


def give_back_memory(name: str) -> None:
    """Let the system have what is free in this process: the C library keeps freed pieces under 32 MiB to itself.

    After a training of SmolLM2-135M it kept 450 MB, on top of which the base was loaded once more.
    """
    gc.collect()
    if name != "cpu":
        torch.cuda.empty_cache()
    elif (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:  # glibc alone has it
        trim(0)


def use_threads(count: int) -> None:
    """Fix the thread count: bit-equality between two runs holds only at equal counts."""
    torch.set_num_threads(count)


def nf4_self_test(device: str = "cpu") -> str | None:
    """None when a 4-bit layer quantises, multiplies and gives gradients there; else the reason, for people."""
    try:
        from bitsandbytes.nn.modules import Linear4bit
    except (ImportError, OSError) as error:
        return f"bitsandbytes does not load ({error}); install it to train on NF4"
    plain = torch.nn.Linear(64, 32, bias=False)
    layer = Linear4bit(64, 32, bias=False, compute_dtype=torch.float32, quant_type="nf4")
    layer.load_state_dict(plain.state_dict())
    rows = torch.randn(4, 64, requires_grad=True)
    try:
        out = layer.to(device)(rows.to(device)).cpu()  # (4, 32)
        out.sum().backward()
        relative_error = float((out - plain(rows)).detach().norm() / plain(rows).detach().norm())
    except (RuntimeError, AttributeError, NotImplementedError) as error:
        return f"bitsandbytes cannot run 4-bit products on this machine ({error}); train unquantised instead"
    if rows.grad is None or not torch.isfinite(rows.grad).all():
        return "bitsandbytes gives no finite gradient on this machine; train unquantised instead"
    if relative_error > 0.25:
        return f"bitsandbytes' 4-bit product is {relative_error:.0%} off on this machine; train unquantised instead"
    return None


def cpu_model() -> str:
    """The processor's name: equal runs give equal bits only on equal ones."""
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return os.uname().machine


def _cpu_has_bf16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16", False) or capabilities.get("amx_bf16", False))


def _host_bytes() -> tuple[int, int]:
    """(total, free) of the host, or of this process's cgroup where that is tighter."""
    memory = psutil.virtual_memory()
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and used.exists() and (text := limit.read_text().strip()).isdigit():
        total_bytes = min(int(text), memory.total)
        return total_bytes, min(memory.available, max(0, total_bytes - int(used.read_text())))
    return memory.total, memory.available
