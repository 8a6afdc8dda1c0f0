"""What speaks against a frontal chest film in a file that can be read all the same.

Only terms of the standard's own lists are quoted, as an element may hold anything.
"""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.tag import Tag

KIND_TAGS = [
    *map(Tag, ("Modality", "BodyPartExamined", "ViewPosition", "BurnedInAnnotation")),
    Tag("PresentationIntentType"),
]
"""The elements that say what a picture shows, whether with text in it, and whether to be seen."""

# PS3.3 C.7.3.1.1.1; "OT" is what converters of plain pictures write.
_PLAIN = ("", "CR", "DX", "RF", "RG", "OT")
_OTHERS = ("CT", "ES", "IO", "MG", "MR", "NM", "OP", "PT", "PX", "SM", "US", "XA", "XC")
# Of PS3.16 annex L.
_PARTS = (
    *("ABDOMEN", "ANKLE", "ARM", "BREAST", "CSPINE", "ELBOW", "EXTREMITY", "FEMUR", "FINGER"),
    *("FOOT", "FOREARM", "HAND", "HEAD", "HIP", "HUMERUS", "JAW", "KNEE", "LEG", "LSPINE", "NECK"),
    *("PELVIS", "SHOULDER", "SKULL", "SPINE", "TIBIA", "TOE", "TSPINE", "WRIST"),
)
_CHEST = ("CHEST", "HEART", "LUNG", "RIB", "STERNUM", "THORAX")
_SIDEWAYS = {"LL": "lateral", "RL": "lateral", "LLO": "oblique", "RLO": "oblique"}
_MAX_PROPORTION = 5
# No detector's pixels are as small, and no chest as large.
_LEAST_SPACING_MM, _MAX_SIDE_MM = 0.01, 1000


def film_doubt(dataset: Dataset, is_colour: bool) -> str:
    """Why a picture may be no frontal chest film, by its header; "" for no reason.

    Args:
        dataset: With `KIND_TAGS`, Rows, Columns, PixelSpacing, ImagerPixelSpacing,
            PhotometricInterpretation and PixelIntensityRelationshipSign.
        is_colour: Whether its pixels have colours.
    """
    modality, part, view, annotation, intent = (
        str(dataset.get(tag).value if tag in dataset else "").strip(" \0").upper()
        for tag in KIND_TAGS
    )
    doubts = []
    if modality not in _PLAIN:
        doubts.append(f"modality {modality if modality in _OTHERS else 'of no plain film'}")
    if part and ("SPINE" in part or not any(word in part for word in _CHEST)):
        doubts.append(f"body part {part if part in _PARTS else 'other than the chest'}")
    if view in _SIDEWAYS:
        doubts.append(f"{_SIDEWAYS[view]} view {view}")
    if annotation == "YES":
        doubts.append("BurnedInAnnotation: text is drawn into it, perhaps a name")
    if intent == "FOR PROCESSING":
        # PS3.3 C.8.11.1 and, for the sign, C.8.11.3: 1 where less beam is a lower value.
        sign = dataset.get("PixelIntensityRelationshipSign")
        is_dark = sign == {"MONOCHROME2": 1, "MONOCHROME1": -1}.get(
            str(dataset.get("PhotometricInterpretation"))
        )
        dark = ", in which bone is dark" if is_dark and sign else ""
        doubts.append(f"FOR PROCESSING: a detector's raw values{dark}")
    if is_colour:
        doubts.append("colour, as a screen has it")
    doubts.append(proportions_doubt(int(dataset.Rows), int(dataset.Columns)))
    doubts.append(_spacing_doubt(dataset))
    return "; ".join(filter(None, doubts))


def proportions_doubt(rows: int, columns: int) -> str:
    """Why a picture of this size may be no film, "" for no reason."""
    if max(rows, columns) > _MAX_PROPORTION * min(rows, columns):
        return f"{rows} x {columns} pixels are no film's proportions"
    return ""


def _spacing_doubt(dataset: Dataset) -> str:
    """Why a film's distance of pixels cannot be (PS3.3 10.7.1.1), "" for no reason."""
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        value = dataset.get(name)
        if not value:
            continue
        try:
            row_mm, column_mm = (float(number) for number in value)
        except (TypeError, ValueError):
            return f"{name} is no two numbers"
        least, side_mm = (
            min(row_mm, column_mm),
            max(row_mm * dataset.Rows, column_mm * dataset.Columns),
        )
        if not least >= _LEAST_SPACING_MM or not side_mm <= _MAX_SIDE_MM:
            return f"{name} {row_mm:g} x {column_mm:g} mm can't be"
    return ""
