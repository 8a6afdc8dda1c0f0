"""The networks of keras.applications that look at films, and what a user of each has to know.

Their layers stand in the model itself, not in a model within the model, so that Grad-CAM finds them
by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import layers, ops


@dataclass(frozen=True)
class Greys:
    """How the grey levels come in on which ImageNet's weights were trained.

    Attributes:
        means: Of the channels, in grey levels, which are subtracted.
        scales: What the channels are multiplied by, after that.
        spread: The standard deviation of ImageNet's images after both, about.
    """

    means: tuple[float, float, float]
    scales: tuple[float, float, float]
    spread: float


# As keras.applications.imagenet_utils has them: of "caffe" the means of blue, green and red, of
# "torch" those of red, green and blue and their standard deviations, of "tf" from -1 to 1.
_CAFFE = Greys((103.939, 116.779, 123.68), (1.0, 1.0, 1.0), 58.0)
_TORCH = Greys(
    (255 * 0.485, 255 * 0.456, 255 * 0.406),
    (1 / (255 * 0.229), 1 / (255 * 0.224), 1 / (255 * 0.225)),
    1.0,
)
_TF = Greys((127.5, 127.5, 127.5), (1 / 127.5, 1 / 127.5, 1 / 127.5), 58.0 / 127.5)


@dataclass(frozen=True)
class Backbone:
    """A network without its head.

    Attributes:
        build: From keras.applications.
        sums: The names of the layers that end maps of three sizes, and how many pixels of the
            image's side a place of each covers: 8, 16 and 32.
        greys: What it takes.
        file: ImageNet's weights without their head: folder, name and MD5, as keras.applications
            has them.
        options: For ``build``.

    The sums, and not the activations after them: two layers read those already, and TensorFlow adds
    three gradients up in an order that changes from run to run where there are several threads (it
    adds in place, into whichever is free: AddN, tensorflow/core/kernels/aggregate_ops.cc).
    """

    build: Callable[..., keras.Model]
    sums: Mapping[str, int]
    greys: Greys
    file: tuple[str, str, str]
    options: Mapping[str, Any] = field(default_factory=dict)


_FOLDER = "https://storage.googleapis.com/tensorflow/keras-applications/"
_WITHOUT_GREYS = {"include_preprocessing": False}

BACKBONES: Mapping[str, Backbone] = {
    # He et al. 2016, arXiv:1512.03385.
    "resnet50": Backbone(
        keras.applications.ResNet50,
        {"conv3_block4_add": 8, "conv4_block6_add": 16, "conv5_block3_add": 32},
        _CAFFE,
        (
            f"{_FOLDER}resnet/",
            "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
            "4d473c1dd8becc155b73f8504c6f6626",
        ),
    ),
    # Huang et al. 2017, arXiv:1608.06993.
    "densenet121": Backbone(
        keras.applications.DenseNet121,
        {"conv3_block12_concat": 8, "conv4_block24_concat": 16, "conv5_block16_concat": 32},
        _TORCH,
        (
            f"{_FOLDER}densenet/",
            "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
            "30ee3e1110167f948a6b9946edeeb738",
        ),
    ),
    # Tan and Le 2021, arXiv:2104.00298.
    "efficientnetv2b0": Backbone(
        keras.applications.EfficientNetV2B0,
        {"block3b_add": 8, "block5e_add": 16, "block6h_add": 32},
        _TORCH,
        (
            f"{_FOLDER}efficientnet_v2/",
            "efficientnetv2-b0_notop.h5",
            "893217f2bb855e2983157299931e43ff",
        ),
        _WITHOUT_GREYS,
    ),
    # Howard et al. 2019, arXiv:1905.02244.
    "mobilenetv3large": Backbone(
        keras.applications.MobileNetV3Large,
        {"expanded_conv_5_add": 8, "expanded_conv_11_add": 16, "expanded_conv_14_add": 32},
        _TF,
        (
            f"{_FOLDER}mobilenet_v3/",
            "weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
            "07fb09a5933dd0c8eaafa16978110389",
        ),
        _WITHOUT_GREYS,
    ),
}
"""By the name that ``--backbone`` takes."""


def build_backbone(
    name: str, image_size: int, batch_norm_momentum: float = 0.9, standardise: bool = True
) -> keras.Model:
    """A network without its head, from a grey image as it is stored to its last map.

    Args:
        name: One of `BACKBONES`.
        image_size: Height and width of the image in pixels, 32 or more.
        batch_norm_momentum: Of the moving averages, 0 to below 1.
        standardise: Whether every image is brought to mean 0 and one spread; else ImageNet's means
            are subtracted, as its weights were trained.

    Returns:
        A model from "image", (batch, image_size, image_size, 1), uint8 or float in 0..255, to
        (batch, height, width, channels), where a place is of 32 pixels of the image's side.

    Raises:
        ValueError: An argument is out of its range.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone must be one of {', '.join(BACKBONES)}. Received: {name!r}")
    if image_size < 32:
        raise ValueError(f"image_size must be 32 or more. Received: {image_size}")
    if not 0 <= batch_norm_momentum < 1:
        raise ValueError(f"batch_norm_momentum must be in [0, 1). Received: {batch_norm_momentum}")
    backbone, greys = BACKBONES[name], BACKBONES[name].greys
    image = keras.Input((image_size, image_size, 1), name="image")
    # In float32: under mixed precision half floats would round the pixels.
    if standardise:
        # A blank image has no spread: one grey level, squared, stands in for it.
        x = layers.LayerNormalization(
            axis=(1, 2, 3), epsilon=1.0, center=False, scale=False, dtype="float32",
            name="standardise",
        )(image)  # fmt: skip
        x = layers.Rescaling(greys.spread, dtype="float32", name="as_spread_as_imagenet")(x)
        x = layers.Concatenate(dtype="float32", name="grey_to_three")([x, x, x])
    else:
        x = layers.Concatenate(dtype="float32", name="grey_to_three")([image, image, image])
        moved = [-mean * scale for mean, scale in zip(greys.means, greys.scales, strict=True)]
        x = layers.Rescaling(list(greys.scales), moved, dtype="float32", name="subtract_means")(x)
    model = backbone.build(include_top=False, weights=None, input_tensor=x, **backbone.options)
    for number, layer in enumerate(model.layers):
        # Without a name of its own it has one by how many the process has made before.
        if re.fullmatch(r"(re_lu|activation|zero_padding2d)(_\d+)?", layer.name):
            layer.name = f"{type(layer).__name__.lower()}_of_{number}"
        # keras.applications has no arguments for these; the attributes are what a layer computes
        # with and what it saves. Blocks are left out by --stochastic-depth alone.
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = batch_norm_momentum
        if isinstance(layer, layers.Dropout):
            layer.rate = 0.0
    return keras.Model(image, model.output, name=name)


def block_ends(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """What ends the branch of each residual block, from the first to the last; none of DenseNet."""
    names = {layer.name for layer in model.layers}
    ends = []
    for layer in model.layers:
        start, is_projection, _ = layer.name.rpartition("project_bn")
        if layer.name.endswith("_3_bn") or (is_projection and f"{start}add" in names):
            ends.append(layer)
    return ends


def start_as_shortcuts(model: keras.Model) -> None:
    """Let every residual block start as its shortcut alone (Goyal et al. 2017, 1706.02677, 5.1).

    A network that starts shallow learns from its first steps, where one from scratch on a few
    hundred films otherwise spends half of a short training before it learns.
    """
    for layer in block_ends(model):
        layer.gamma.assign(ops.zeros(layer.gamma.shape))
