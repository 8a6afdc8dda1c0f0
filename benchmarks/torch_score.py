"""MONAI's side of `time_to_score`: needs torch, monai and numpy, nothing of ours.

    python torch_score.py VOLUMES.npz MINUTES [MINUTES ...]

The minutes rise. At each the averaged weights are kept; the last ends the training. The settings
are those of the atrium's --preset cpu.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset, DataLoader
from monai.losses import DiceLoss
from monai.networks.nets import BasicUNet
from monai.transforms import (
    Compose,
    EnsureTyped,
    RandAdjustContrastd,
    RandAffined,
    RandGaussianNoised,
    RandShiftIntensityd,
    RandSpatialCropd,
    SpatialPadd,
)
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

IMAGE_SIZE, NEIGHBOURS, BATCH, RATE, MOMENTUM, STRIDE = 96, 2, 16, 2e-3, 0.99, 32
ROTATION, SCALE, SHIFT = np.deg2rad(25.0), 0.25, 0.05
CONTRAST, GAMMA, NOISE = 0.3, 1.0, 0.02


def main() -> None:
    """Train, and print for each of the minutes the Dice of each scored volume, as JSON."""
    torch.manual_seed(0)
    minutes = [float(minute) for minute in sys.argv[2:]]
    snapshots: list[torch.nn.Module] = []
    with np.load(sys.argv[1]) as saved:
        arrays = dict(saved)
    batches = _batches(_pairs(arrays, "train"))
    flags = Path("/proc/cpuinfo")
    narrow = flags.exists() and "avx512_bf16" in flags.read_text()
    channels = 2 * NEIGHBOURS + 1
    model = BasicUNet(2, channels, 1, features=(16, 32, 64, 128, 256, 16))
    model = model.to(memory_format=torch.channels_last)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(MOMENTUM), use_buffers=True)
    optimizer = torch.optim.Adam(model.parameters(), RATE, fused=True)
    soft_dice = DiceLoss(sigmoid=True, batch=True)
    began = time.monotonic()
    while len(snapshots) < len(minutes):
        progress = (time.monotonic() - began) / (60 * minutes[-1])
        batch = next(batches)
        for group in optimizer.param_groups:
            group["lr"] = RATE * _rate_at(progress)
        images = batch["image"].as_tensor().contiguous(memory_format=torch.channels_last)
        masks = batch["mask"].as_tensor()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            logits = model(images)
        logits = logits.float()
        loss = soft_dice(logits, masks) + binary_cross_entropy_with_logits(logits, masks)
        loss.backward()
        optimizer.step()
        averaged.update_parameters(model)
        passed = (time.monotonic() - began) / 60
        while len(snapshots) < len(minutes) and passed >= minutes[len(snapshots)]:
            snapshots.append(copy.deepcopy(averaged))
    pairs = _pairs(arrays, "scored")
    dices = [
        [_dice(mask > 0, _segment(network.eval(), image)) for image, mask in pairs]
        for network in snapshots
    ]
    print(json.dumps(dices))


def _pairs(arrays: dict[str, np.ndarray], split: str) -> list[tuple[np.ndarray, np.ndarray]]:
    names = sorted(name for name in arrays if name.startswith(split) and name.endswith("image"))
    return [(arrays[name], arrays[name.replace("image", "mask")]) for name in names]


def _batches(pairs: list[tuple[np.ndarray, np.ndarray]]) -> Iterator[Any]:
    items = [
        {"image": image, "mask": mask[None]}
        for volume, masks in pairs
        for image, mask in zip(_with_neighbours(volume), masks, strict=True)
    ]
    keys = ["image", "mask"]
    transforms = [
        EnsureTyped(keys, dtype=torch.float32),
        SpatialPadd(keys, (IMAGE_SIZE, IMAGE_SIZE)),
        RandSpatialCropd(keys, (IMAGE_SIZE, IMAGE_SIZE), random_size=False),
        RandAffined(
            keys,
            prob=1.0,
            rotate_range=ROTATION,
            scale_range=SCALE,
            translate_range=SHIFT * IMAGE_SIZE,
            mode=("bilinear", "nearest"),
            padding_mode="zeros",
        ),
        _to_unit,
        RandAdjustContrastd("image", prob=1.0, gamma=(1 / (1 + GAMMA), 1 + GAMMA)),
        RandShiftIntensityd("image", offsets=CONTRAST / 2, prob=1.0),
        RandGaussianNoised("image", prob=1.0, std=NOISE),
    ]
    cached = CacheDataset(items, Compose(transforms), cache_rate=1.0, num_workers=2, progress=False)
    loader = DataLoader(
        cached, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=1,
        persistent_workers=True, prefetch_factor=8,
    )  # fmt: skip
    while True:
        yield from loader


def _to_unit(item: dict[str, Any]) -> dict[str, Any]:
    """0..255 to 0..1."""
    return {**item, "image": item["image"] / 255}


def _with_neighbours(volume: np.ndarray) -> np.ndarray:
    count = len(volume)
    offsets = np.arange(-NEIGHBOURS, NEIGHBOURS + 1)
    return volume[np.clip(np.arange(count)[:, None] + offsets, 0, count - 1)]


@torch.no_grad()
def _segment(model: torch.nn.Module, volume: np.ndarray) -> np.ndarray:
    images = torch.tensor(_with_neighbours(volume)).float() / 255
    height, width = images.shape[2:]
    down, right = -height % STRIDE, -width % STRIDE
    top, start = down // 2, right // 2
    padded = torch.nn.functional.pad(images, (start, right - start, top, down - top))
    logits = torch.cat([model(part) for part in padded.split(32)])
    return (logits[:, 0, top : top + height, start : start + width] >= 0).numpy()


def _rate_at(progress: float) -> float:
    cosine = float(1 + np.cos(np.pi * (min(progress, 1.0) - 0.05) / 0.95)) / 2
    return min(progress / 0.05, cosine)


def _dice(truth: np.ndarray, predicted: np.ndarray) -> float:
    return float(2 * (truth & predicted).sum() / max(truth.sum() + predicted.sum(), 1))


if __name__ == "__main__":
    main()
