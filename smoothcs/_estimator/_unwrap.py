"""What stands inside a Pipeline, a search or a tuned classifier; certificates of any of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from smoothcs.certification import Certificates, CertifiedAt
from smoothcs.portfolio import PortfolioCertificate


def final_step(estimator: Any, X: Any) -> tuple[Any, Any]:
    """Return the certifying estimator inside ``estimator`` and what reaches it of ``X``."""
    return _unwrapped(estimator, X)[:2]


def _unwrapped(
    estimator: Any, X: Any, method: str = "certified_report"
) -> tuple[Any, Any, list[str]]:
    """As `final_step`, and the names of what was passed on the way to who has ``method``."""
    passed: list[str] = []
    while True:
        if isinstance(estimator, Pipeline):
            if len(estimator) > 1:
                X = estimator[:-1].transform(X)
            steps = [step for _, step in estimator.steps[:-1]]
            passed += [type(step).__name__ for step in steps if step not in (None, "passthrough")]
            estimator = estimator[-1]
        elif hasattr(estimator, "best_estimator_"):
            passed.append(type(estimator).__name__)
            estimator = estimator.best_estimator_
        elif hasattr(estimator, "label_weights_"):
            passed.append(type(estimator).__name__)
            estimator = estimator.estimator_  # fitted, and it has the tuned decision
        elif hasattr(estimator, method):
            return estimator, X, passed
        else:
            raise TypeError(
                f"an estimator with {method} is needed, or a Pipeline or a fitted search that "
                f"ends in one; got {type(estimator).__name__}."
            )


def _describe(clf: Any, passed: list[str]) -> str:
    name = type(clf).__name__
    return f"{name} behind {', '.join(passed)}" if passed else name


def certify(model: Any, X: Any, y: Any = None, **options: Any) -> Certificates:
    """Certify each input with a model that ends in a smoothed classifier.

    Parameters
    ----------
    model : CostSensitiveSmoothedClassifier, TunedDecisionClassifier, Pipeline or fitted search
        Fitted. Radii are in the units of what reaches the smoothed classifier.
    X : array-like (n, ...) or Dataset
        Inputs, as ``model`` takes them.
    y : array-like (n,), default=None
        True labels; None: the row of the predicted class applies.
    **options
        Those of :meth:`CostSensitiveSmoothedClassifier.certify`.

    Returns
    -------
    certificates : Certificates
        Its ``model`` says which estimator certified, and behind which steps.

    Raises
    ------
    TypeError
        If nothing in ``model`` certifies.

    Examples
    --------
    >>> import smoothcs
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = smoothcs.CostSensitiveSmoothedClassifier(n_estimation=200, max_epochs=5)
    >>> model = make_pipeline(StandardScaler(), clf).fit(X, y)
    >>> smoothcs.certify(model, X[:2], y[:2]).model
    'CostSensitiveSmoothedClassifier behind StandardScaler'
    """
    clf, X, passed = _unwrapped(model, X, "certify_at")
    found: Certificates = clf.certify(X, y, **options)
    return replace(found, model=_describe(clf, passed))


def certify_at(model: Any, X: Any, y: Any = None, eps: Any = None, **options: Any) -> CertifiedAt:
    """Decide at given radii with a model that ends in a smoothed classifier.

    Parameters
    ----------
    model, X, y
        As in :func:`smoothcs.certify`.
    eps : float or array-like (n_eps,), default=None
        Radii, in the units of what reaches the smoothed classifier; None: its own.
    **options
        Those of :meth:`CostSensitiveSmoothedClassifier.certify_at`.

    Returns
    -------
    certified : CertifiedAt
        Its ``model`` says which estimator certified, and behind which steps.
    """
    clf, X, passed = _unwrapped(model, X, "certify_at")
    found: CertifiedAt = clf.certify_at(X, y, eps, **options)
    return replace(found, model=_describe(clf, passed))


def certify_portfolio(
    model: Any, X: Any, y: Any = None, eps: Any = None, **options: Any
) -> PortfolioCertificate:
    """Bound the mean cost under attack of a model that answers from one noisy copy.

    Parameters
    ----------
    model, X, y
        As in :func:`smoothcs.certify`.
    eps : float or array-like (n_eps,), default=None
        Attack radii, in the units of what reaches the smoothed classifier. If None, its own.
    **options
        Those of :meth:`CostSensitiveSmoothedClassifier.certify_portfolio`.

    Returns
    -------
    certificate : PortfolioCertificate
        Of :func:`smoothcs.predict_one_draw`.

    Raises
    ------
    TypeError
        If nothing in ``model`` answers from one noisy copy.
    """
    clf, X, _ = _unwrapped(model, X, "certify_portfolio")
    found: PortfolioCertificate = clf.certify_portfolio(X, y, eps, **options)
    return found


def predict_one_draw(model: Any, X: Any, costs: Any = None) -> NDArray[Any]:
    """Answer from one noisy copy of each input, with a model that ends in a smoothed classifier.

    Parameters
    ----------
    model, X
        As in :func:`smoothcs.certify`.
    costs : array-like (n, m, m), default=None
        Costs of each example, by which "min-cost" decides.

    Returns
    -------
    labels : ndarray (n,)
        See :meth:`CostSensitiveSmoothedClassifier.predict_one_draw`.
    """
    clf, X, _ = _unwrapped(model, X, "predict_one_draw")
    labels: NDArray[Any] = clf.predict_one_draw(X, costs)
    return labels


def certified_report(model: Any, X: Any, y: Any = None, **options: Any) -> dict[str, Any]:
    """Return every certified metric of a model that ends in a certifying estimator.

    Parameters
    ----------
    model, X, y
        As in :func:`smoothcs.certify`.
    **options
        Those of :meth:`CostSensitiveSmoothedClassifier.certified_report`.

    Returns
    -------
    report : dict
        With ``model``, which says what was reported on, and behind which steps.
    """
    clf, X, passed = _unwrapped(model, X)
    return {**clf.certified_report(X, y, **options), "model": _describe(clf, passed)}
