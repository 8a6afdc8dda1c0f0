"""Losses and metrics for masks and boxes, in Keras 3's own operations.

A mask is (batch, height, width, 1), of a volume (batch, depth, height, width, 1): 0 or 1 where
there is one class, the number of the class in 0..classes-1 where there are several. A network's
prediction of it has the probability of each class in place of the 1. A box is its corners
(x0, y0, x1, y1) in fractions of the image's side, x0 <= x1 and y0 <= y1.

Every loss has a value per case, (batch,), before Keras takes their mean: a scalar would count once
on every device.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

# Small against any box worth drawing (a pixel of a thousand squared is 1e-6).
_EPSILON = 1e-7


@keras.saving.register_keras_serializable("common")
class PixelLoss(keras.losses.Loss):
    """The mean of a loss over the pixels of each mask: one value per case, as a batch weighs them.

    Args:
        kind: "crossentropy", or "focal", in which easy pixels count little (Lin et al. 2017,
            arXiv:1708.02002, gamma 2 and no balance of classes); binary for one class, categorical
            for several.
    """

    def __init__(self, kind: str = "crossentropy", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind = kind

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        losses, classes = keras.losses, y_pred.shape[-1]
        if classes == 1:
            binary = {
                "crossentropy": losses.binary_crossentropy,
                "focal": losses.binary_focal_crossentropy,
            }
            return ops.mean(binary[self.kind](y_true, y_pred), axis=_places(y_pred))
        truth = _one_hot(y_true, classes)
        if self.kind == "focal":
            # Alpha 1, so that two classes are worth what one mask is.
            pixels = losses.categorical_focal_crossentropy(truth, y_pred, alpha=1.0)
        else:
            pixels = losses.categorical_crossentropy(truth, y_pred)
        return ops.mean(pixels, axis=_places(y_pred))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind}


@keras.saving.register_keras_serializable("common")
class SoftDice(keras.losses.Loss):
    """One minus the Dice of a slice's probabilities, averaged over classes but the background.

    Milletari et al. 2016, "V-Net" (arXiv:1606.04797). Each slice has a value of its own, so that
    a batch can be cut anywhere, between devices too.

    A slice without the structure has no Dice by itself; ``smooth`` gives it one: s / (p + s) of the
    p pixels that are wrongly predicted there. With an s of one pixel, one false pixel would cost
    half of what a structure costs that is missed, and many would have no gradient left. With a
    tenth of the slice, the order of a structure, every wrong pixel costs about the same, whatever
    slice it is on, as in the Dice of a whole batch (docs/experiments.md).

    Args:
        crossentropy_weight: How much of the cross-entropy is added.
        smooth: Added to both sides of the fraction, as a share of the slice's pixels.
    """

    def __init__(
        self, crossentropy_weight: float = 0.0, smooth: float = 0.1, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.crossentropy_weight, self.smooth = crossentropy_weight, smooth

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        intersections, sizes = _intersections_and_sizes(y_true, y_pred)
        smooth = self.smooth * ops.cast(ops.prod(ops.shape(y_pred)[1:-1]), "float32")
        loss = 1 - ops.mean((2 * intersections + smooth) / (sizes + smooth), axis=-1)
        if self.crossentropy_weight:
            loss = loss + self.crossentropy_weight * PixelLoss().call(y_true, y_pred)
        return loss

    def get_config(self) -> dict[str, Any]:
        options = {"crossentropy_weight": self.crossentropy_weight, "smooth": self.smooth}
        return {**super().get_config(), **options}


@keras.saving.register_keras_serializable("common")
class BoxOverlap(keras.losses.Loss):
    """One minus the overlap of two boxes, by one of several definitions.

    Args:
        kind: "iou"; "giou" (Rezatofighi et al. 2019, arXiv:1902.09630), which still pulls
            when boxes are apart; "ciou" (Zheng et al. 2020, arXiv:1911.08287), which adds
            the distance of the centres and the difference in shape; "iou+l1", "iou" plus
            the four edges' absolute errors.
    """

    def __init__(self, kind: str = "iou", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind = kind

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        overlap = {"giou": giou, "ciou": ciou}.get(self.kind, iou)
        loss = 1 - overlap(y_true, y_pred)
        if self.kind == "iou+l1":
            loss = loss + ops.sum(ops.abs(y_true - y_pred), axis=-1)
        return loss

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind}


@keras.saving.register_keras_serializable("common")
class InsideRegion(keras.losses.Loss):
    """How much of the evidence for the label lies outside the region that was marked for it.

    Minus the logarithm of the share, of a softmax over the places of an image, that lies inside:
    right for the right reasons (Ross et al. 2017, arXiv:1703.03717). Only places are compared, so
    it does not say how likely the label is. An image without a region has no loss.

    It takes the region, (batch, height, width, 1), 0..1, the share of each place that is inside,
    and the logits of the places, of the same shape.
    """

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        count = y_pred.shape[1] * y_pred.shape[2]
        region = ops.reshape(ops.cast(y_true, "float32"), (-1, count))
        shares = ops.softmax(ops.reshape(y_pred, (-1, count)), axis=-1)
        inside = ops.sum(shares * region, axis=-1)
        marked = ops.cast(ops.any(region > 0, axis=-1), "float32")
        return -marked * ops.log(inside + _EPSILON)


def iou(y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
    """Intersection over union, in 0..1: two times (batch, 4) to (batch,).

    As a function it is a metric too: ``model.compile(..., metrics=[iou])``.
    """
    intersection, union, _ = _areas(y_true, y_pred)
    return intersection / (union + _EPSILON)


def giou(y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
    """Generalised IoU, in -1..1: two times (batch, 4) to (batch,)."""
    intersection, union, hull_size = _areas(y_true, y_pred)
    hull = ops.prod(hull_size, axis=-1)
    return intersection / (union + _EPSILON) - (hull - union) / (hull + _EPSILON)


def ciou(y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
    """Complete IoU, 1 for equal boxes: two times (batch, 4) to (batch,)."""
    intersection, union, hull_size = _areas(y_true, y_pred)
    overlap = intersection / (union + _EPSILON)
    offset = (y_true[..., :2] + y_true[..., 2:] - y_pred[..., :2] - y_pred[..., 2:]) / 2
    distance = ops.sum(offset**2, axis=-1) / (ops.sum(hull_size**2, axis=-1) + _EPSILON)
    angle = _angle(y_true) - _angle(y_pred)
    shape = 4 / math.pi**2 * angle**2
    # The weight is a constant to the gradient, as in the paper.
    weight = ops.stop_gradient(shape / (1 - overlap + shape + _EPSILON))
    return overlap - distance - weight * shape


@keras.saving.register_keras_serializable("common")
class Dice(keras.metrics.Metric):
    """The Dice of all pixels since the last reset, averaged over classes but the background.

    Not a mean over slices, in which every empty slice would count as a perfect one. A
    class that is in neither the truth nor the prediction scores 1.

    Args:
        classes: 1 for a mask, predicted where its probability is 0.5 or more; else the number
            of classes with the background, of which the likeliest is predicted.
    """

    def __init__(self, classes: int = 1, name: str = "dice", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.classes = classes
        shape = (max(1, classes - 1),)
        self.intersections = self.add_weight(name="both", shape=shape, initializer="zeros")
        self.sizes = self.add_weight(name="sizes", shape=shape, initializer="zeros")

    def update_state(
        self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor, sample_weight: Any = None
    ) -> None:
        if self.classes == 1:
            y_pred = ops.cast(y_pred >= 0.5, "float32")
        else:
            y_pred = ops.one_hot(ops.argmax(y_pred, axis=-1), self.classes)
        sums = _intersections_and_sizes(y_true, y_pred)
        for total, values in zip((self.intersections, self.sizes), sums, strict=True):
            if sample_weight is not None:
                values = values * ops.reshape(ops.cast(sample_weight, "float32"), (-1, 1))
            total.assign_add(ops.sum(values, axis=0))

    def result(self) -> keras.KerasTensor:
        empty = ops.cast(self.sizes == 0, "float32")
        return ops.mean((2 * self.intersections + empty) / (self.sizes + empty))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "classes": self.classes}


@keras.saving.register_keras_serializable("common")
class AUROC(keras.metrics.AUC):
    """The area under the ROC curve, at thresholds anywhere between 0 and 1.

    `keras.metrics.AUC` itself fails with these in a compiled step where it has several labels
    (Keras 3.15: ``np.where`` of a symbol).

    Args:
        thresholds: Between 0 and 1, in order.
        name: The metric's.
        **several: ``multi_label``, ``num_labels`` and ``label_weights`` of `keras.metrics.AUC`.
    """

    def __init__(self, thresholds: list[float], name: str = "auroc", **several: Any) -> None:
        super().__init__(thresholds=thresholds, name=name, **several)

    def update_state(
        self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor, sample_weight: Any = None
    ) -> None:
        y_pred = ops.cast(y_pred, "float32")
        positives = ops.cast(ops.cast(y_true, "bool"), "float32")
        negatives = 1 - positives
        if sample_weight is not None:
            weights = ops.reshape(ops.cast(sample_weight, "float32"), (-1, 1))
            positives, negatives = positives * weights, negatives * weights
        cuts = ops.reshape(ops.convert_to_tensor(self.thresholds, "float32"), (-1, 1, 1))
        above = ops.cast(y_pred[None] > cuts, "float32")
        for cases, above_cut, below_cut in (
            (positives, self.true_positives, self.false_negatives),
            (negatives, self.false_positives, self.true_negatives),
        ):
            # (thresholds, labels), or of one label (thresholds,).
            hits = ops.reshape(ops.sum(above * cases[None], axis=1), above_cut.shape)
            above_cut.assign_add(hits)
            below_cut.assign_add(ops.sum(cases, axis=0) - hits)


def pixel_crossentropy() -> keras.metrics.Metric:
    """The mean cross-entropy over pixels, as `PixelLoss` has it, whatever loss is minimised."""
    return keras.metrics.MeanMetricWrapper(PixelLoss().call, name="pixel_crossentropy")


def _intersections_and_sizes(
    y_true: keras.KerasTensor, y_pred: keras.KerasTensor
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Sums over each case's pixels for each class but the background, (batch, classes) float32."""
    prediction = ops.cast(y_pred, "float32")
    classes = prediction.shape[-1]
    if classes == 1:
        truth = ops.cast(y_true, "float32")
    else:
        truth, prediction = _one_hot(y_true, classes)[..., 1:], prediction[..., 1:]
    places = _places(prediction)
    sizes = ops.sum(truth, axis=places) + ops.sum(prediction, axis=places)
    return ops.sum(truth * prediction, axis=places), sizes


