"""Whether this machine has a GPU for our jobs, found without torch, which is slow to load.

A GPU in sight may still refuse to work; the job itself finds out and, under ``device: auto``, goes
back to the CPU (:func:`nfd.pipeline.device.use_device`). So where these signs are unclear, the answer is yes.
"""

import os
import re
from importlib.util import find_spec
from math import inf
from pathlib import Path


def wanted(device: str, root: Path = Path("/")) -> bool:
    """Whether jobs ask for a GPU under the setting ``device``: auto, cpu or cuda."""
    return device == "cuda" or (device == "auto" and why_none(root) is None)


def why_none(root: Path = Path("/")) -> str | None:
    """Why jobs started here can use no GPU, as the end of a sentence; None if they seem to have one.

    Under Slurm it is about the GPU that the job was given. ``root`` is the root of the file system.
    """
    if "SLURM_JOB_ID" in os.environ and "SLURM_GPUS_ON_NODE" not in os.environ:
        return "Slurm gave this job no GPU"
    count = _in_sight(root)
    if not count:
        return "no NVIDIA GPU is in sight"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and not _names_one(visible, count):
        return f"CUDA_VISIBLE_DEVICES={visible!r} hides every GPU"
    if not torch_has_cuda():
        return "the installed torch is built without CUDA"
    return None


def _in_sight(root: Path) -> float:
    """Number of GPUs of the machine or the container; infinite where they cannot be counted (WSL2).

    A driver may make its device nodes on first use only, so either kind of sign counts.
    """
    nodes = list((root / "dev").glob("nvidia[0-9]*"))
    listed = list((root / "proc/driver/nvidia/gpus").glob("*"))
    if nodes or listed:
        return max(len(nodes), len(listed))
    return inf if (root / "dev/dxg").exists() else 0


def _names_one(visible: str, count: float) -> bool:
    """Whether CUDA finds a GPU under this CUDA_VISIBLE_DEVICES: it ignores all after the first bad entry."""
    first = visible.split(",")[0].strip()
    return first.startswith(("GPU-", "MIG-")) or (first.isdecimal() and int(first) < count)


def torch_has_cuda() -> bool:
    """Read in torch's own version file; yes where torch is only in the jobs' environment."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return True
    version = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    return re.search(r"^cuda\b.*= None$", version, re.MULTILINE) is None
