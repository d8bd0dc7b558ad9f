"""noise_scale is a change of units; what has scale 0 never moves."""

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from _small import FAST, estimator, wrap
from scipy.stats import binom
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, scale
from skorch.dataset import ValidSplit
from torch import nn

from smoothcs import CostSensitiveSmoothedClassifier, category_scale, plotting
from smoothcs.attacks import l2_pgd
from smoothcs.modules import MLP
from smoothcs.objectives import OBJECTIVES, SmoothAdv, SmoothMix
from smoothcs.votes import sample_votes

NORMAL = np.array([1.0, -2.0, 3.0, 0.5], dtype=np.float32)
SCALE = np.array([1.0, 0.25, 0.0, 4.0], dtype=np.float32)


def linear(normal=NORMAL):
    module = nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        module.weight[:] = torch.stack([torch.zeros(4), torch.from_numpy(normal)])
    return module


def points(distances, seed=0):
    """Return points whose distance from the boundary, in units of ``SCALE``, is as given."""
    X, slope = np.random.default_rng(seed).standard_normal((len(distances), 4)), NORMAL * SCALE
    wanted = np.asarray(distances) * np.linalg.norm(slope)
    X[:, 0] += (wanted - X @ NORMAL) / NORMAL[0]
    return X.astype(np.float32)


DISTANCES = np.array([-2.5, -1.5, -0.8, 0.7, 1.2, 2.0])


def test_radii_are_true_and_tight_in_the_units_of_the_noise():
    params = {"sigma": 1.0, "n_estimation": 40_000}
    c = wrap(linear(), 2, noise_scale=SCALE, **params).certify(points(DISTANCES))
    assert (c.radius_standard <= np.abs(DISTANCES)).all()
    np.testing.assert_allclose(c.radius_standard, np.abs(DISTANCES), rtol=0.06)
    # A change of units; what does not move is part of the module.
    free = SCALE > 0

    class Rescaled(nn.Module):
        def forward(self, z):
            slope = torch.from_numpy(NORMAL[free] * SCALE[free])
            rest = z[:, free.sum() :] @ torch.from_numpy(NORMAL[~free])
            total = z[:, : free.sum()] @ slope + rest
            return torch.stack([torch.zeros_like(total), total], 1)

    X = points(DISTANCES)
    Z = np.concatenate([X[:, free] / SCALE[free], X[:, ~free]], axis=1)
    same = wrap(Rescaled(), 2, noise_scale=[1, 1, 1, 0], **params).certify(Z)
    np.testing.assert_allclose(same.radius_standard, c.radius_standard, rtol=0.05)


def test_every_noisy_copy_has_the_values_of_scale_0_and_scaled_noise_elsewhere():
    seen = []

    def classifier(batch):
        seen.append(batch.copy())
        return np.zeros(len(batch), dtype=int)

    x = np.array([[1e-3, 12345.678, 0.1, -7.25]], dtype=np.float32)
    settings = {"n_classes": 2, "random_state": 0, "batch_size": 50}
    for scale_ in (SCALE, None):
        sample_votes(classifier, x, 200, 0.5, noise_scale=scale_, **settings)
    scaled, plain = np.split(np.stack([batch for batch in seen if len(batch) == 50]), 2)
    assert scaled.shape == (4, 50, 4)
    assert (scaled[..., SCALE == 0] == x[0, SCALE == 0]).all()
    expected = x[0] + SCALE * (plain - x[0])
    np.testing.assert_allclose(scaled, expected, rtol=1e-5, atol=1e-3)
    moved = (scaled - x[0]).reshape(-1, 4).std(axis=0)
    np.testing.assert_allclose(moved[[0, 3]], 0.5 * SCALE[[0, 3]], rtol=0.2)


# -- training ------------------------------------------------------------------------------------

CATEGORIES = np.array([0.1, 0.7, 1 / 3], dtype=np.float32)
SEEN = []


