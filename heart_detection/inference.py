"""From a film's pixels to a box: one way for every script."""

from __future__ import annotations

from typing import Any


def predict_boxes(model: Any, images: Any, batch_size: int, flip: bool, moves: bool) -> Any:
    """The model's boxes (n, 4), (x0, y0, x1, y1) in fractions of the side.

    Args:
        model: Of images to boxes.
        images: (n, side, side, 1) 0..255.
        batch_size: Images at once.
        flip: Take the mean with the boxes of the mirrored images, mirrored back.
        moves: Take the mean with the boxes of moved images, moved back.
    """
    import numpy as np

    from common.imaging.letterbox import mirror_boxes
    from common.training import augment

    def predict(shown: Any) -> Any:
        return model.predict(shown, batch_size, verbose=0)

    found = [predict(images)]
    for there, back in augment.test_time_transforms(shift=0.03, scale=0.05) if moves else []:
        of_moved = predict(augment.transform_images(images.astype(np.float32), there).numpy())
        found.append(augment.transform_boxes(of_moved, back).numpy())
    if flip:
        found += [mirror_boxes(predict(images[:, :, ::-1]))] * len(found)
    return np.mean(found, axis=0)
