"""What a number was measured on, and how fast that machine can be at best."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from nfd.network import products

Facts = dict[str, Any]


def describe(device: str) -> Facts:
    """The machine by generic names, and the versions."""
    import snakemake

    facts: Facts = {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "snakemake": snakemake.__version__,
    }
    if device == "cuda":
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def file_name(facts: Facts) -> str:
    """Generic name of the machine, such as '2-core-xeon' or 'h100'."""
    if "gpu" in facts:
        name = facts["gpu"].replace("NVIDIA", "")
    else:
        family = re.search(r"xeon|epyc|core|ryzen|apple \w+|neoverse", facts["cpu"], re.IGNORECASE)
        name = f"{facts['cores']}-core-{family.group() if family else 'cpu'}"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def circumstances() -> Facts:
    """When, of which code and under which load a line is measured."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _git("rev-parse", "--short=12", "HEAD"),
        "modified": bool(_git("status", "--porcelain", "--untracked-files=no", "--", "src")),
        "load_1min": round(os.getloadavg()[0], 2),
    }


def floor(device: str, threads: int, size: int = 2048, copy_mib: int = 256) -> Facts:
    """Best rates of this machine: float32 matrix product, and copy (bytes read plus written)."""
    torch.set_num_threads(threads)
    a, b = torch.randn(2, size, size, device=device)
    product = torch.empty_like(a)
    source = torch.randn(copy_mib * 2**18, device=device)
    target = torch.empty_like(source)
    # Of torch's own product and the one that nfd takes when it is large, the faster.
    multiply = min(
        _best_seconds(lambda: torch.mm(a, b, out=product), device),
        _best_seconds(lambda: products.forward(a[None], b[None], product[None]), device),
    )
    copy = _best_seconds(lambda: target.copy_(source), device)
    return {
        "threads": threads,
        "matmul_gflops": round(2 * size**3 / multiply / 1e9, 1),
        "copy_gbytes_per_s": round(2 * source.nbytes / copy / 1e9, 1),
        "matmul_size": size,
        "copy_mib": copy_mib,
    }


def synchronize(device: str) -> None:
    """Wait until a GPU has done what it was told."""
    if device == "cuda":
        torch.cuda.synchronize()


def _best_seconds(call: Any, device: str, repeats: int = 10) -> float:
    call()
    times = []
    for _ in range(repeats):
        synchronize(device)
        start = perf_counter()
        call()
        synchronize(device)
        times.append(perf_counter() - start)
    return min(times)


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
