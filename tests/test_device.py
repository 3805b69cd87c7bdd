"""``device: auto`` finds the GPU that jobs can use, and goes back to the CPU from any other."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nfd.pipeline import device, gpu

TWO = ("dev/nvidia0", "dev/nvidia1", "dev/nvidiactl")
LISTED = ("proc/driver/nvidia/gpus/0000:01:00.0",)  # the driver, before its nodes are made
WSL2 = ("dev/dxg",)
SLURM = {"SLURM_JOB_ID": "1"}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Makes a file system with these files and this environment; torch is one for CUDA."""
    monkeypatch.setattr(gpu, "torch_has_cuda", lambda: True)

    def make(files: tuple[str, ...], environment: dict[str, str]) -> Path:
        for name in ("SLURM_JOB_ID", "SLURM_GPUS_ON_NODE", "CUDA_VISIBLE_DEVICES"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        for name in files:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return make


@pytest.mark.parametrize("files", [TWO, LISTED, WSL2])
@pytest.mark.parametrize("visible", [None, "0", "0,1", "GPU-8932f937", "MIG-1/2/3", " 0"])
def test_a_gpu_is_found(machine, files, visible):
    root = machine(files, {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    assert gpu.why_none(root) is None
    assert gpu.wanted("auto", root)
    assert not gpu.wanted("cpu", root)


@pytest.mark.parametrize("visible", ["", "-1", "7", "NoDevFiles", "-1,0", "2"])
def test_a_hidden_gpu_is_not_asked_for(machine, visible):
    root = machine(TWO, {"CUDA_VISIBLE_DEVICES": visible})
    assert "CUDA_VISIBLE_DEVICES" in gpu.why_none(root)
    assert not gpu.wanted("auto", root)
    assert gpu.wanted("cuda", root)  # the job will say what is wrong


@pytest.mark.parametrize(
    ("files", "environment", "named"),
    [
        ((), {}, "no NVIDIA GPU"),
        (("dev/nvidiactl",), {}, "no NVIDIA GPU"),
        (("proc/driver/nvidia/version",), {}, "no NVIDIA GPU"),  # a container without its device
        (TWO, SLURM, "Slurm"),
        (WSL2, {"CUDA_VISIBLE_DEVICES": "-1"}, "CUDA_VISIBLE_DEVICES='-1'"),
    ],
)
def test_why_there_is_none(machine, files, environment, named):
    assert named in gpu.why_none(machine(files, environment))


def test_a_gpu_that_slurm_gave(machine):
    assert gpu.wanted("auto", machine(TWO, {**SLURM, "SLURM_GPUS_ON_NODE": "1"}))


def test_torch_without_cuda_is_seen(machine, monkeypatch):
    root = machine(TWO, {})
    monkeypatch.setattr(gpu, "torch_has_cuda", lambda: False)
    assert "built without CUDA" in gpu.why_none(root)


def test_what_torch_is_built_for_is_read_right():
    assert gpu.torch_has_cuda() is (torch.version.cuda is not None)


def test_the_question_does_not_load_torch():
    code = (
        "import sys; from nfd.pipeline import gpu; gpu.torch_has_cuda(); "
        "gpu.why_none(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# ------------------------------------------------------------------------------ the job itself


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def use(setting: str, gpus: int) -> torch.device:
    return device.use_device(setting, gpus=gpus, threads=torch.get_num_threads(), tf32=False)


@pytest.mark.parametrize("gpus", [0, 1])
def test_a_job_on_auto_falls_back_in_one_line(no_gpu, gpus, caplog):
    with caplog.at_level(logging.INFO):
        assert use("auto", gpus) == torch.device("cpu")
    (line,) = caplog.messages
    assert line.startswith("device: auto works on the CPU, since ")


@pytest.mark.parametrize("gpus", [0, 1])
def test_a_job_on_cuda_does_not(no_gpu, gpus):
    with pytest.raises(device.DeviceError, match="device: cuda was asked for, but"):
        use("cuda", gpus)


def test_a_gpu_that_is_seen_but_does_not_work(monkeypatch, caplog):
    """As one that is too old for this torch, or that another user holds."""

    def broken(*size, device):
        raise RuntimeError("CUDA error: no kernel image is available\nmore lines")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", broken)
    with caplog.at_level(logging.INFO):
        assert use("auto", 1) == torch.device("cpu")
    assert "no kernel image" in caplog.text
    assert "more lines" not in caplog.text
    with pytest.raises(device.DeviceError, match="no kernel image"):
        use("cuda", 1)


def test_cpu_means_cpu(caplog):
    with caplog.at_level(logging.INFO):
        assert use("cpu", 1) == torch.device("cpu")
    assert not caplog.messages
