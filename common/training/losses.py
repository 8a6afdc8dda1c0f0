"""Losses and metrics for masks and boxes, in Keras 3's own operations.

A mask is (batch, height, width, 1): 0 or 1 where there is one class, the number of the
class in 0..classes-1 where there are several. What a network says of it is
(batch, height, width, classes), probabilities. A box is its corners (x0, y0, x1, y1) in
fractions of the image's side, x0 <= x1 and y0 <= y1.
"""

from __future__ import annotations

import math

import keras
from keras import ops

SEGMENTATION_LOSSES = ("crossentropy", "focal", "dice", "dice+crossentropy")
BOX_LOSSES = ("mse", "l1", "iou", "giou", "ciou", "iou+l1")

# Small beside any box worth drawing (a pixel of a thousand squared is 1e-6).
_EPSILON = 1e-7


def segmentation_loss(name: str, classes: int = 1) -> keras.losses.Loss:
    """The loss for masks of that name.

    Args:
        name: One of `SEGMENTATION_LOSSES`; "focal" (Lin et al. 2017, arXiv:1708.02002) is
            for one class.
        classes: 1 for a mask, else the number of classes with the background.

    Raises:
        ValueError: There is no such loss for that many classes.
    """
    if name == "crossentropy":
        return _crossentropy(classes)
    if name == "focal" and classes == 1:
        return keras.losses.BinaryFocalCrossentropy()
    if name == "dice":
        return SoftDice()
    if name == "dice+crossentropy":
        return SoftDice(crossentropy_weight=1.0)
    raise ValueError(
        f"the loss must be one of {SEGMENTATION_LOSSES}, 'focal' with one class only. "
        f"Received: {name!r} with {classes} classes"
    )


def box_loss(name: str) -> keras.losses.Loss:
    """The loss for boxes of that name, one of `BOX_LOSSES`; else a `ValueError`."""
    if name == "mse":
        return keras.losses.MeanSquaredError()
    if name == "l1":
        return keras.losses.MeanAbsoluteError()
    if name in BOX_LOSSES:
        return BoxOverlap(name)
    raise ValueError(f"the loss must be one of {BOX_LOSSES}. Received: {name!r}")


@keras.saving.register_keras_serializable("common")
class SoftDice(keras.losses.Loss):
    """One minus the Dice of probabilities, averaged over classes but the background.

    Milletari et al. 2016, "V-Net" (arXiv:1606.04797), with the sums over the whole batch:
    a slice without any of the structure has no Dice of its own, and in a batch it still
    counts against what is wrongly found on it.

    Args:
        crossentropy_weight: How much of the cross-entropy is added.
        smooth: Added to both sides of the fraction, so that an empty batch has a value.
    """

    def __init__(self, crossentropy_weight=0.0, smooth=1.0, name="soft_dice", **kwargs):
        super().__init__(name=name, **kwargs)
        self.crossentropy_weight = crossentropy_weight
        self.smooth = smooth

    def call(self, y_true, y_pred):
        truth, found = _foreground(y_true, y_pred)
        both = ops.sum(truth * found, axis=(0, 1, 2))
        sizes = ops.sum(truth, axis=(0, 1, 2)) + ops.sum(found, axis=(0, 1, 2))
        loss = 1 - ops.mean((2 * both + self.smooth) / (sizes + self.smooth))
        if self.crossentropy_weight:
            pixels = _crossentropy(y_pred.shape[-1]).call(y_true, y_pred)
            loss = loss + self.crossentropy_weight * ops.mean(pixels, axis=(1, 2))
        return loss

    def get_config(self):
        return {
            **super().get_config(),
            "crossentropy_weight": self.crossentropy_weight,
            "smooth": self.smooth,
        }


@keras.saving.register_keras_serializable("common")
class BoxOverlap(keras.losses.Loss):
    """One minus the overlap of two boxes, by one of several definitions.

    Args:
        kind: "iou"; "giou" (Rezatofighi et al. 2019, arXiv:1902.09630), which still pulls
            when boxes are apart; "ciou" (Zheng et al. 2020, arXiv:1911.08287), which adds
            the distance of the centres and the difference in shape; "iou+l1", "iou" plus
            the four edges' absolute errors.
    """

    def __init__(self, kind="iou", name="box_overlap", **kwargs):
        super().__init__(name=name, **kwargs)
        self.kind = kind

    def call(self, y_true, y_pred):
        if self.kind == "giou":
            return 1 - giou(y_true, y_pred)
        if self.kind == "ciou":
            return 1 - ciou(y_true, y_pred)
        loss = 1 - iou(y_true, y_pred)
        if self.kind == "iou+l1":
            loss = loss + ops.sum(ops.abs(y_true - y_pred), axis=-1)
        return loss

    def get_config(self):
        return {**super().get_config(), "kind": self.kind}


