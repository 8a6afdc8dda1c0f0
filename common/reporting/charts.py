"""Charts of scores as PNG, in the palette and style of `common.reporting.figures`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatter, MaxNLocator
from sklearn.metrics import precision_recall_curve, roc_curve

from common.reporting.figures import new_figure, save
from common.reporting.palette import GREY, INK, PREDICTION, TRUTH
from common.scores.decisions import decision_curve
from common.training.best_epoch import best_epoch

# Of probabilities as they are, and rescaled.
_STYLES = ((PREDICTION, "-"), (INK, "--"))


def confusion_picture(
    path: Path, matrix: Sequence[Sequence[int]], names: Sequence[str], synthetic: bool | str
) -> Path:
    """A confusion matrix, a row per true class, with counts and the share of each true class."""
    larger = 0.7 * (len(names) - 2)
    figure, axes = new_figure(1, 1, 3.8 + larger, 3.4 + larger)
    chart = axes[0, 0]
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    chart.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        text = f"{count}\n{shares[row, column]:.0%}"
        colour = "white" if shares[row, column] > 0.55 else INK
        chart.text(column, row, text, ha="center", va="center", color=colour)
    turned = {"rotation": 45, "ha": "right"} if len(names) > 2 else {}
    chart.set_xticks(range(len(names)), names, **turned)
    chart.set_yticks(range(len(names)), names)
    chart.set(xlabel="predicted", ylabel="true")
    return save(figure, path, synthetic)


def roc_picture(
    path: Path,
    truth: np.ndarray,
    probabilities: np.ndarray,
    names: Sequence[str],
    synthetic: bool | str,
) -> Path:
    """The ROC curve of each class against all others, where cases with and without it are.

    Args:
        path: Where the PNG goes.
        truth: (n, classes) 0 or 1.
        probabilities: (n, classes) in 0..1.
        names: Of the classes.
        synthetic: The mark, as of `common.reporting.figures.save`.
    """
    figure, axes = new_figure(1, 1, 6.4, 4.2)
    chart = axes[0, 0]
    for number, name in enumerate(names):
        labels = truth[:, number]
        if 0 < labels.sum() < len(labels):
            false_positive, true_positive, _ = roc_curve(labels, probabilities[:, number])
            style = ("-", "--", ":")[number // 10 % 3]
            chart.plot(false_positive, true_positive, style, color=f"C{number % 10}", label=name)
    chart.plot([0, 1], [0, 1], ":", color=GREY, label="chance")
    chart.set(xlabel="1 - specificity, share of others", ylabel="sensitivity, share of the class")
    figure.legend(loc="outside right upper")
    return save(figure, path, synthetic)


def curves_picture(
    path: Path,
    labels: np.ndarray,
    curves: Mapping[str, tuple[np.ndarray, Sequence[Mapping[str, Any]]]],
    threshold: float,
    synthetic: bool | str,
) -> Path:
    """ROC, net benefit, precision-recall and reliability, each next to a trivial baseline.

    Args:
        path: Where the PNG goes.
        labels: (n,) 0 or 1, each at least once.
        curves: Probabilities (n,) as the model gives them, then rescaled ones if there are, by what
            they are called, each with its bins (`common.scores.calibration.reliability`).
        threshold: Marked on the ROC curve.
        synthetic: The mark, as of `common.reporting.figures.save`.
    """
    figure, axes = new_figure(2, 2, 4.2, 3.6)
    (roc, benefit), (recall, reliability) = axes
    probabilities = {name: values for name, (values, _) in curves.items()}
    scores = next(iter(probabilities.values()))
    false_positive, true_positive, _ = roc_curve(labels, scores)
    roc.plot(false_positive, true_positive, color=PREDICTION, label="model")
    chosen = scores >= threshold
    rates = (np.mean(chosen[labels == label]) for label in (0, 1))
    roc.plot(*rates, "o", color=INK, label=f"threshold {threshold:.2f}")
    roc.plot([0, 1], [0, 1], ":", color=GREY, label="chance")
    roc.set(xlabel="1 - specificity, share of negatives", ylabel="sensitivity, share of positives")
    precision, sensitivity, _ = precision_recall_curve(labels, scores)
    recall.plot(sensitivity, precision, color=PREDICTION, label="model")
    recall.axhline(labels.mean(), ls=":", color=GREY, label="share of positives")
    recall.set(xlabel="recall, share of positives", ylabel="precision, share of those called")
    recall.set_ylim(0, 1.02)
    _draw_net_benefit(benefit, labels, probabilities)
    _draw_reliability(reliability, {name: bins for name, (_, bins) in curves.items()})
    for chart in axes.flat:
        chart.legend()
    return save(figure, path, synthetic)


def _draw_net_benefit(
    chart: Axes, labels: np.ndarray, probabilities: Mapping[str, np.ndarray]
) -> None:
    thresholds = np.linspace(0.01, 0.99, 99)
    for (name, values), (colour, style) in zip(probabilities.items(), _STYLES, strict=False):
        benefits = decision_curve(labels, values, thresholds)
        chart.plot(thresholds, benefits, style, color=colour, label=name)
    everybody = decision_curve(labels, np.ones(len(labels)), thresholds)
    chart.plot(thresholds, everybody, "-.", color=GREY, label="calling all")
    chart.axhline(0, ls=":", color=GREY, label="calling none")
    share = float(labels.mean())
    chart.set(xlabel="threshold probability", ylabel="net benefit a case", xlim=(0, 1))
    # Beyond its share calling all falls without end.
    chart.set_ylim(-0.15 * share, 1.1 * share)


def _draw_reliability(chart: Axes, bins: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Shares of positives with their intervals by bin, over the numbers of cases of the last."""
    for (name, rows), (colour, style) in zip(bins.items(), _STYLES, strict=False):
        places = np.array([row["probability"] for row in rows])
        shares = np.array([row["share"]["value"] for row in rows])
        limits = np.array([row["share"]["ci95"] or [row["share"]["value"]] * 2 for row in rows])
        chart.errorbar(
            *(places, shares, abs(limits.T - shares)),
            fmt="o" + style, ms=3, lw=1, elinewidth=0.6, color=colour, label=name,
        )  # fmt: skip
        # Hollow where there are too few patients for an interval.
        few = np.array([row["share"]["ci95"] is None for row in rows])
        chart.plot(places[few], shares[few], "o", ms=3, color=colour, mfc="white", zorder=3)
    most = max(row["n"] for row in rows)
    for row in rows:
        width = row["to"] - row["from"]
        height = 0.2 * row["n"] / most
        chart.bar(row["from"], height, width, align="edge", color=GREY, alpha=0.25)
        chart.text(row["from"] + width / 2, 0.01, str(row["n"]), ha="center", fontsize=6)
    chart.plot([0, 1], [0, 1], ":", color=GREY, label="perfect")
    chart.set(xlabel="predicted probability; below, cases", ylabel="share of positives")
    chart.set_ylim(0, 1.02)


