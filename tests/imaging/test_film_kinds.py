"""What speaks against a frontal chest film is told, and the film is read."""

import numpy as np
import pytest

from common.imaging.dicom import read_radiograph
from common.records.outcomes import outcome
from common.records.stored_images import film_features, stored_film
from tests.helpers.fixtures import soft_image, write_dicom


@pytest.mark.parametrize(
    ("elements", "doubt"),
    [
        ({}, ""),
        ({"Modality": "CR", "BodyPartExamined": "CHEST", "ViewPosition": "PA"}, ""),
        ({"Modality": "DX", "BodyPartExamined": "Thorax ", "ViewPosition": "AP"}, ""),
        ({"Modality": "OT", "BodyPartExamined": ""}, ""),
        ({"Modality": "CT"}, "modality CT"),
        ({"Modality": "MR"}, "modality MR"),
        ({"Modality": "JOHN"}, "modality of no plain film"),
        ({"BodyPartExamined": "HAND"}, "body part HAND"),
        ({"BodyPartExamined": "TSPINE"}, "body part TSPINE"),
        ({"BodyPartExamined": "CHEST SPINE"}, "body part other than the chest"),
        ({"BodyPartExamined": "JOHN SMITH"}, "body part other than the chest"),
        ({"ViewPosition": "LL"}, "lateral view LL"),
        ({"ViewPosition": "RLO"}, "oblique view RLO"),
        ({"BurnedInAnnotation": "NO"}, ""),
        (
            {"BurnedInAnnotation": "YES"},
            "BurnedInAnnotation: text is drawn into it, perhaps a name",
        ),
        ({"PresentationIntentType": "FOR PRESENTATION", "PixelIntensityRelationshipSign": 1}, ""),
        (
            {"PresentationIntentType": "FOR PROCESSING", "PixelIntensityRelationshipSign": -1},
            "FOR PROCESSING: a detector's raw values",
        ),
        (
            {"PresentationIntentType": "FOR PROCESSING", "PixelIntensityRelationshipSign": 1},
            "FOR PROCESSING: a detector's raw values, in which bone is dark",
        ),
        ({"PixelSpacing": [0.143, 0.143]}, ""),
        ({"PixelSpacing": [0, 0]}, "PixelSpacing 0 x 0 mm can't be"),
        ({"PixelSpacing": [-0.1, 0.1]}, "PixelSpacing -0.1 x 0.1 mm can't be"),
        ({"ImagerPixelSpacing": [139, 139]}, "ImagerPixelSpacing 139 x 139 mm can't be"),
        ({"PixelSpacing": [0.2]}, "PixelSpacing is no two numbers"),
        ({"Modality": "MG", "ViewPosition": "RL"}, "modality MG; lateral view RL"),
    ],
)
def test_what_a_header_says_against_a_chest_film(tmp_path, elements, doubt):
    path = write_dicom(tmp_path / "a.dcm", soft_image(), **elements)
    assert read_radiograph(path).doubt == stored_film(path, 32).doubt == doubt
    remark = outcome(lambda case: film_features(path, 32), {}).remark
    assert remark == (f"another kind: {doubt}" if doubt else "")


def test_colour_and_proportions(tmp_path):
    colour = np.stack([soft_image()] * 3, axis=-1)
    path = write_dicom(tmp_path / "a.dcm", colour, photometric="RGB")
    assert read_radiograph(path).doubt == "colour, as a screen has it"
    long = np.resize(soft_image(), (1, 5000))
    path = write_dicom(tmp_path / "b.dcm", long)
    assert stored_film(path, 32).doubt == "1 x 5000 pixels are no film's proportions"
    path = write_dicom(tmp_path / "c.dcm", np.resize(soft_image(), (40, 200)))
    assert read_radiograph(path).doubt == ""
