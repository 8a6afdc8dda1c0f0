"""What the terms in an evaluation's tables mean, in a sentence or two each."""

from __future__ import annotations

from collections.abc import Sequence

from common.base.tables import Table

TERMS = {
    "AUROC": "How often the model ranks a positive case above a negative one: 0.5 is chance, 1 is "
    "always. It needs no threshold.",
    "average precision": "The mean precision over all thresholds, weighed by the recall that each "
    "adds. Chance is the share of positives.",
    "Youden": "The threshold at which sensitivity plus specificity is highest, here on the "
    "validation cases. It weighs a missed case like a false alarm.",
    "temperature": "A number that all logits are divided by, fitted to the validation cases: above "
    "1 it makes probabilities less extreme. No ranking changes.",
    "Platt": "A temperature and a shift of all logits, fitted to the validation cases. No ranking "
    "changes.",
    "Brier score": "The mean squared distance of a probability from what was true, 0 at best.",
    "calibration error": "How far probabilities are from the shares of positives among cases of "
    "like probability, on average over 15 bins, 0 at best.",
    "net benefit": "Right alarms a case, less the false ones at the exchange rate of the threshold "
    "probability: who acts from 0.2 takes four false alarms for a right one.",
    "pointing game": "How often the highest place of a map lies in a radiologist's box. A map "
    "drawn at random hits as often as the boxes are large (chance).",
    "Dice": "Twice what two masks have in common, divided by the sum of both: 0 is nothing, 1 is "
    "all.",
    "HD95": "95 in 100 points of either surface are nearer to the other surface than this, in mm; "
    "the 5 farthest are left out.",
    "surface distance": "How far a point of either surface is from the other surface, on average.",
    "limit of agreement": "Between the lower and the upper limit lie 95 in 100 differences of a "
    "case (Bland and Altman).",
    "IoU": "The area that two boxes have in common, divided by the area that they cover together: "
    "0 is nothing, 1 is all.",
}
"""By the term as it stands in a table, its meaning."""


def explained(tables: Sequence[Table]) -> dict[str, str]:
    """The terms that stand in tables, with their meanings, in the order of `TERMS`."""
    cells = [
        cell
        for table in tables
        for row in ((table.title,), table.head, *table.rows)
        for cell in row
    ]
    return {
        term: meaning
        for term, meaning in TERMS.items()
        if any(term.lower() in cell.lower() for cell in cells)
    }
