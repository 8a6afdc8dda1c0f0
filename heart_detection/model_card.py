"""The heart project's part of the model card."""

from common.reporting.model_card import About

ABOUT = About(
    model="NETWORK with four outputs. It sees one chest film, scaled into a "
    "square with its proportions kept, 8 bits, as the DICOM file's own window shows it.",
    question="Where is the heart on this chest film?",
    answer="One box, (x0, y0, x1, y1) in the image's own pixels, half-open.",
    factors="View (AP, PA) and sex, the size of the heart, opacities that hide its edge, devices "
    "and how the film was taken.",
    metrics="IoU with the reader's box, its mean, its median and the counts over 0.5, 0.75 and "
    "0.9, and how far each edge is off. They stand next to the mean box of the training split, "
    "which looks at no image, and to a ridge regression of the box on a 16 x 16 thumbnail.",
    caveats=(
        "There is always one box: of a film without a heart, or of no chest at all, too. "
        "Nothing is said of how sure it is.",
        "Where a heart ends is a convention of who drew the boxes; another reader's boxes, with or "
        "without the great vessels, are off by that.",
        "A box is no measurement: a cardiothoracic ratio from it has not been checked.",
        "A score on films of the same source says little of another hospital's: evaluate on "
        "your own, evaluate.py --source.",
    ),
    task="object-detection",
    tags=("chest-x-ray", "heart"),
)
