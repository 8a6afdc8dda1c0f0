"""Convert a published folder to a layout that prepare_data.py reads, under the names of data/lists.

    python -m data.convert kermany data/raw/chest_xray data/raw/kermany
    python -m data.convert rsna data/raw/rsna-pneumonia data/raw/part --list FILE
    python -m data.convert jsrt ~/JSRT data/raw/heart
    python -m data.convert ctr ~/cardiothoracic_ratio_estimation_dataset data/raw/heart
    python -m data.convert uamt ~/UA-MT/data data/raw/la2018
    python -m data.convert la2018 ~/2018-challenge data/raw/la2018

rsna      RSNA's challenge, of which --list names a part
kermany   JPEG folders NORMAL and PNEUMONIA, to the challenge's layout
jsrt      JSRT's IMG films and SCR's heart masks, to films with heart boxes
ctr       JSRT and Wingspan at 512 x 512 with heart masks, to films with heart boxes
uamt      UA-MT's h5 volumes of the 2018 Atrial Segmentation Challenge, to the decathlon's layout
la2018    the challenge's own folders NAME/lgemri and laendo, to the decathlon's layout
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common.base.arguments import Parser
from common.base.errors import UserError, run_script
from common.datasets.cohort import read_cohort
from data.conversions import (
    convert_ctr,
    convert_jsrt,
    convert_kermany,
    convert_la2018,
    convert_rsna,
    convert_uamt,
)

KINDS = {
    "rsna": convert_rsna,
    "kermany": convert_kermany,
    "jsrt": convert_jsrt,
    "ctr": convert_ctr,
    "uamt": convert_uamt,
    "la2018": convert_la2018,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Convert a folder, and print how many films or volumes it held."""
    parser = Parser("data.convert", __doc__)
    parser.add_argument("kind", choices=sorted(KINDS), metavar="KIND", help="which, as above")
    parser.add_argument("source", type=Path, metavar="SOURCE", help="the published folder")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the new folder")
    parser.add_argument(
        "--list", type=Path, metavar="FILE", dest="listing",
        help="a CSV of case and split, such as data/lists/kermany.csv: these films alone (all)",
    )  # fmt: skip
    parser.add_argument(
        "--part", choices=("train", "test"), default="train",
        help="of uamt: the volumes of train.list or of test.list (train)",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    if not given.source.is_dir():
        raise UserError(f"{given.source}: there is no such folder; give the published folder")
    names = None if given.listing is None else set(read_cohort(given.listing).index)
    settings = {"part": given.part} if given.kind == "uamt" else {}
    count = KINDS[given.kind](given.source, given.folder, names, **settings)
    print(f"{count} converted: {given.folder}")


if __name__ == "__main__":
    run_script(main)
