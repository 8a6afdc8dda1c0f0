"""Networks for films: a backbone with a head for classes or for one box.

The usual backbone is ResNet50 (He et al. 2016, "Deep Residual Learning for Image Recognition",
arXiv:1512.03385); `common.models.backbones` has all.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

from common.base.errors import UserError
from common.models.backbones import BACKBONES, build_backbone, start_as_shortcuts
from common.models.starting_weights import described, take_imagenet, take_weights

HEAD_LAYERS = (
    *("head_conv", "head_bn", "predictions", "box_centre_size", "extreme_points"),
    *(f"head_{kind}_{scale}" for scale in (8, 16, 32, "all") for kind in ("conv", "bn")),
)
"""The layers with weights that are not of the backbone."""


def build_classifier(
    image_size: int,
    outputs: int = 1,
    activation: str | None = "sigmoid",
    weights: str = "imagenet",
    batch_norm_momentum: float = 0.9,
    dropout: float = 0.0,
    pooling: str = "average",
    standardise: bool = True,
    new_head: bool = False,
    backbone: str = "resnet50",
) -> keras.Model:
    """A network that takes a grey image as it is stored and gives ``outputs`` numbers.

    Args:
        image_size: Height and width of the image in pixels, 32 or more.
        outputs: How many numbers come out.
        activation: Of the last layer: "sigmoid", "softmax", or None for logits.
        weights: "imagenet", "none", or a weights file or run folder as
            `starting_weights.take_weights` reads it.
        batch_norm_momentum: Of the moving averages. Keras's own default of 0.99 lags
            hundreds of steps behind, and small batches then score at random for epochs.
        dropout: Share of the pooled features dropped in training, in [0, 1).
        pooling: "average" as in the paper, which forgets where a feature was; "flatten"
            keeps the place of 32 features.
        standardise: Whether every image is brought to mean 0 and one spread, so that exposure
            and contrast do not count; else ImageNet's means are subtracted, as its weights
            were trained.
        new_head: Whether the head starts anew though ``weights`` has one, of other classes.
        backbone: One of `backbones.BACKBONES`.

    Returns:
        A model from "image", (batch, image_size, image_size, 1), uint8 or float in 0..255,
        to (batch, outputs), float32.

    Raises:
        ValueError: An argument is out of its range.
        UserError: The starting weights are not there, do not fit or come from a network with
            another ``standardise``.

    Example:
        >>> model = build_classifier(64, weights="none")
        >>> model.output_shape
        (None, 1)
    """
    if outputs < 1:
        raise ValueError(f"outputs must be 1 or more. Received: {outputs}")
    network = build_backbone(backbone, image_size, batch_norm_momentum, standardise)
    features = _features(network, batch_norm_momentum, dropout, pooling)
    predictions = layers.Dense(outputs, dtype="float32", name="predictions")(features)
    if activation is not None:
        last = layers.Activation(activation, dtype="float32", name="probability")
        predictions = last(predictions)
    model = keras.Model(network.input, predictions, name=backbone)
    return _finish(model, backbone, weights, new_head)


def with_places(model: keras.Model) -> keras.Model:
    """A classifier with a second output: the logit of each place of its last features alone.

    The head is applied at every place, before the average over places. The image's logit is the
    mean of the places' logits, and Grad-CAM of the layer is, up to a factor, their map (Zhou et
    al. 2016, "Learning Deep Features for Discriminative Localization", arXiv:1512.04150).

    Args:
        model: From `build_classifier` with average pooling.

    Returns:
        A model of the same layers and weights, to its outputs, (batch, outputs), and the logits
        of the places, (batch, height, width, outputs); height and width are a 32nd of the
        image's, rounded up.
    """
    places = model.get_layer("predictions")(model.get_layer("pool").input)
    side = -(-model.input.shape[1] // 32)
    if places.shape[1] != side:
        # DenseNet rounds down.
        places = ops.image.resize(places, (side, side), interpolation="bilinear")
    return keras.Model(model.input, [model.output, places], name=model.name)


def build_box_network(
    image_size: int,
    weights: str = "imagenet",
    batch_norm_momentum: float = 0.9,
    dropout: float = 0.0,
    pooling: str = "flatten",
    standardise: bool = True,
    backbone: str = "resnet50",
) -> keras.Model:
    """A network that gives the corners of one box.

    Four sigmoids are the box's centre, width and height in fractions of the image's side,
    and the model itself turns them into corners cut off at the image's edge. A box can so
    never be inverted or empty, and since width and height are below 1 at most one of two
    opposite edges is cut: whatever the network gives, a gradient remains to correct it.

    With pooling "extremes" the box is found as its four extreme points are (Zhou et al. 2019,
    "Bottom-up Object Detection by Grouping Extreme and Center Points", arXiv:1901.08043): a map
    for each edge, over places of 8 pixels, whose softmax has its mean where the edge is (Sun et
    al. 2018, "Integral Human Pose Regression", arXiv:1711.08229). Features of three sizes go into
    the maps (Lin et al. 2017, "Feature Pyramid Networks", arXiv:1612.03144).

    Args:
        image_size: Height and width of the image in pixels, 32 or more.
        weights: As in `build_classifier`; the run of a classifier fits.
        batch_norm_momentum: As in `build_classifier`.
        dropout: As in `build_classifier`.
        pooling: As in `build_classifier`, where an average alone says little about a place; or
            "extremes".
        standardise: As in `build_classifier`.
        backbone: As in `build_classifier`.

    Returns:
        A model from "image", (batch, image_size, image_size, 1), uint8 or float in 0..255,
        to the corners (x0, y0, x1, y1), (batch, 4), float32 in 0..1, x0 < x1 and y0 < y1.

    Raises:
        ValueError: An argument is out of its range.
        UserError: The starting weights are not there or do not fit.
    """
    network = build_backbone(backbone, image_size, batch_norm_momentum, standardise)
    if pooling == "extremes":
        corners = _extreme_points(network, batch_norm_momentum, dropout)
    else:
        features = _features(network, batch_norm_momentum, dropout, pooling)
        box = layers.Dense(4, "sigmoid", dtype="float32", name="box_centre_size")(features)
        centre, size = box[:, :2], box[:, 2:]
        corners = ops.concatenate([centre - 0.5 * size, centre + 0.5 * size], axis=-1)
        corners = ops.clip(corners, 0.0, 1.0)
    model = keras.Model(network.input, corners, name=f"box_{backbone}")
    return _finish(model, backbone, weights)


def _features(
    network: keras.Model, batch_norm_momentum: float, dropout: float, pooling: str
) -> keras.KerasTensor:
    """The pooled features, (batch, channels) or (batch, places * 32)."""
    if pooling not in ("average", "flatten"):
        raise ValueError(f"pooling must be 'average' or 'flatten'. Received: {pooling!r}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1). Received: {dropout}")
    x = network.output
    if pooling == "average":
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    else:
        x = layers.Conv2D(32, 1, use_bias=False, name="head_conv")(x)
        x = layers.BatchNormalization(momentum=batch_norm_momentum, name="head_bn")(x)
        x = layers.Activation("relu", name="head_relu")(x)
        x = layers.Flatten(name="flatten")(x)
    if dropout:
        x = layers.Dropout(dropout, name="head_dropout")(x)
    return x


def _extreme_points(network: keras.Model, momentum: float, dropout: float) -> keras.KerasTensor:
    """The corners (batch, 4) of a box, each edge the mean place of its map."""

    def convolution(x: keras.KerasTensor, size: int, scale: int | str) -> keras.KerasTensor:
        x = layers.Conv2D(64, size, padding="same", use_bias=False, name=f"head_conv_{scale}")(x)
        return layers.BatchNormalization(momentum=momentum, name=f"head_bn_{scale}")(x)

    features = None
    for name, pixels in reversed(list(BACKBONES[network.name].sums.items())):
        total = network.get_layer(name).output
        x = layers.Activation("relu", name=f"head_relu_of_{pixels}")(total)
        x = convolution(x, 1, pixels)
        if features is not None:
            rows, columns = x.shape[1:3]
            # keras.layers.Resizing would bring its own training=True to the layers after it. In
            # float32, since in half XLA has no gradient of it.
            features = ops.cast(features, "float32")
            larger = ops.image.resize(features, (rows, columns), interpolation="bilinear")
            x = layers.Add(name=f"head_add_{pixels}")([x, larger])
        features = layers.Activation("relu", name=f"head_relu_{pixels}")(x)
    x = layers.Activation("relu", name="head_relu_all")(convolution(features, 3, "all"))
    if dropout:
        x = layers.Dropout(dropout, name="head_dropout")(x)
    # Small weights, so that a softmax starts even: one that starts on a place hardly leaves it.
    small = keras.initializers.RandomNormal(stddev=0.01)
    maps = layers.Conv2D(4, 1, kernel_initializer=small, dtype="float32", name="extreme_points")(x)
    rows, columns = maps.shape[1:3]
    shares = ops.softmax(ops.reshape(maps, (-1, rows * columns, 4)), axis=1)
    y, x = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    places = np.stack([x, y, x, y], axis=-1).reshape(1, -1, 4)
    edges = ops.sum(shares * places.astype("float32"), axis=1)
    first, last = edges[:, :2], edges[:, 2:]
    # A softplus, sharp against any box worth drawing, leaves a gradient where the maps have edges
    # in the wrong order; a thousandth of the side keeps an area.
    middle = 0.5 * (first + last)
    half = 0.5 * ops.softplus((last - first) * 50.0) / 50.0 + 5e-4
    return ops.clip(ops.concatenate([middle - half, middle + half], axis=-1), 0.0, 1.0)


def _finish(model: keras.Model, backbone: str, weights: str, new_head: bool = False) -> keras.Model:
    if weights == "none":
        start_as_shortcuts(model)
        return model
    if weights == "imagenet":
        taken = take_imagenet(model, backbone)
    else:
        _refuse_others(model, backbone, weights)
        taken = take_weights(model, weights, HEAD_LAYERS, HEAD_LAYERS if new_head else ())
    anew = [layer.name for layer in model.layers if layer.weights and layer.name not in taken]
    print(
        f"starting weights: {len(taken)} layers from {weights}; "
        f"started anew: {', '.join(anew) or 'none'}"
    )
    return model


def _refuse_others(model: keras.Model, backbone: str, source: str) -> None:
    """Refuse weights of another backbone, or that were trained on other grey values."""
    name, layers_there = described(source)
    if (other := name.removeprefix("box_")) in BACKBONES and other != backbone:
        raise UserError(
            f"{source}: is of a {other}; give --backbone {other} too, or other --weights"
        )
    inputs = {"standardise", "subtract_means"}
    there = inputs & layers_there
    if there and there != inputs & {layer.name for layer in model.layers}:
        flag = "--standardise" if "standardise" in there else "--no-standardise"
        raise UserError(
            f"{source}: was trained with {flag}, and its weights fit no other grey values; give "
            f"{flag} too, or other --weights"
        )
