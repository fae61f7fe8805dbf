"""How good the probabilities of classes are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from relsql.tasks.kinds.classes import UNKNOWN
from relsql.typing import IntArray

LEAST_PROBABILITY = 1e-7
"""The least probability that a label gets, even if the model does not know its class."""

Probabilities = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float64]


def class_metrics(labels: IntArray, probabilities: Probabilities) -> dict[str, float]:
    """Log loss, accuracy, macro F1, and the mean ROC-AUC of each class against the rest (if it is defined).

    Args:
        labels: int64 [labels], positions of classes, n > 0; `UNKNOWN` for a class that is not among them: it counts as
            a wrong prediction.
        probabilities: [labels, classes].
    """
    means = {name: float(values.mean()) for name, values in label_losses(labels, probabilities).items()}
    means["macro_f1"] = macro_f1(labels, probabilities.argmax(axis=1))
    areas = one_against_rest(labels, probabilities)
    return means | ({"roc_auc": float(np.mean(areas))} if areas else {})


def label_losses(labels: IntArray, probabilities: Probabilities) -> dict[str, Floats]:
    """The metrics that are means over labels, before the mean, float64 [labels]."""
    of_label = np.where(labels != UNKNOWN, probabilities[np.arange(len(labels)), labels], 0.0)
    return {
        "log_loss": -np.log(np.clip(of_label.astype(np.float64), LEAST_PROBABILITY, 1.0)),
        "accuracy": (probabilities.argmax(axis=1) == labels).astype(np.float64),
    }


def confidence(labels: IntArray, probabilities: Probabilities) -> tuple[Floats, Floats]:
    """The probability of each predicted class, and 1 where the label is that class, else 0; float64 [labels] each.

    Their means are equal for a calibrated model, as those of scores and labels of a binary task are.
    """
    return probabilities.max(axis=1).astype(np.float64), label_losses(labels, probabilities)["accuracy"]


def macro_f1(labels: IntArray, predicted: IntArray) -> float:
    """The mean F1 of the classes among labels and predictions; 0 for a class that is never predicted right."""
    classes, found = np.unique(np.concatenate([labels, predicted]), return_inverse=True)
    true, guessed = np.split(found, 2)
    hits = np.bincount(true[true == guessed], minlength=len(classes))
    # Twice the hits, by the labels of the class and the predictions of it.
    return float((2 * hits / np.bincount(found, minlength=len(classes))).mean())


def one_against_rest(labels: IntArray, probabilities: Probabilities) -> list[float]:
    """The ROC-AUC of the probability of each class that some labels have and others do not."""
    from sklearn.metrics import roc_auc_score

    present = [code for code in np.unique(labels) if code != UNKNOWN and not (labels == code).all()]
    return [float(roc_auc_score(labels == code, probabilities[:, code])) for code in present]