@keras.saving.register_keras_serializable("common")
class InsideRegion(keras.losses.Loss):
    """How much of what speaks for the label lies outside the region that was marked for it.

    Minus the logarithm of the share, of a softmax over the places of an image, that lies inside:
    right for the right reasons (Ross et al. 2017, arXiv:1703.03717). Only places are compared, so
    it does not say how likely the label is. An image without a region says nothing.

    It takes the region, (batch, height, width, 1), 0..1, the share of each place that is inside,
    and the logits of the places, of the same shape.
    """

    def __init__(self, name="inside_region", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        count = y_pred.shape[1] * y_pred.shape[2]
        region = ops.reshape(ops.cast(y_true, "float32"), (-1, count))
        shares = ops.softmax(ops.reshape(y_pred, (-1, count)), axis=-1)
        inside = ops.sum(shares * region, axis=-1)
        marked = ops.cast(ops.any(region > 0, axis=-1), "float32")
        return -marked * ops.log(inside + _EPSILON)


def iou(y_true, y_pred):
    """Intersection over union, in 0..1: two times (batch, 4) to (batch,).

    As a function it is a metric too: ``model.compile(..., metrics=[iou])``.
    """
    both, either, _ = _areas(y_true, y_pred)
    return both / (either + _EPSILON)


def giou(y_true, y_pred):
    """Generalised IoU, in -1..1: two times (batch, 4) to (batch,)."""
    both, either, hull = _areas(y_true, y_pred)
    return both / (either + _EPSILON) - (hull - either) / (hull + _EPSILON)


def ciou(y_true, y_pred):
    """Complete IoU, 1 for equal boxes: two times (batch, 4) to (batch,)."""
    overlap = iou(y_true, y_pred)
    true_side = y_true[..., 2:] - y_true[..., :2]
    side = y_pred[..., 2:] - y_pred[..., :2]
    hull = ops.maximum(y_true[..., 2:], y_pred[..., 2:]) - ops.minimum(
        y_true[..., :2], y_pred[..., :2]
    )
    apart = (y_true[..., :2] + y_true[..., 2:] - y_pred[..., :2] - y_pred[..., 2:]) / 2
    distance = ops.sum(apart**2, axis=-1) / (ops.sum(hull**2, axis=-1) + _EPSILON)
    angle = _angle(true_side) - _angle(side)
    shape = 4 / math.pi**2 * angle**2
    # The weight is a constant to the gradient, as in the paper.
    weight = ops.stop_gradient(shape / (1 - overlap + shape + _EPSILON))
    return overlap - distance - weight * shape


@keras.saving.register_keras_serializable("common")
class Dice(keras.metrics.Metric):
    """The Dice of all pixels seen since the last reset, averaged over classes but the background.

    Not a mean over slices, in which every empty slice would count as a perfect one. A
    class that is neither there nor found scores 1.

    Args:
        classes: 1 for a mask, found where its probability is 0.5 or more; else the number
            of classes with the background, found where a class is the likeliest.
    """

    def __init__(self, classes=1, name="dice", **kwargs):
        super().__init__(name=name, **kwargs)
        self.classes = classes
        shape = (max(1, classes - 1),)
        self.both = self.add_weight(name="both", shape=shape, initializer="zeros")
        self.sizes = self.add_weight(name="sizes", shape=shape, initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        if self.classes == 1:
            y_pred = ops.cast(y_pred >= 0.5, "float32")
        else:
            y_pred = ops.one_hot(ops.argmax(y_pred, axis=-1), self.classes)
        truth, found = _foreground(y_true, y_pred)
        self.both.assign_add(ops.sum(truth * found, axis=(0, 1, 2)))
        self.sizes.assign_add(ops.sum(truth, axis=(0, 1, 2)) + ops.sum(found, axis=(0, 1, 2)))

    def result(self):
        empty = ops.cast(self.sizes == 0, "float32")
        return ops.mean((2 * self.both + empty) / (self.sizes + empty))

    def get_config(self):
        return {**super().get_config(), "classes": self.classes}


def _crossentropy(classes: int) -> keras.losses.Loss:
    if classes == 1:
        return keras.losses.BinaryCrossentropy()
    return keras.losses.SparseCategoricalCrossentropy()


def _foreground(y_true, y_pred):
    """Both as float32 (batch, height, width, classes but the background)."""
    y_pred = ops.cast(y_pred, "float32")
    classes = y_pred.shape[-1]
    if classes == 1:
        return ops.cast(y_true, "float32"), y_pred
    truth = ops.one_hot(ops.cast(y_true[..., 0], "int32"), classes, dtype="float32")
    return truth[..., 1:], y_pred[..., 1:]


def _areas(a, b):
    """The areas of the intersection, the union and the hull of two boxes."""
    shared = ops.minimum(a[..., 2:], b[..., 2:]) - ops.maximum(a[..., :2], b[..., :2])
    both = ops.prod(ops.maximum(shared, 0.0), axis=-1)
    either = _area(a) + _area(b) - both
    hull = ops.maximum(a[..., 2:], b[..., 2:]) - ops.minimum(a[..., :2], b[..., :2])
    return both, either, ops.prod(hull, axis=-1)


def _area(box):
    return ops.prod(box[..., 2:] - box[..., :2], axis=-1)


def _angle(side):
    return ops.arctan2(side[..., 0], side[..., 1] + _EPSILON)
