"""PyTorch's and MONAI's side of the comparisons: needs torch, monai and numpy, nothing of ours.

Prints "ready", then does its work once per line that it reads, and prints the seconds.

    python torch_side.py step unet 16 20
    python torch_side.py loader FILMS.npy 16 STEPS
    python torch_side.py surface MASKS.npz
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from monai.data import CacheDataset, DataLoader
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from monai.networks.nets import BasicUNet, resnet50
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    EnsureTyped,
    RandAffined,
    RandScaleIntensityd,
    RandShiftIntensityd,
)
from torch import nn

FILM_SIZE, SLICE_SIZE, CHANNELS = 224, 96, 5


def step(network: str, batch: str, steps: str) -> Callable[[], object]:
    """Some training steps on one batch, channels last, bfloat16 where the processor has it."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = _network(network).to(device, memory_format=torch.channels_last)
    size, channels = (FILM_SIZE, 1) if network == "resnet50" else (SLICE_SIZE, CHANNELS)
    images = torch.rand(int(batch), channels, size, size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    shape = (int(batch), 1) if network == "resnet50" else (int(batch), 1, size, size)
    targets = torch.randint(0, 2, shape, device=device).float()
    loss_function = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, fused=True)
    flags = Path("/proc/cpuinfo")
    narrow = device == "cuda" or (flags.exists() and "avx512_bf16" in flags.read_text())

    def work() -> None:
        for _ in range(int(steps)):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device, torch.bfloat16, enabled=narrow):
                loss = loss_function(model(images), targets)
            loss.backward()
            optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return work


def loader(file: str, batch: str, steps: str) -> Callable[[], object]:
    """Augmented batches of films from MONAI's CacheDataset, by a DataLoader of two workers."""
    films = np.load(file, mmap_mode="r")
    transforms = [EnsureChannelFirstd("image", channel_dim="no_channel"), EnsureTyped("image")]
    transforms += [
        RandAffined(
            "image",
            prob=1.0,
            rotate_range=np.deg2rad(5.0),
            scale_range=0.1,
            translate_range=0.05 * films.shape[1],
            mode="bilinear",
            padding_mode="zeros",
        ),
        RandScaleIntensityd("image", factors=0.2, prob=1.0),
        RandShiftIntensityd("image", offsets=0.1 * 255, prob=1.0),
    ]
    items = [{"image": np.array(film, np.float32), "label": 0.0} for film in films]
    cached = CacheDataset(items, Compose(transforms), cache_rate=1.0, num_workers=2, progress=False)
    batches = DataLoader(
        cached, batch_size=int(batch), shuffle=True, num_workers=2, persistent_workers=True,
        drop_last=True, prefetch_factor=4,
    )  # fmt: skip
    source = itertools.chain.from_iterable(itertools.repeat(batches))
    return lambda: [next(source) for _ in range(int(steps))]


def surface(file: str) -> Callable[[], object]:
    """HD95 and mean surface distance of two masks."""
    with np.load(file) as saved:
        spacing = saved["spacing_mm"].tolist()
        masks = [torch.tensor(saved[n][None, None].astype("f4")) for n in ("predicted", "truth")]
        expected = saved["ours"]
    options = {"include_background": True, "spacing": spacing}

    def distances() -> list[float]:
        return [
            float(compute_hausdorff_distance(*masks, percentile=95, **options)),
            float(compute_average_surface_distance(*masks, symmetric=True, **options)),
        ]

    np.testing.assert_allclose(distances(), expected, rtol=1e-5)
    return distances


def _network(name: str) -> nn.Module:
    if name == "unet":
        return BasicUNet(2, CHANNELS, 1, features=(16, 32, 64, 128, 256, 16))
    if name == "resnet50":
        return resnet50(spatial_dims=2, n_input_channels=1, num_classes=1, conv1_t_stride=2)
    return FCN8(CHANNELS, 16)


class FCN8(nn.Module):
    """The network of ``common.models.fcn8`` layer by layer."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.blocks, inside = nn.ModuleList(), channels
        for times, count in ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3)):
            layers = []
            for _ in range(count):
                layers += _convolution(inside, times * width, 3)
                inside = times * width
            self.blocks.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
        self.connected = nn.Sequential(
            *_convolution(inside, 8 * width, 7), *_convolution(8 * width, 8 * width, 1)
        )
        self.score = nn.Conv2d(8 * width, 1, 1)
        self.pool_scores = nn.ModuleList([nn.Conv2d(n * width, 1, 1) for n in (8, 4)])
        self.doubles = nn.ModuleList(
            [nn.ConvTranspose2d(1, 1, 4, 2, padding=1, bias=False) for _ in range(2)]
        )
        self.enlarge = nn.ConvTranspose2d(1, 1, 16, 8, padding=4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (batch, 1, height, width)."""
        pools = []
        for block in self.blocks:
            x = block(x)
            pools.append(x)
        score = self.score(self.connected(x))
        pairs = zip(self.doubles, self.pool_scores, pools[-2:1:-1], strict=True)
        for double, pool_score, pool in pairs:
            score = double(score) + pool_score(pool)
        return self.enlarge(score)


def _convolution(inside: int, outside: int, size: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inside, outside, size, padding=size // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outside), nn.ReLU(inplace=True)]


if __name__ == "__main__":
    parts: dict[str, Callable[..., Callable[[], object]]]
    parts = {"step": step, "loader": loader, "surface": surface}
    work = parts[sys.argv[1]](*sys.argv[2:])
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        work()
        print(time.perf_counter() - began, flush=True)
