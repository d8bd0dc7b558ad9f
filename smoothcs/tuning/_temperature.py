"""The temperature at which the scores of noisy copies are the best probabilities."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from sklearn.utils.validation import check_is_fitted

from smoothcs._estimator._inputs import check_inputs, check_labels, encode_labels
from smoothcs.tuning._scores import sample_scores

# Scores are kept as float16.
LEAST = float(np.finfo(np.float16).smallest_subnormal)


def fit_temperature(
    estimator: Any, X: Any, y: Any, n: int = 20, *, random_state: Any = None
) -> float:
    """Return the temperature at which the scores of noisy copies have the least log-loss.

    An overconfident network misjudges the expected cost of every answer. Divided by a temperature
    above 1, its logits keep their order and give better probabilities, on which
    ``decision="min-cost"`` depends ([Guo17]_).

    Parameters
    ----------
    estimator : CostSensitiveSmoothedClassifier
        Fitted; it is left as it is. Set what is returned as its ``temperature``.
    X : array-like (n_inputs, d), array or tensor (n_inputs, ...), or Dataset
        Inputs that it was not trained on and that it will not be judged on.
    y : array-like (n_inputs,)
        Their classes.
    n : int, default=20
        Noisy copies of each input.
    random_state : None, int, 32 bytes, RandomState or Generator, default=None
        The key of the noise.

    Returns
    -------
    temperature : float
        Between 1/50 and 50.

    Raises
    ------
    ValueError, TypeError
        If the base classifier has no scores, or `y` does not fit.

    Notes
    -----
    It is an option to try, not a default: on two tables of three it lowered what least expected
    cost saves (:doc:`/benchmarks`), and a network trained for costs has no probabilities to mend.

    References
    ----------
    .. [Guo17] Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", ICML 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.model_selection import train_test_split
    >>> from smoothcs import CostSensitiveSmoothedClassifier
    >>> from smoothcs.tuning import fit_temperature
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X = (X - X.mean(axis=0)) / X.std(axis=0)
    >>> X_train, X_held_out, y_train, y_held_out = train_test_split(X, y, random_state=0)
    >>> clf = CostSensitiveSmoothedClassifier(
    ...     objective="gaussian", max_epochs=5, decision="min-cost", random_state=0
    ... ).fit(X_train, y_train)
    >>> temperature = fit_temperature(clf, X_held_out, y_held_out, random_state=0)
    >>> clf.set_params(temperature=temperature).predict(X_held_out).shape
    (143,)
    """
    check_is_fitted(estimator)
    X = check_inputs(estimator, X, reset=False)
    truth = encode_labels(check_labels(X, y, estimator), estimator.classes_)
    plain = copy(estimator).set_params(temperature=1.0)
    p = sample_scores(plain, X, n, random_state=random_state).astype(np.float64)
    logits = np.log(np.maximum(p, LEAST))
    right = logits[np.arange(len(truth)), :, truth]

    def log_loss(log_temperature: float) -> float:
        beta = np.exp(-log_temperature)
        return float(np.mean(logsumexp(beta * logits, axis=2) - beta * right))

    span = np.log(50.0)
    return float(np.exp(minimize_scalar(log_loss, bounds=(-span, span), method="bounded").x))
