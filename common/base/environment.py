"""What a shell decides: of what changes results, only what config.json records."""

from __future__ import annotations

import os

# Keras reads them when it is imported, TensorFlow the last: another backend, trainings cut short.
_SHIELDED = (
    *("KERAS_BACKEND", "KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "KERAS_NNX_ENABLED"),
    "TF_USE_LEGACY_KERAS",
)
# How those begin that set threads, kernels and compilers: of TensorFlow, XLA, CUDA, oneDNN, OpenMP
# and NumPy. TF_ alone would be Terraform's too, whose variables hold secrets.
_RECORDED = (
    *("TF_AUTO_MIXED_", "TF_CONV2D_", "TF_CUDNN_", "TF_DATA_EXPERIMENT_", "TF_DETERMINISTIC_"),
    *("TF_DISABLE_", "TF_ENABLE_", "TF_FP16_", "TF_GPU_THREAD_", "TF_JIT_", "TF_MATMUL_"),
    *("TF_NUM_", "TF_ONEDNN_", "TF_SET_ONEDNN_", "TF_USE_", "TF_XLA_", "XLA_"),
    *("CUBLAS_", "CUDNN_", "NVIDIA_TF32_", "DNNL_", "ONEDNN_"),
    *("OMP_", "MKL_", "OPENBLAS_", "GOTO_NUM_THREADS", "NPY_"),
)


def shield_from_environment() -> None:
    """Take the variables away that would change what a script does, before Keras is imported.

    The scripts run on TensorFlow, whatever is set; the networks by themselves follow Keras's own
    variables.
    """
    for name in _SHIELDED:
        os.environ.pop(name, None)


def recorded_environment() -> dict[str, str]:
    """The variables that are set and may change a result's last digits, or its speed, by name."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(_RECORDED) and name not in _SHIELDED
    }
