"""The pneumonia project's part of the model card."""

from common.reporting.model_card import About

ABOUT = About(
    model="A ResNet50 (He et al. 2016) with one sigmoid output. It sees one chest film, scaled "
    "into a square, 8 bits, as the DICOM file's own window shows it.",
    question="Does this chest film show an opacity that radiologists call pneumonia?",
    answer="A probability, 0 to 1, and a decision at a threshold from the validation split.",
    factors="View (AP, PA), sex and age; also the device, the hospital and how ill its patients "
    "are, of which the data says little. Sick patients are filmed lying down (AP), so a model can "
    "score by telling the view alone: the scores of each view show whether it does.",
    metrics="AUROC and average precision need no threshold; accuracy, sensitivity and specificity "
    "are taken at the run's. They stand next to always the majority, to a logistic "
    "regression on view, sex and age, which sees no pixel, and to one on a 16 x 16 thumbnail, "
    "which sees no detail.",
    caveats=(
        "The labels are what radiologists saw on the film, not what a laboratory found.",
        "A score on films of the same source says little of another hospital's: evaluate on "
        "your own, evaluate.py --source.",
        "The share of positives in the data is not that of a clinic, so a probability is not that "
        "of a patient there.",
        "Grad-CAM shows what spoke for the output, coarsely. It proves no reason.",
        "Children's films are another question than adults': use the films it was trained on.",
    ),
)
