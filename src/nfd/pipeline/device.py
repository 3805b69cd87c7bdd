"""The device a job works on: a GPU that can be used, or the CPU."""

import logging

import torch

from nfd.pipeline import gpu
from nfd.pipeline.cost import CPU_STACK_BYTES

log = logging.getLogger(__name__)

# Share of a GPU's free memory that a stack may take.
GPU_SHARE = 0.6


class DeviceError(RuntimeError):
    """A device that was asked for and is not there."""


def use_device(setting: str, *, gpus: int, threads: int, tf32: bool) -> torch.device:
    """Set up the device of a job that was given ``gpus`` GPUs and ``threads`` CPU threads.

    ``setting`` is 'auto', 'cpu' or 'cuda'. With 'auto' a job that cannot use a GPU works on the CPU and
    logs why; with 'cuda' it raises DeviceError.
    """
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    if setting == "cpu":
        return torch.device("cpu")
    fault = _gpu_fault(gpus)
    if fault is None:
        return torch.device("cuda")
    if setting == "cuda":
        raise DeviceError(f"device: cuda was asked for, but {fault}; use cpu or auto")
    log.info("device: auto works on the CPU, since %s", fault)
    return torch.device("cpu")


def _gpu_fault(gpus: int) -> str | None:
    """Why no GPU can be used, as the end of a sentence; None if one can."""
    if not gpus:
        return gpu.why_none() or "this job was given no GPU (resource gpu=0)"
    if not torch.cuda.is_available():
        return f"torch sees no GPU ({gpu.why_none() or 'its driver cannot be used'})"
    try:  # a GPU that is seen may still be too old, in use by others, or broken
        torch.ones(1, device="cuda").add_(1).item()
    except RuntimeError as error:
        return f"torch cannot use the GPU ({str(error).splitlines()[0]})"
    return None


def stack_budget(device: torch.device) -> int:
    """Bytes that the networks trained together may take on this device."""
    if device.type == "cuda":
        return int(GPU_SHARE * torch.cuda.mem_get_info(device)[0])
    return CPU_STACK_BYTES


def describe_device(device: torch.device) -> str:
    """Name of the device for the provenance."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