class Watching(nn.Module):
    """Keeps the third column of whatever it is shown."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x):
        SEEN.append(x.detach()[:, 1:3].numpy().copy())
        return self.layer(x)


def mixed_columns(n=64):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 4)).astype(np.float32)
    X[:, 2] = rng.choice(CATEGORIES, n)
    return X, (X[:, 0] + X[:, 2] > 0.4).astype(int)


@pytest.mark.parametrize(
    "objective",
    [*sorted(OBJECTIVES), SmoothAdv(warmup_epochs=0), SmoothMix(warmup_epochs=0, one_step=True)],
    ids=str,
)
def test_no_objective_moves_what_has_scale_0(objective):
    SEEN.clear()
    X, y = mixed_columns()
    CostSensitiveSmoothedClassifier(
        Watching,
        objective=objective,
        noise_scale=SCALE,
        max_epochs=2,
        net_params={"train_split": ValidSplit(4)},
        random_state=0,
        device="cpu",
        **FAST,
    ).fit(X, y)
    seen = np.concatenate(SEEN)
    assert len(seen) > 64
    assert np.isin(seen[:, 1], CATEGORIES).all()
    if objective not in ("ce", "cost-sensitive-ce"):
        assert not np.isin(seen[:, 0], X[:, 1]).all()


# -- names ---------------------------------------------------------------------------------------


def frame():
    rng = np.random.default_rng(0)
    X, y = mixed_columns()
    return pd.DataFrame(
        {"amount": X[:, 0], "age": X[:, 1], "job": rng.choice(list("abc"), len(X))}
    ), y


@pytest.mark.parametrize(
    ("noise_scale", "expected"),
    [
        ({"b": 0}, [1, 0, 1, 1]),
        ({"x*": 0.5}, [1, 1, 0.5, 0.5]),
        ({"*": 2, "x_1": 0}, [2, 2, 0, 2]),
        ({"x_1": 0, "*": 2}, [2, 2, 2, 2]),
        ({"x?[12]": 3, "a": 0.1}, [0.1, 1, 3, 3]),
        ({}, [1, 1, 1, 1]),
        ([0, 1, 2, 3], [0, 1, 2, 3]),
        (2.0, [2, 2, 2, 2]),
    ],
)
def test_scales_by_name_pattern_or_position(noise_scale, expected):
    X, y = mixed_columns()
    X = pd.DataFrame(X, columns=["a", "b", "x_1", "x_2"])
    c = estimator(noise_scale=noise_scale, cost_matrix=None).fit(X, y).certify(X[:3])
    np.testing.assert_array_equal(c.noise_scale, np.float32(expected))


def test_a_name_with_the_signs_of_a_pattern_is_a_name_first():
    X, y = mixed_columns()
    X = pd.DataFrame(X, columns=["job_*", "job_a", "age[years]", "?"])
    clf = estimator(noise_scale={"job_*": 0, "age[years]": 3, "?": 2}, cost_matrix=None)
    np.testing.assert_array_equal(clf.fit(X, y).certify(X[:2]).noise_scale, [0, 1, 3, 2])


BAD_SCALES = [
    ({"c": 0}, "noise_scale names the column 'c', which is none of"),
    ({"z*": 0}, r"noise_scale names the column 'z\*'"),
    ({"a": -1}, r"noise_scale\['a'\] must be a finite number"),
    ({"a": "big"}, r"noise_scale\['a'\] must be a number"),
    ({"a": np.nan}, r"noise_scale\['a'\] must be a finite number"),
    ({"*": 0}, "noise_scale is 0 everywhere"),
    ([0, 0, 0, 0], "noise_scale is 0 everywhere"),
    (0, "noise_scale is 0 everywhere"),
    ([1, 1], r"noise_scale must broadcast to the shape \(4,\)"),
    ([1, 1, -1, 1], "noise_scale must hold finite numbers >= 0"),
    ([1, 1, np.nan, 1], "noise_scale must hold finite numbers >= 0"),
    ([1, 1, np.inf, 1], "noise_scale must hold finite numbers >= 0"),
    ([1, 1, 1e39, 1], "noise_scale must hold finite numbers >= 0"),
    ("all", "noise_scale must hold numbers"),
]


@pytest.mark.parametrize(("noise_scale", "message"), BAD_SCALES)
def test_bad_scales_are_refused_and_nothing_changes(noise_scale, message):
    X, y = mixed_columns()
    X = pd.DataFrame(X, columns=list("abxy"))
    state = np.random.RandomState(0)
    clf = estimator(noise_scale=noise_scale, cost_matrix=None, random_state=state)
    before, drawn = dict(vars(clf)), state.get_state()[2]
    with pytest.raises((ValueError, TypeError), match=message):
        clf.fit(X, y)
    assert vars(clf) == before
    assert state.get_state()[2] == drawn
    fitted = estimator(cost_matrix=None).fit(X, y).set_params(noise_scale=noise_scale)
    for call in (fitted.predict, fitted.certify, fitted.plan_votes):
        with pytest.raises((ValueError, TypeError), match=message):
            call(X)
    if not isinstance(noise_scale, dict):
        x, label = torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64)
        with pytest.raises((ValueError, TypeError), match=message):
            l2_pgd(linear(), x, label, eps=1.0, sigma=1.0, noise_scale=noise_scale)


def test_names_need_names():
    with pytest.raises(ValueError, match="noise_scale by column name needs column names"):
        wrap(linear(), 2, noise_scale={"a": 0})
    X, y = mixed_columns()
    with pytest.raises(ValueError, match="noise_scale by column name needs column names"):
        estimator(noise_scale={"a": 0}, cost_matrix=None).fit(X, y)


# -- categories ----------------------------------------------------------------------------------

ONE_HOT = {"onehotencoder__job_a": 0, "onehotencoder__job_b": 0, "onehotencoder__job_c": 0}


def columns(encoder=None, remainder="passthrough"):
    encoder = OneHotEncoder(sparse_output=False) if encoder is None else encoder
    return make_column_transformer(
        (StandardScaler(), ["amount"]), (encoder, ["job"]), remainder=remainder
    )


PLAIN = {"standardscaler__amount": 1, **ONE_HOT, "remainder__age": 1}


@pytest.mark.parametrize(
    ("transformer", "expected"),
    [
        (columns(), PLAIN),
        (
            columns(OrdinalEncoder(), "drop"),
            {"standardscaler__amount": 1, "ordinalencoder__job": 0},
        ),
        (make_pipeline(columns(), StandardScaler(), VarianceThreshold()), PLAIN),
        (make_pipeline(columns(), "passthrough"), PLAIN),
        (
            make_column_transformer((columns(), ["amount", "age", "job"])),
            {f"columntransformer__{name}": value for name, value in PLAIN.items()},
        ),
        (
            columns(make_pipeline(SimpleImputer(strategy="most_frequent"), OrdinalEncoder())),
            {"standardscaler__amount": 1, "pipeline__job": 0, "remainder__age": 1},
        ),
        (
            make_column_transformer(
                (make_pipeline(SimpleImputer(), PCA(1)), make_column_selector("a")),
                remainder=OrdinalEncoder(),
            ),
            {"pipeline__pca0": 1, "remainder__job": 0},
        ),
        (
            make_pipeline(
                columns(OrdinalEncoder()).set_output(transform="pandas"),
                make_column_transformer(
                    (StandardScaler(), ["ordinalencoder__job"]), remainder="passthrough"
                ),
            ),
            {
                "standardscaler__ordinalencoder__job": 0,
                "remainder__standardscaler__amount": 1,
                "remainder__remainder__age": 1,
            },
        ),
        (
            make_union(columns(OrdinalEncoder(), "drop"), columns(remainder="drop")),
            {
                "columntransformer-1__standardscaler__amount": 1,
                "columntransformer-1__ordinalencoder__job": 0,
                "columntransformer-2__standardscaler__amount": 1,
                **{f"columntransformer-2__{name}": 0 for name in ONE_HOT},
            },
        ),
    ],
)
def test_categories_are_read_from_what_encodes_them(transformer, expected):
    X, _ = frame()
    found = category_scale(transformer.fit(X))
    assert found == expected
    assert len(found) == np.asarray(transformer.transform(X)).shape[1]


def test_what_mixes_categories_with_other_columns_is_refused():
    X, _ = frame()
    with pytest.raises(ValueError, match="PCA makes columns of categories and of other columns"):
        category_scale(make_pipeline(columns(), PCA(2)).fit(X))


def test_categories_by_pattern_in_a_pipeline_and_in_arrays():
    X, y = frame()
    fitted = columns().fit(X)
    clf = estimator(cost_matrix=None)
    by_name = clf.set_params(noise_scale={"onehotencoder__*": 0})
    pipeline = make_pipeline(columns().set_output(transform="pandas"), by_name).fit(X, y)
    found = pipeline[-1].certify(pipeline[:-1].transform(X[:5])).noise_scale
    np.testing.assert_array_equal(found, [1, 0, 0, 0, 1])
    np.testing.assert_array_equal(found, list(category_scale(fitted).values()))
    in_order = estimator(cost_matrix=None, noise_scale=list(category_scale(fitted).values()))
    assert (make_pipeline(columns(), in_order).fit(X, y).predict(X) == pipeline.predict(X)).all()


# -- what certificates say -----------------------------------------------------------------------


def test_certificates_show_the_noise_scale():
    mpl.use("agg")
    X = points(DISTANCES)
    clf = wrap(linear(), 2, noise_scale=SCALE)
    y = (DISTANCES > 0).astype(int)
    c = clf.certify(X, y)
    assert "noise on 3 of 4 entries" in repr(c)
    assert c.to_frame().attrs["noise_scale"] == SCALE.tolist()
    assert clf.certify_at(X, y, 0.1).to_frame().attrs["noise_scale"] == SCALE.tolist()
    for display in (plotting.RadiusDistributionDisplay, plotting.CertifiedAccuracyDisplay):
        label = display.from_certificates(c).ax_.get_xlabel()
        assert "units of noise_scale, 1 of 4 entries fixed" in label
        assert "(mm / noise_scale)" in display.from_certificates(c, units="mm").ax_.get_xlabel()
    c = clf.set_params(noise_scale=[1, 0, 0, 1]).certify(X, y)
    label = plotting.RadiusDistributionDisplay.from_certificates(c).ax_.get_xlabel()
    assert "units of X, 2 of 4 entries fixed" in label
    mpl.pyplot.close("all")


@pytest.mark.parametrize("value", [[1, -1, 0, 1], [0, 0, 0, 0], [np.nan, 1, 1, 1]])
def test_a_file_with_a_scale_that_is_none_is_refused(value, tmp_path):
    c = wrap(linear(), 2, noise_scale=SCALE).certify(points(DISTANCES))
    replace(c, noise_scale=np.float32(value)).save(tmp_path / "certificates.npz")
    with pytest.raises(ValueError, match="noise_scale does not hold scales >= 0"):
        type(c).load(tmp_path / "certificates.npz")


# -- attacks -------------------------------------------------------------------------------------


def flipped(module, X, label, noise_scale, sigma, n=4000):
    """Whether each point's vote goes against ``label`` beyond chance; own noise, own counting."""
    generator, wrong = torch.Generator().manual_seed(7), torch.zeros(len(X))
    with torch.no_grad():
        for _ in range(n // 100):
            noise = sigma * noise_scale * torch.randn(100, *X.shape, generator=generator)
            answers = module((X + noise).flatten(0, 1)).argmax(1).view(100, -1)
            wrong += (answers != label).sum(0)
    return binom.sf(wrong.numpy() - 1, n, 0.5) < 1e-6


def test_pgd_flips_nothing_inside_certified_radii_and_something_beyond():
    X, y = load_breast_cancer(return_X_y=True)
    X, sigma = scale(X).astype(np.float32), 0.5
    noise_scale = np.where(np.arange(30) % 3 == 0, 0, np.linspace(0.3, 2, 30)).astype(np.float32)
    clf = CostSensitiveSmoothedClassifier(
        MLP,
        objective="gaussian",
        sigma=sigma,
        noise_scale=noise_scale,
        max_epochs=15,
        lr=0.01,
        n_estimation=2000,
        random_state=0,
        device="cpu",
    ).fit(X[:300], y[:300])
    test = slice(300, 500)
    c = clf.certify(X[test], y[test])
    certified = np.flatnonzero(c.radius_standard > 0)
    assert len(certified) >= 150
    x, label = torch.from_numpy(X[test][certified]), torch.from_numpy(c.label[certified])
    module, law = clf.module_.requires_grad_(False), torch.from_numpy(noise_scale)

    def attacked(factor):
        eps = torch.from_numpy(factor * c.radius_standard[certified]).float()
        generator = torch.Generator().manual_seed(0)
        found = l2_pgd(
            module, x, label, eps=eps, sigma=sigma, noise_scale=law, n_steps=20, generator=generator
        )
        assert torch.equal(found[:, law == 0], x[:, law == 0])
        length = ((found - x)[:, law > 0] / law[law > 0]).norm(dim=1)
        assert (length <= eps * 1.001).all()
        assert (length >= eps * 0.9).all()  # the ball is used up to its border
        return flipped(module, found, label, law, sigma)

    assert not attacked(0.99).any()
    beyond = attacked(2.0).sum()
    print(f"{len(certified)} certified, {beyond} flipped at twice the radius")
    assert beyond >= 20


def test_bounds_and_scales_together():
    x, y = torch.rand(20, 4), torch.zeros(20).long()
    law = torch.from_numpy(SCALE)
    found = l2_pgd(linear(), x, y, eps=2.0, sigma=0.5, noise_scale=law, bounds=(0.0, 1.0))
    assert ((found >= 0) & (found <= 1)).all()
    assert torch.equal(found[:, 2], x[:, 2])
    assert not torch.equal(found, x)
