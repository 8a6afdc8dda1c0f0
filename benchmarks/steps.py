"""One training step of each network, next to the same network in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measuring import Options, Row, compared, in_turn_with_torch, keras_side

BATCH = 16
_NETWORKS = {
    "resnet50": ("ResNet50 at 224", "MONAI's resnet50, stride-2 stem"),
    "unet": ("U-Net of width 16 at 96", "MONAI's BasicUNet of the same widths"),
    "fcn8": ("FCN-8 of width 16 at 96", "the same layers in PyTorch"),
}


def rows(options: Options) -> Iterator[Row]:
    """Images per second in training, on made-up data that lies in memory."""
    for network, (title, against) in _NETWORKS.items():
        steps = options.size(2 if network == "resnet50" else 20, 1)
        work = ("step", network, BATCH, steps)
        with keras_side(*work) as keras_run:
            seconds, torch_seconds = in_turn_with_torch(options, keras_run, *work)
        images = steps * BATCH
        stage, against = f"a step of {title}, batch {BATCH}", f"{against}; channels last, bfloat16"
        theirs = torch_seconds and images / torch_seconds
        yield compared(stage, against, images / seconds, theirs, "images/s", 1.0)