def histogram_picture(
    path: Path, model: np.ndarray, baseline: np.ndarray, label: str, synthetic: bool | str
) -> Path:
    """Histograms of shares between 0 and 1, the model's next to its baseline's.

    Args:
        path: Where the PNG goes.
        model: (n,) one per case.
        baseline: (n,) the same of the baseline.
        label: What the shares are.
        synthetic: The mark, as of `common.reporting.figures.save`.
    """
    figure, axes = new_figure(1, 1, 5.2, 3.0)
    axes[0, 0].hist(
        [model, baseline],
        bins=np.linspace(0, 1, 21),
        color=[PREDICTION, GREY],
        label=[f"model, mean {np.mean(model):.2f}", f"baseline, mean {np.mean(baseline):.2f}"],
    )
    axes[0, 0].set(xlabel=label, ylabel="cases", xlim=(0, 1))
    axes[0, 0].yaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0, 0].legend(loc="upper left")
    return save(figure, path, synthetic)


def history_picture(
    path: Path,
    histories: Mapping[str, Sequence[Mapping[str, float]]],
    synthetic: bool | str,
    monitor: str = "val_loss",
) -> Path:
    """The loss, metrics and learning rate of a training, epoch by epoch.

    Args:
        path: Where the PNG goes.
        histories: The rows of each ``history.csv`` by the name of its row of charts; a name with
            ``val_`` is of the validation split.
        synthetic: The mark, as of `common.reporting.figures.save`.
        monitor: The score that chose the epoch that was kept, as of `SharedTrain.monitor`.
    """
    names = {}
    for title, rows in histories.items():
        metrics = sorted(name[4:] for name in rows[0] if name.startswith("val_"))
        names[title] = list(dict.fromkeys(["loss", *metrics, "learning_rate"]))
    figure, axes = new_figure(max(map(len, names.values())), len(names), 3.0, 2.5)
    for chart in axes.flat:
        chart.set_axis_off()
    for (title, rows), charts in zip(histories.items(), axes, strict=True):
        epochs = [row["epoch"] for row in rows]
        best = best_epoch(rows, monitor) - 1
        for name, chart in zip(names[title], charts, strict=False):
            chart.set_axis_on()
            words = name.replace("_", " ")
            chart.set(xlabel="epoch", ylabel=f"{title}, {words}" if title else words)
            chart.xaxis.set_major_locator(MaxNLocator(integer=True))
            if name == "learning_rate":
                chart.plot(epochs, [row[name] for row in rows], color=INK)
                log_scale(chart)
                continue
            validation = [row[f"val_{name}"] for row in rows]
            chart.plot(epochs, [row[name] for row in rows], "--", color=GREY, label="training")
            chart.plot(epochs, validation, color=PREDICTION, label="validation")
            chart.plot(epochs[best], validation[best], "o", color=INK, label="best epoch, kept")
    axes[0, 0].legend()
    return save(figure, path, synthetic)


