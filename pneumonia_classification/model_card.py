"""The pneumonia project's part of the model card."""

import dataclasses

from common.datasets.classes import TWO, Classes
from common.reporting.model_card import About

ABOUT = About(
    model="NETWORK with one sigmoid output. It sees one chest film, scaled "
    "into a square, 8 bits, as the DICOM file's own window shows it.",
    question="Does this chest film show an opacity that radiologists call pneumonia?",
    answer="A probability, 0 to 1, and a decision at a threshold from the validation split.",
    factors="View (AP, PA), sex and age; also the device, the hospital and how ill its patients "
    "are, of which the data says little. Sick patients are filmed lying down (AP), so a model can "
    "score by telling the view alone: the scores of each view show whether it does.",
    metrics="AUROC and average precision need no threshold; accuracy, sensitivity and specificity "
    "are taken at the run's. They stand next to always the majority of training, to a logistic "
    "regression on view, sex and age, which sees no pixel, and to one on a 16 x 16 thumbnail, "
    "which sees no detail.",
    caveats=(
        "The labels are what radiologists saw on the film, not what a laboratory found.",
        "A score on films of the same source says little of another hospital's: evaluate on "
        "your own, evaluate.py --source.",
        "The share of positives in the data is not that of a clinic, so a probability is not that "
        "of a patient there.",
        "Grad-CAM shows what spoke for the output, coarsely. It proves no reason.",
        "Children's films are another question than adults': use it at the ages of the patients "
        "it was trained on, and score it on patients it was not trained on.",
    ),
    task="image-classification",
    tags=("chest-x-ray", "pneumonia"),
)


def about(classes: Classes) -> About:
    """The card of a run that tells some classes apart."""
    if classes.are_two:
        negative, positive = classes.names
        if classes.names == TWO or "pneumonia" in positive.casefold():
            return ABOUT
        question = f"Is this image {positive} rather than {negative}?"
        return dataclasses.replace(ABOUT, question=question, caveats=ABOUT.caveats[1:4], tags=())
    names = ", ".join(classes.names)
    kind = "softmax" if classes.exclusive else "sigmoid"
    question = f"Which of these does this image show: {names}?"
    answer = "A probability of each, 0 to 1, and the likeliest as the answer."
    if not classes.exclusive:
        question = f"Which of these findings, none or several, does this image show: {names}?"
        answer = "A probability of each, 0 to 1, and a decision on each at a threshold from the "
        answer += "validation split."
    return dataclasses.replace(
        ABOUT,
        tags=(),
        model=f"NETWORK with {classes.outputs} outputs under a {kind}. It sees "
        "one image, scaled into a square, 8 bits, in grey levels.",
        question=question,
        answer=answer,
        metrics="AUROC and average precision are of each class against all others, and their mean "
        "over classes; accuracy is the share of images whose every answer is right. They stand "
        "next to always the majority of training, to logistic regressions on view, sex and age, "
        "which see no pixel, and to ones on a 16 x 16 thumbnail, which see no detail.",
        caveats=(
            "The labels are those of the data: how sure they are is not known here.",
            *ABOUT.caveats[1:2],
            "The share of a class in the data is not that elsewhere, so a probability is not that "
            "of an image there.",
            "A class that is rare in the data is scored on few images: look at its interval.",
            "Grad-CAM shows what spoke for the likeliest class, coarsely. It proves no reason.",
        ),
    )
