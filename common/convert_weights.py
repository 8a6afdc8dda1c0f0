"""Convert weights that were trained elsewhere, so that train.py --weights can start from them.

    python -m common.convert_weights RadImageNet-ResNet50-notop.h5 --layout radimagenet \
        --output radimagenet.keras
    python -m common.convert_weights mimic_ch-densenet121-best.pt \
        --layout torchxrayvision --output mimic.keras

The network without its head gives on a grey film what it gives where it was trained. Train with the
same --backbone and --no-standardise. See docs/weights.md for which of them have seen the films of
which dataset.
"""

from __future__ import annotations

from pathlib import Path

from common.base.arguments import Parser
from common.base.backend import start_tensorflow
from common.base.errors import UserError, run_script
from common.base.files import atomic_write
from common.base.film_settings import BACKBONES

# Of `common.models.converted_weights.LAYOUTS`, which needs Keras.
_LAYOUTS = ("radimagenet", "torchxrayvision")


def main() -> None:
    """Convert a file of weights."""
    parser = Parser("common.convert_weights", __doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="the weights: .h5, or .pt")
    parser.add_argument("--layout", choices=_LAYOUTS, required=True, help="who has stored them")
    parser.add_argument(
        "--backbone", choices=tuple(BACKBONES), help="the network (the layout's first)"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="where to write: a .keras file"
    )
    arguments = parser.parse_args()
    output: Path = arguments.output
    if output.suffix != ".keras" or output.exists():
        problem = "is there already" if output.exists() else "must end in .keras"
        raise UserError(f"--output {output}: {problem}; choose another")
    start_tensorflow()

    from common.models.converted_weights import LAYOUTS, convert
    from common.models.stored import save_model

    backbone = arguments.backbone or LAYOUTS[arguments.layout].backbones[0]
    if backbone not in LAYOUTS[arguments.layout].backbones:
        raise UserError(
            f"--backbone {backbone}: --layout {arguments.layout} has "
            f"{' and '.join(LAYOUTS[arguments.layout].backbones)}"
        )
    if not arguments.file.is_file():
        raise UserError(f"{arguments.file}: is no file; give the weights")
    network = convert(arguments.file, arguments.layout, backbone)
    with atomic_write(output) as partial:
        save_model(network, partial)
    print(f"{output}: {backbone}, {network.count_params():,} numbers")
    print(f"train.py --backbone {backbone} --no-standardise --weights {output}")


if __name__ == "__main__":
    run_script(main)
