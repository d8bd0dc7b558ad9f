"""What the benchmarks read, on small files of the same form."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import published_logs
from benchmarks.money.data import load
from benchmarks.papers.methods import budget_of, candidates
from benchmarks.papers.tasks import find_task


def write_table(folder, name, rng, labels, n=120, **columns):
    rows = pd.DataFrame(
        {"amount": rng.lognormal(size=n), "kind": rng.choice(["a", "b"], n), **columns}
    )
    rows["label"] = np.resize(labels, n)
    rows["split"] = (np.arange(n) >= 0.7 * n).astype(int)
    (folder / "tabular").mkdir(exist_ok=True)
    rows.to_csv(folder / "tabular" / f"{name}.csv.gz", index=False)
    return rows


def test_costs_by_row_stay_with_their_rows(tmp_path, rng):
    amounts = {
        f"cost_{kind}": rng.uniform(1, 9, 120)
        for kind in ("false_positive", "false_negative", "true_positive", "true_negative")
    }
    rows = write_table(tmp_path, "churn_tv", rng, ["stays", "leaves", "stays"], **amounts)
    table = load("churn_tv", tmp_path, seed=3)
    assert table.classes == ("stays", "leaves")
    assert table.cost_matrix is None
    for part in (table.train, table.valid, table.test):
        assert list(part.X) == ["amount", "kind"]
        own = rows.loc[part.X.index]
        np.testing.assert_array_equal(part.y, own["label"] == "leaves")
        np.testing.assert_allclose(part.costs[:, 1, 0], own["cost_false_negative"])
        np.testing.assert_allclose(part.costs[:, 0, 1], own["cost_false_positive"])
        np.testing.assert_allclose(part.costs[:, 1, 1], own["cost_true_positive"])
        np.testing.assert_allclose(part.costs[:, 0, 0], own["cost_true_negative"])


def test_missing_costs_of_right_answers_are_zero(tmp_path, rng):
    given = {"cost_false_positive": 2.0, "cost_false_negative": 7.0}
    write_table(tmp_path, "give_me_credit", rng, ["pays", "default"], **given)
    costs = load("give_me_credit", tmp_path).test.costs
    np.testing.assert_array_equal(costs, np.broadcast_to([[0, 2], [7, 0]], (36, 2, 2)))


def test_credit_limits_set_the_costs_of_taiwan(tmp_path, rng):
    limits = rng.uniform(1e4, 1e6, 120)
    missing = np.where(np.arange(120) % 50 == 7, np.nan, 30.0 + np.arange(120))
    columns = {"LIMIT_BAL": limits, "SEX": rng.integers(1, 3, 120), "AGE": missing}
    write_table(tmp_path, "credit_default_tw", rng, ["pays", "default"], **columns)
    table = load("credit_default_tw", tmp_path)
    own = limits[table.valid.X.index]
    np.testing.assert_allclose(table.valid.costs[:, 1, 0], 0.375 * own)
    np.testing.assert_allclose(table.valid.costs[:, 0, 1], 0.1 * own)
    assert set(table.categorical) == {"kind", "SEX"}
    assert np.isfinite(table.test.X["AGE"]).all()
    assert np.isfinite(table.train.X["AGE"]).all()


def test_numeric_columns_are_in_standard_units_of_the_training_part(tmp_path, rng):
    rows = write_table(tmp_path, "german_credit", rng, ["good", "bad"], n=1000)
    table = load("german_credit", tmp_path)
    train = table.train.X["amount"]
    assert train.dtype == np.float32
    assert table.train.X["kind"].dtype == "category"
    assert abs(train.mean()) < 0.02
    assert abs(train.std() - 1) < 0.02
    # Moving the other rows must not move those of the training part.
    rows.loc[rows.index.difference(train.index), "amount"] *= 1000.0
    rows.to_csv(tmp_path / "tabular" / "german_credit.csv.gz", index=False)
    moved = load("german_credit", tmp_path)
    pd.testing.assert_series_equal(moved.train.X["amount"], train)
    assert moved.test.X["amount"].max() == 3


def test_unit_variance_holds_for_columns_of_few_values_too(tmp_path, rng):
    columns = {"loans": rng.integers(1, 5, 400), "none": np.zeros(400)}
    write_table(tmp_path, "german_credit", rng, ["good", "bad"], n=400, **columns)
    assert load("german_credit", tmp_path).train.X["loans"].std() > 1.5
    X = load("german_credit", tmp_path, unit_variance=True).train.X
    np.testing.assert_allclose(X[["amount", "loans"]].std(ddof=0), 1.0, atol=1e-5)
    assert X["none"].nunique() == 1


def test_parts_are_disjoint_and_drawn_by_the_seed(tmp_path, rng):
    write_table(tmp_path, "german_credit", rng, ["good", "bad", "good"], n=300)
    labels = ["normal", "probe", "dos", "u2r", "r2l"]
    write_table(tmp_path, "nsl_kdd", rng, labels, n=300, attack="x", difficulty=3)
    for name, fixed in (("german_credit", False), ("nsl_kdd", True)):
        tables = [load(name, tmp_path, seed=seed) for seed in (0, 0, 1)]
        rows = [[set(part.X.index) for part in (t.train, t.valid, t.test)] for t in tables]
        for train, valid, test in rows:
            assert not train & valid
            assert not train & test
            assert not valid & test
            assert (len(train), len(valid), len(test)) == (168, 42, 90)
        assert rows[0] == rows[1]
        assert rows[0][1] != rows[2][1]
        assert rows[0][2] == set(range(210, 300)), "seed 0 keeps the test rows of the file"
        assert (rows[0][2] == rows[2][2]) is fixed


def test_official_matrices(tmp_path, rng):
    write_table(tmp_path, "german_credit", rng, ["good", "bad"])
    np.testing.assert_array_equal(load("german_credit", tmp_path).cost_matrix, [[0, 1], [5, 0]])
    labels = ["normal", "probe", "dos", "u2r", "r2l"]
    write_table(tmp_path, "nsl_kdd", rng, labels, attack="x", difficulty=3, land=0)
    table = load("nsl_kdd", tmp_path)
    assert table.cost_matrix[table.classes.index("r2l"), table.classes.index("normal")] == 4
    assert table.cost_matrix[table.classes.index("normal"), table.classes.index("r2l")] == 2
    assert list(table.test.X) == ["amount", "kind", "land"]
    assert table.categorical == ["kind", "land"]


@pytest.mark.parametrize(
    ("columns", "labels", "message"),
    [
        ({}, ["good", "ugly"], "ugly"),
        ({"cost_false_positive": -1.0, "cost_false_negative": 1.0}, ["stays", "leaves"], "cost"),
        ({"cost_false_positive": np.nan, "cost_false_negative": 1.0}, ["stays", "leaves"], "cost"),
    ],
)
def test_bad_tables_are_refused(tmp_path, rng, columns, labels, message):
    name = "churn_tv" if columns else "german_credit"
    write_table(tmp_path, name, rng, labels, **columns)
    with pytest.raises(SystemExit, match=message):
        load(name, tmp_path)
    with pytest.raises(SystemExit, match="there are"):
        load("lottery", tmp_path)
    with pytest.raises(SystemExit, match="missing"):
        load("nsl_kdd", tmp_path)


def write_log(folder, method, y, predicted, radius, sigma=0.25):
    table = pd.DataFrame({"idx": np.arange(len(y)), "label": y, "predict": predicted})
    table = table.assign(radius=radius, correct=(predicted == y).astype(int), time="0:00:01")
    path = folder / f"cifar10_sigma{sigma}_{method}.tsv.gz"
    table.to_csv(path, sep="\t", index=False)


def test_logs_count_wrong_and_abstained_images_as_not_robust(tmp_path):
    y = np.repeat(np.arange(10), 4)
    predicted, radius = y.copy(), np.full(40, 0.5)
    predicted[0], radius[0] = 1, 0.9  # a plane called a car, whatever the radius
    predicted[1], radius[1] = -1, 0.9  # an abstention
    radius[2] = 0.25  # not greater than eps
    write_log(tmp_path, "cohen", y, predicted, radius)
    [log] = published_logs.read(tmp_path)[0.25]
    by_class = log.by_class(np.array([0.0, 0.25, 0.5]))
    np.testing.assert_array_equal(by_class[0], [0.5, 0.25, 0.0])
    np.testing.assert_array_equal(by_class[1:, 1], 1.0)
    np.testing.assert_allclose(log.average(np.array([0.0, 0.25])), [38 / 40, 37 / 40])


def test_logs_of_other_images_are_refused(tmp_path):
    y = np.arange(10)
    write_log(tmp_path, "cohen", y, y, np.ones(10))
    write_log(tmp_path, "macer", y[::-1].copy(), y, np.ones(10))
    with pytest.raises(SystemExit, match="labels differ"):
        published_logs.read(tmp_path)


def test_the_leader_of_the_average_need_not_lead_the_worst_class(tmp_path):
    y = np.repeat(np.arange(10), 4)
    write_log(tmp_path, "cohen", y, y, np.where(y == 3, 0.0, 0.9))
    write_log(tmp_path, "macer", y, y, np.where(np.arange(40) % 4 == 0, 0.0, 0.9))
    row = published_logs.leaders(published_logs.read(tmp_path))[1]
    assert row[2:8] == ["Gaussian", ".900", ".000", "MACER", ".750", ".750"]
    assert row[8].startswith("-1.00")
    assert row[9] == "9"


def test_rank_correlation_is_spearmans(rng):
    from scipy.stats import spearmanr

    a, b = rng.integers(0, 5, (2, 20, 7))
    expected = [spearmanr(x, y).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(published_logs.rank_correlation(a, b), expected, atol=1e-12)


def test_another_sigma_is_another_task_with_its_own_models_and_results():
    own, same, other = (find_task("fashion_mnist", "s-seed", sigma) for sigma in (None, 0.5, 0.25))
    assert (own.name, own.sigma, own.eps) == (same.name, same.sigma, same.eps)
    assert (own.name, own.sigma, own.eps) == ("s-seed", 0.5, 0.5)
    assert (other.name, other.sigma, other.eps) == ("s-seed-sigma-0.25", 0.25, 0.25)
    np.testing.assert_array_equal(other.costs, own.costs)
    budget = budget_of("cpu", "fashion_mnist")
    keys = {next(candidates("margin-cs", task, budget)).key for task in (own, same, other)}
    assert len(keys) == 2
