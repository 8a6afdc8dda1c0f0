"""ResNet50 for grey images, flat, with a head for classes or for one box.

He et al. 2016, "Deep Residual Learning for Image Recognition" (arXiv:1512.03385), as
`keras.applications.ResNet50` builds it. Its layers stand in the model itself, not in a
model within the model, so that Grad-CAM finds them by name.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from common.models.starting_weights import imagenet_file, take_weights

GRADCAM_LAYER = "conv5_block3_out"
"""The last convolutional activation: what Grad-CAM looks at."""

HEAD_LAYERS = ("head_conv", "head_bn", "predictions", "box_centre_size")
"""The layers with weights that come after `GRADCAM_LAYER`."""

# The means of ImageNet as keras.applications.resnet.preprocess_input subtracts them: of
# blue, green and red, in that order.
_IMAGENET_MEANS = (103.939, 116.779, 123.68)
# Its images' standard deviation, about, in grey levels.
_IMAGENET_SPREAD = 58.0


def build_resnet50(
    image_size: int,
    outputs: int = 1,
    activation: str | None = "sigmoid",
    weights: str = "imagenet",
    batch_norm_momentum: float = 0.9,
    dropout: float = 0.0,
    pooling: str = "average",
    standardise: bool = True,
    name: str = "resnet50",
) -> keras.Model:
    """A ResNet50 that takes a grey image as it is stored and gives ``outputs`` numbers.

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
        name: Of the model.

    Returns:
        A model from "image", (batch, image_size, image_size, 1), uint8 or float in 0..255,
        to (batch, outputs), float32.

    Raises:
        ValueError: An argument is out of its range.
        UserError: The starting weights are not there or do not fit.

    Example:
        >>> model = build_resnet50(64, weights="none")
        >>> model.output_shape
        (None, 1)
    """
    image, features = _features(image_size, batch_norm_momentum, dropout, pooling, standardise)
    if outputs < 1:
        raise ValueError(f"outputs must be 1 or more. Received: {outputs}")
    predictions = layers.Dense(outputs, dtype="float32", name="predictions")(features)
    if activation is not None:
        predictions = layers.Activation(activation, dtype="float32", name="probability")(
            predictions
        )
    return _finish(keras.Model(image, predictions, name=name), weights)


def with_places(model: keras.Model) -> keras.Model:
    """A classifier with a second output: what each place of its last features says alone.

    The head is asked at every place, before the average over places. The image's logit is the
    mean of the places' logits, and Grad-CAM of the layer is, up to a factor, their map (Zhou et
    al. 2016, "Learning Deep Features for Discriminative Localization", arXiv:1512.04150).

    Args:
        model: From `build_resnet50` with average pooling.

    Returns:
        A model of the same layers and weights, to what it gave, (batch, outputs), and the logits
        of the places, (batch, height, width, outputs); height and width are a 32nd of the
        image's, rounded up.
    """
    places = model.get_layer("predictions")(model.get_layer(GRADCAM_LAYER).output)
    return keras.Model(model.input, [model.output, places], name=model.name)


def build_box_resnet50(
    image_size: int,
    weights: str = "imagenet",
    batch_norm_momentum: float = 0.9,
    dropout: float = 0.0,
    pooling: str = "flatten",
    standardise: bool = True,
    name: str = "box_resnet50",
) -> keras.Model:
    """A ResNet50 that gives the corners of one box.

    Four sigmoids are the box's centre, width and height in fractions of the image's side,
    and the model itself turns them into corners cut off at the image's edge. A box can so
    never be inverted or empty, and since width and height are below 1 at most one of two
    opposite edges is cut: whatever the network says, a gradient is left to mend it.

    Args:
        image_size: Height and width of the image in pixels, 32 or more.
        weights: As in `build_resnet50`; the run of a classifier fits.
        batch_norm_momentum: As in `build_resnet50`.
        dropout: As in `build_resnet50`.
        pooling: As in `build_resnet50`; an average alone says little about a place.
        standardise: As in `build_resnet50`.
        name: Of the model.

    Returns:
        A model from "image", (batch, image_size, image_size, 1), uint8 or float in 0..255,
        to the corners (x0, y0, x1, y1), (batch, 4), float32 in 0..1, x0 < x1 and y0 < y1.

    Raises:
        ValueError: An argument is out of its range.
        UserError: The starting weights are not there or do not fit.
    """
    image, features = _features(image_size, batch_norm_momentum, dropout, pooling, standardise)
    box = layers.Dense(4, "sigmoid", dtype="float32", name="box_centre_size")(features)
    centre, size = box[:, :2], box[:, 2:]
    corners = ops.concatenate([centre - 0.5 * size, centre + 0.5 * size], axis=-1)
    corners = ops.clip(corners, 0.0, 1.0)
    return _finish(keras.Model(image, corners, name=name), weights)


def _features(
    image_size: int, batch_norm_momentum: float, dropout: float, pooling: str, standardise: bool
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The input and the pooled features, (batch, 2048) or (batch, places * 32)."""
    if image_size < 32:
        raise ValueError(f"image_size must be 32 or more. Received: {image_size}")
    if not 0 <= batch_norm_momentum < 1:
        raise ValueError(f"batch_norm_momentum must be in [0, 1). Received: {batch_norm_momentum}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1). Received: {dropout}")
    if pooling not in ("average", "flatten"):
        raise ValueError(f"pooling must be 'average' or 'flatten'. Received: {pooling!r}")

    image = keras.Input((image_size, image_size, 1), name="image")
    # In float32: under mixed precision half floats would round the pixels.
    if standardise:
        # A blank image has no spread: one grey level, squared, stands in for it.
        x = layers.LayerNormalization(
            axis=(1, 2, 3), epsilon=1.0, center=False, scale=False, dtype="float32",
            name="standardise",
        )(image)  # fmt: skip
        x = layers.Rescaling(_IMAGENET_SPREAD, dtype="float32", name="as_spread_as_imagenet")(x)
        x = layers.Concatenate(dtype="float32", name="grey_to_three")([x, x, x])
    else:
        x = layers.Concatenate(dtype="float32", name="grey_to_three")([image, image, image])
        x = layers.Rescaling(
            1.0, [-mean for mean in _IMAGENET_MEANS], dtype="float32", name="subtract_means"
        )(x)
    backbone = keras.applications.ResNet50(include_top=False, weights=None, input_tensor=x)
    _set_momentum(backbone, batch_norm_momentum)

    x = backbone.get_layer(GRADCAM_LAYER).output
    if pooling == "average":
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    else:
        x = layers.Conv2D(32, 1, use_bias=False, name="head_conv")(x)
        x = layers.BatchNormalization(momentum=batch_norm_momentum, name="head_bn")(x)
        x = layers.Activation("relu", name="head_relu")(x)
        x = layers.Flatten(name="flatten")(x)
    if dropout:
        x = layers.Dropout(dropout, name="head_dropout")(x)
    return image, x


def _set_momentum(backbone: keras.Model, momentum: float) -> None:
    # keras.applications has no argument for it; the attribute is what a layer computes with
    # and what it saves.
    for layer in backbone.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = momentum


def _close_residual_branches(model: keras.Model) -> None:
    """Start every block as its shortcut alone (Goyal et al. 2017, arXiv:1706.02677, 5.1).

    A network that starts shallow learns from its first steps, where one from scratch on a few
    hundred films otherwise spends half of a short training on finding its feet.
    """
    for layer in model.layers:
        if layer.name.endswith("_3_bn"):
            layer.gamma.assign(ops.zeros_like(layer.gamma))


def _finish(model: keras.Model, weights: str) -> keras.Model:
    if weights == "none":
        _close_residual_branches(model)
        return model
    if weights == "imagenet":
        backbone = keras.Model(model.input, model.get_layer(GRADCAM_LAYER).output)
        backbone.load_weights(imagenet_file())
        return model
    taken = take_weights(model, weights, head=HEAD_LAYERS)
    own = [layer.name for layer in model.layers if layer.weights and layer.name not in taken]
    print(
        f"starting weights: {len(taken)} layers from {weights}; "
        f"started anew: {', '.join(own) or 'none'}"
    )
    return model