def log_scale(chart: Axes) -> None:
    """Give a chart a logarithmic y axis whose numbers are no formulas, as no text here is one."""
    chart.set_yscale("log")
    chart.yaxis.set_major_formatter(LogFormatter())
    chart.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))


def cases_picture(
    path: Path,
    networks: Mapping[str, Sequence[float]],
    styles: Sequence[tuple[str, str]],
    baseline: Sequence[float],
    label: str,
    synthetic: bool | str,
) -> Path:
    """A score, 0 to 1, of every case, the first network's worst first, next to a baseline.

    Args:
        path: Where the PNG goes.
        networks: (n,) by name.
        styles: Colour and marker of each network.
        baseline: (n,) of the trivial baseline.
        label: What the score is.
        synthetic: The mark, as of `common.reporting.figures.save`.
    """
    order = np.argsort(next(iter(networks.values())), kind="stable")
    places = np.arange(1, len(order) + 1)
    figure, axes = new_figure(1, 1, 5.2, 3.2)
    for (name, scores), (colour, marker) in zip(networks.items(), styles, strict=True):
        axes[0, 0].plot(
            places, np.asarray(scores)[order], marker, color=colour, label=name, clip_on=False
        )
    axes[0, 0].plot(places, np.asarray(baseline)[order], "_", color=GREY, ms=9, label="baseline")
    axes[0, 0].set(xlabel="case, by its score", ylabel=label, ylim=(0, 1))
    axes[0, 0].xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=len(networks) + 1)
    return save(figure, path, synthetic)


def agreement_picture(
    path: Path,
    truth: Sequence[float],
    networks: Mapping[str, Sequence[float]],
    styles: Sequence[tuple[str, str]],
    quantity: str,
    synthetic: bool | str,
) -> Path:
    """A measured quantity against the true one, one dot per case, with the line of agreement.

    Args:
        path: Where the PNG goes.
        truth: (n,) true values, 0 or more.
        networks: (n,) measured values by name.
        styles: Colour and marker of each network.
        quantity: What is measured, with its unit.
        synthetic: The mark, as of `common.reporting.figures.save`.
    """
    figure, axes = new_figure(1, 1, 3.6, 3.6)
    highest = 1.08 * max(np.max(truth), *(np.max(values) for values in networks.values()))
    axes[0, 0].plot([0, highest], [0, highest], ":", color=TRUTH, label="agreement")
    for (name, values), (colour, marker) in zip(networks.items(), styles, strict=True):
        axes[0, 0].plot(truth, values, marker, color=colour, label=name, clip_on=False)
    axes[0, 0].set(xlim=(0, highest), ylim=(0, highest), aspect="equal")
    axes[0, 0].set(xlabel=f"true {quantity}", ylabel=f"predicted {quantity}")
    figure.legend(loc="outside lower center", ncols=2)
    return save(figure, path, synthetic)
