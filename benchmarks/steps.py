"""One training step of each network, beside the same network in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measuring import (
    MissingError,
    Options,
    Row,
    compared,
    in_turn,
    keras_side,
    torch_side,
)

BATCH = 16
_NETWORKS = {
    "resnet50": ("ResNet50 at 224", "MONAI's resnet50, stride-2 stem"),
    "unet": ("U-Net of width 16 at 96", "MONAI's BasicUNet of the same widths"),
    "fcn8": ("FCN-8 of width 16 at 96", "the same layers in PyTorch"),
}


def rows(options: Options) -> Iterator[Row]:
    """Images a second in training, on made-up data that lies in memory."""
    for network, (title, against) in _NETWORKS.items():
        steps = options.size(2 if network == "resnet50" else 20, 1)
        work = ("step", network, BATCH, steps)
        with keras_side(*work) as ours:
            try:
                with torch_side(options, *work) as theirs:
                    seconds = in_turn(ours, theirs)
            except MissingError as missing:
                print(f"   PyTorch not measured: {missing}")
                seconds = in_turn(ours)
        rates = [steps * BATCH / one for one in seconds]
        yield compared(
            f"a step of {title}, batch {BATCH}",
            f"{against}; channels last, bfloat16",
            rates[0],
            rates[1] if len(rates) > 1 else None,
            "images/s",
            1.0,
        )
