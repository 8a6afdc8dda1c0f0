"""Weights that were trained elsewhere, in the layers and for the grey levels of our networks.

A first convolution sees other numbers here than where it was trained: other channels, scaled and
shifted otherwise. Since all channels hold the same grey levels, it is rewritten so that it gives on
every film, edges too, what it gave there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from common.base.errors import UserError
from common.models.backbones import BACKBONES, build_backbone
from common.models.starting_weights import read_official
from common.models.torch_files import read_torch_arrays

Layers = Mapping[str, list[np.ndarray]]
"""By the name of a layer of keras.applications, its arrays."""


@dataclass(frozen=True)
class Layout:
    """How weights are stored that others have trained.

    Attributes:
        backbones: What such files are of.
        read: From a file and a backbone to its layers.
        scale: Of each channel that it takes, what a grey level of 0 to 255 is multiplied by.
        shift: And what is added, then.
    """

    backbones: tuple[str, ...]
    read: Callable[[Path, str], Layers]
    scale: tuple[float, ...]
    shift: tuple[float, ...]


def convert(path: Path, layout: str, backbone: str) -> keras.Model:
    """A network without its head that gives on grey films what one of another layout gives.

    Args:
        path: A file of that layout.
        layout: One of `LAYOUTS`.
        backbone: One of the layout's.

    Returns:
        As `backbones.build_backbone` without ``standardise``, for films of any side from 32 pixels.

    Raises:
        UserError: The file is of another layout or network, or cannot be read.
    """
    known = LAYOUTS[layout]
    layers = known.read(path, backbone)
    network = build_backbone(backbone, 224, standardise=False)
    with_weights = [layer for layer in network.layers if layer.weights]
    first = next(layer for layer in with_weights if isinstance(layer, keras.layers.Conv2D))
    for layer in with_weights:
        arrays = layers.get(layer.name, [])
        shapes = [tuple(weight.shape) for weight in layer.weights]
        if layer is first:
            shapes[0] = (*shapes[0][:2], len(known.scale), shapes[0][3])
        if [array.shape for array in arrays] != shapes:
            there = [array.shape for array in arrays] or "nothing"
            raise UserError(
                f"{path}: is no {backbone} of --layout {layout}: {layer.name} is {there} in it and "
                f"not {shapes}; give a file of that network"
            )
        if layer is first:
            arrays = [_for_our_channels(arrays[0], known, backbone), *arrays[1:]]
        layer.set_weights(arrays)
    return network


def _for_our_channels(kernel: np.ndarray, layout: Layout, backbone: str) -> np.ndarray:
    """A kernel (height, width, channels, filters) for the channels that ours takes.

    Of a grey level g, ours takes ``a g + b`` in each channel, another ``c g + d``. Both kernels
    agree for every g where their sums of a and c, and those of b and d, are the same; the shortest
    of those is taken.
    """
    greys = BACKBONES[backbone].greys
    here = np.array([greys.scales, -np.multiply(greys.means, greys.scales)])
    there = np.array([layout.scale, layout.shift])
    return np.einsum("oi,hwif->hwof", np.linalg.pinv(here) @ there, kernel).astype(np.float32)


def _keras_layers(path: Path, backbone: str) -> Layers:
    official = read_official(path, backbone)
    return {layer.name: layer.get_weights() for layer in official.layers if layer.weights}


# What Keras's DenseNet adds to a variance, beyond what PyTorch's does.
_MORE_EPSILON = 1.001e-5 - 1e-5
_IN_A_BLOCK = {"norm1": "0_bn", "conv1": "1_conv", "norm2": "1_bn", "conv2": "2_conv"}


def _densenet_layers(path: Path, _: str) -> Layers:
    arrays = read_torch_arrays(path)
    layers = {}
    for name in arrays:
        part, kind = name.rpartition(".")[::2]
        layer = _densenet_name(part.removeprefix("features."))
        if not layer or kind != "weight":
            continue
        if arrays[name].ndim == 4:
            layers[layer] = [arrays[name].transpose(2, 3, 1, 0)]
            continue
        rest = ("weight", "bias", "running_mean", "running_var")
        missing = [f"{part}.{kind}" for kind in rest if f"{part}.{kind}" not in arrays]
        if missing:
            raise UserError(f"{path}: lacks {missing[0]}; give a file with all of its arrays")
        *others, variance = (arrays[f"{part}.{kind}"] for kind in rest)
        layers[layer] = [*others, np.maximum(variance - _MORE_EPSILON, 0)]
    return layers


def _densenet_name(part: str) -> str:
    """The layer of keras.applications for one of torchvision's DenseNet; "" of its head."""
    if part in (ends := {"conv0": "conv1_conv", "norm0": "conv1_bn", "norm5": "bn"}):
        return ends[part]
    if parts := re.fullmatch(r"transition(\d)\.(norm|conv)", part):
        return f"pool{int(parts[1]) + 1}_{'bn' if parts[2] == 'norm' else 'conv'}"
    # The dot in "norm.1" is of before PyTorch 0.4.
    if parts := re.fullmatch(r"denseblock(\d)\.denselayer(\d+)\.(norm|conv)\.?([12])", part):
        block, layer = int(parts[1]) + 1, parts[2]
        return f"conv{block}_block{layer}_{_IN_A_BLOCK[parts[3] + parts[4]]}"
    return ""


LAYOUTS: Mapping[str, Layout] = {
    # Mei et al. 2022, doi:10.1148/ryai.210315: files of Keras for images whose means are
    # subtracted as ResNet50's are, and which are divided by 255 (its repository's acl_train.py).
    "radimagenet": Layout(
        ("resnet50", "densenet121"),
        _keras_layers,
        (1 / 255,) * 3,
        tuple(-mean / 255 for mean in BACKBONES["resnet50"].greys.means),
    ),
    # Cohen et al. 2022, arXiv:2111.00595: one channel of -1024 to 1024.
    "torchxrayvision": Layout(("densenet121",), _densenet_layers, (2048 / 255,), (-1024.0,)),
}
"""By the name that ``--layout`` takes."""