def _places(prediction: keras.KerasTensor) -> tuple[int, ...]:
    """The axes of a prediction's pixels or voxels."""
    return tuple(range(1, len(prediction.shape) - 1))


def _one_hot(mask: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """A mask (batch, ..., 1) of classes as (batch, ..., classes) float32."""
    return ops.one_hot(ops.cast(mask[..., 0], "int32"), classes, dtype="float32")


def _areas(
    a: keras.KerasTensor, b: keras.KerasTensor
) -> tuple[keras.KerasTensor, keras.KerasTensor, keras.KerasTensor]:
    """Of two boxes the areas of intersection and union, and the width and height of the hull."""
    overlap = ops.minimum(a[..., 2:], b[..., 2:]) - ops.maximum(a[..., :2], b[..., :2])
    intersection = ops.prod(ops.maximum(overlap, 0.0), axis=-1)
    areas = [ops.prod(box[..., 2:] - box[..., :2], axis=-1) for box in (a, b)]
    hull_size = ops.maximum(a[..., 2:], b[..., 2:]) - ops.minimum(a[..., :2], b[..., :2])
    return intersection, areas[0] + areas[1] - intersection, hull_size


def _angle(box: keras.KerasTensor) -> keras.KerasTensor:
    width, height = box[..., 2] - box[..., 0], box[..., 3] - box[..., 1]
    return ops.arctan2(width, height + _EPSILON)
