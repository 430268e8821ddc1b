"""Which precisions a device computes in."""

import warnings
from functools import cache

import torch


@cache
def computes_bfloat16(device: str) -> bool:
    """Find out whether matrix products in bfloat16 are worth it.

    PyTorch hands them to oneDNN on CPUs with AVX-512. On others it takes a plain loop: a training
    step of MiniLM took ten times as long as in float32.

    device (str): "cpu", "cuda" ...
    RETURNS (bool): False if float32 is faster; the first time with a warning.
    """
    if device != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return True
    warnings.warn(
        "precision = 'bfloat16', but this processor has no AVX-512. Without it PyTorch is many "
        "times slower in bfloat16 than in float32. The encoder computes in float32 here.",
        stacklevel=2,
    )
    return False


def half_type(device: torch.device) -> torch.dtype | None:
    """RETURNS (Optional[dtype]): What a device computes in for bfloat16; None for float32. Cards
    without it predict in float16, whose range is smaller than that of gradients."""
    if device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return None if torch.is_grad_enabled() else torch.float16
