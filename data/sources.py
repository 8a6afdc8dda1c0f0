"""The datasets that ``python -m data.download`` fetches: address, size, hash, version and terms."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import pooch


@dataclass(frozen=True)
class Dataset:
    """A published dataset, or a table of one.

    Attributes:
        name: By which the command knows it.
        title: What it is.
        version: As its publisher counts; a hash of a commit, or a date, where nobody does.
        page: Where its publisher describes it.
        terms: What may be done with it, in a sentence.
        project: The one that reads it.
        folder: The folder below data/raw that ``prepare_data.py`` reads.
        file: The name of the file that is downloaded.
        url: Its address; "" where it takes an account.
        hash: As pooch writes one, "md5:..." or "sha256:..."; "" where none is published.
        hash_is_published: False for one that was computed from a copy: another is a warning.
        size: In bytes; 0 if unknown. Exact where there is a hash.
        unpacked: In bytes, about; 0 for a table.
        needs: What must be in an archive, by names of files and folders.
        competition: Kaggle's name of the competition that holds it, or "".
    """

    name: str
    title: str
    version: str
    page: str
    terms: str
    project: str
    folder: str
    file: str
    url: str = ""
    hash: str = ""
    hash_is_published: bool = True
    size: int = 0
    unpacked: int = 0
    needs: tuple[str, ...] = ()
    competition: str = ""

    def at(self, url: str) -> Dataset:
        """The same dataset from another address."""
        return dataclasses.replace(self, url=url)

    def registered(self, folder: Path) -> pooch.Pooch:
        """Its name, address and hash as pooch knows them, for a folder of downloads.

        pooch never replaces a file that is in the folder already.
        """
        known = {self.file: self.hash if self.hash_is_published and self.hash else None}
        urls = {self.file: self.url}
        return pooch.create(
            path=folder, base_url="", registry=known, urls=urls, allow_updates=False
        )


_BOXES = "9e06f303b798983855ba5c92cbb25dc7661797b4"

DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="task02_heart",
            title="Medical Segmentation Decathlon, Task02_Heart: 20 volumes with the left atrium, "
            "10 without",
            version="as of 2018, MONAI's copy on AWS",
            page="http://medicaldecathlon.com",
            terms="CC BY-SA 4.0: use, change and pass on, named and under the same licence; cite "
            "Antonelli et al. 2022",
            project="atrium_segmentation",
            folder="Task02_Heart",
            file="Task02_Heart.tar",
            url="https://msd-for-monai.s3-us-west-2.amazonaws.com/Task02_Heart.tar",
            hash="md5:06ee59366e1e5124267b774dbd654057",
            size=455_721_472,
            unpacked=456_000_000,
            needs=("dataset.json", "imagesTr", "labelsTr"),
        ),
        Dataset(
            name="kermany",
            title="Kermany et al. 2018: 5,856 chest films of children, normal and pneumonia",
            version="Mendeley Data rscbjbr9sj, version 2 (ChestXRay2017.zip)",
            page="https://data.mendeley.com/datasets/rscbjbr9sj/2",
            terms="CC BY 4.0: use, change and pass on, named; cite doi:10.17632/rscbjbr9sj.2",
            project="pneumonia_classification",
            folder="chest_xray",
            file="ChestXRay2017.zip",
            url="https://data.mendeley.com/public-files/datasets/rscbjbr9sj/files/"
            "f12eaf6d-6023-432f-acc9-80c9d7393433/file_downloaded",
            size=1_235_512_464,
            unpacked=1_300_000_000,
            needs=("train", "test"),
        ),
        Dataset(
            name="rsna",
            title="RSNA Pneumonia Detection Challenge 2018: 26,684 chest films of adults with "
            "labels and boxes",
            version="stage 2",
            page="https://www.kaggle.com/competitions/rsna-pneumonia-detection-challenge",
            terms="images: NIH ChestX-ray14, free with attribution; labels: the challenge's rules, "
            "for non-commercial research and teaching, to be accepted at Kaggle; cite Shih et "
            "al. 2019 and Wang et al. 2017",
            project="pneumonia_classification",
            folder="rsna-pneumonia",
            file="rsna-pneumonia-detection-challenge.zip",
            size=3_930_000_000,
            unpacked=4_100_000_000,
            needs=("stage_2_train_images", "stage_2_train_labels.csv"),
            competition="rsna-pneumonia-detection-challenge",
        ),
        Dataset(
            name="rsna_patients",
            title="RSNA's mapping of the challenge's images to NIH ChestX-ray14: whose each is",
            version="2018",
            page="https://www.rsna.org/rsnai/ai-image-challenge/"
            "rsna-pneumonia-detection-challenge-2018",
            terms="published by RSNA next to the challenge, whose terms hold",
            project="pneumonia_classification",
            folder="rsna-pneumonia",
            file="pneumonia-challenge-dataset-mappings_2018.json",
            url="https://s3.amazonaws.com/east1.public.rsna.org/AI/2018/"
            "pneumonia-challenge-dataset-mappings_2018.json",
            hash="sha256:803ce79e3bc9c66d3631738e91e62e1175730e98ad1415e8dc4d6292ba10bf27",
            hash_is_published=False,
        ),
        Dataset(
            name="heart_boxes",
            title="496 heart boxes on films of the RSNA challenge",
            version=f"a public copy, commit {_BOXES[:8]}",
            page="https://github.com/fshnkarimi/Cardiac-Detection",
            terms="no licence is known: ask its author before you pass it on; the films' terms are "
            "RSNA's",
            project="heart_detection",
            folder="rsna-pneumonia",
            file="rsna_heart_detection.csv",
            url=f"https://raw.githubusercontent.com/fshnkarimi/Cardiac-Detection/{_BOXES}/"
            "rsna_heart_detection.csv",
            hash="sha256:4bf1a42675afcb20fcbc216e78143252d517074244131b974ead6ba2ca039acc",
            size=31_582,
        ),
    )
}
"""By name. No address was tried from the machine that this was written on, which has no network."""
