"""Random certificates against slow code written from the statements in the documentation.

The reference knows scipy.stats and plain loops, and nothing of the package but the blocker sets
that it is to judge. Everywhere two things are asked: never more than the reference certifies, and
nothing that it certifies is lost.
"""

import functools
import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import beta, binom, norm

from smoothcs.bounds.blockers import choose_blockers
from smoothcs.bounds.exact import exact_radius
from smoothcs.certification import certify_votes, radii_from_probabilities

# ---- random problems ---------------------------------------------------------------------------


def random_costs(rng, m):
    """Costs with empty rows, single targets, full rows; sometimes all or none."""
    share = rng.choice([0.0, 0.1, 0.3, 0.6, 1.0])
    costs = np.where(rng.random((m, m)) < share, rng.choice([0.5, 1, 10], size=(m, m)), 0.0)
    costs[rng.random(m) < 0.2] = 0.0
    np.fill_diagonal(costs, 0.0)
    return costs


def random_votes(rng, rows, m, n, spread):
    """Counts that sum to n: sure and doubtful, with zeros, ties and unanimous rows."""
    votes = np.empty((rows, m), dtype=np.int64)
    for i in range(rows):
        h = rng.dirichlet(np.full(m, spread))
        kind = rng.integers(8)
        if kind == 0:
            h = np.eye(m)[rng.integers(m)]
        elif kind == 1:  # two classes share what there is
            h = np.zeros(m)
            h[rng.choice(m, 2, replace=False)] = 0.5
        elif kind == 2:
            h = np.full(m, 1 / m)
        elif kind >= 5:  # a clear winner
            h = 0.2 * h + 0.8 * np.eye(m)[rng.integers(m)]
        votes[i] = rng.multinomial(n[i], h)
        if kind == 1 and n[i] % 2 == 0:
            votes[i] = n[i] // 2 * (h > 0)
    return votes


def random_problem(seed, rows, n_values, alphas):
    """The arguments of one call, and what the reference needs to know of them."""
    rng = np.random.default_rng(seed)
    m = int(rng.integers(2, 13))
    alpha, sigma = float(rng.choice(alphas)), float(rng.choice([0.12, 0.5, 1.0, 7.0]))
    n = np.full(rows, rng.choice(n_values))
    per_input = rng.random() < 0.3
    if per_input:
        n = rng.choice([0, *n_values], size=rows)
        n[0] = max(n_values)
    estimation = random_votes(rng, rows, m, n, 0.3)
    # Mostly of the same opinion, so that the class picked is seldom a loser.
    selection = np.minimum(estimation, rng.integers(0, 100, size=(rows, m)))
    selection[rng.random(rows) < 0.1] = 0
    ties = rng.random(rows) < 0.1
    selection[ties] = rng.integers(0, 2, size=(ties.sum(), m))
    costs = random_costs(rng, m)
    labels = np.array([f"class {k:02d}" for k in rng.permutation(m)])
    named = rng.random() < 0.3
    true = rng.integers(m, size=rows)
    # Labels that agree with the votes where certificates are worth something.
    agree = rng.random(rows) < 0.6
    true[agree] = estimation[agree].argmax(axis=1)
    with_y = rng.random() < 0.75
    arguments = {
        "selection": selection,
        "estimation": estimation,
        "sigma": sigma,
        "alpha": alpha,
        "cost_matrix": costs,
        "y": None if not with_y else labels[true] if named else true,
        "n": n if per_input else None,
        "classes": labels if named else None,
        "harmless_errors": str(rng.choice(["count", "zero"])) if with_y else "count",
        "simultaneous": bool(rng.random() < 0.5),
    }
    level = np.full(rows, alpha)
    if rng.random() < 0.2:
        level = arguments["level"] = alpha * rng.choice([1.0, 0.5, 0.03], size=rows)
    known = {
        "n": n,
        "level": level,
        "true": true if with_y else None,
        "labels": labels if named else np.arange(m),
    }
    return arguments, known


# ---- the reference: what may be published ------------------------------------------------------


def picked_class(selection):
    """The class of most votes, the first of them at a tie."""
    best = 0
    for k in range(1, len(selection)):
        if selection[k] > selection[best]:
            best = k
    return best


def publish(standard, group, pair, top, omega, wrong_and_dropped):
    """Apply the rules that all bounds share to radii of one input, which may be negative.

    ``pair`` has one entry a target of ``omega``. Returns abstained, standard, group, pair.
    """
    costly = top in omega
    positive = standard > 0
    if not costly and omega:
        positive = positive or group > 0 or any(r > 0 for r in pair.values())
    nothing = not positive or costly or wrong_and_dropped
    keep = lambda r: 0.0 if nothing or not r > 0 else r  # noqa: E731
    return (
        not positive,
        keep(standard),
        keep(group) if omega else math.nan,
        {j: keep(pair[j]) for j in omega},
    )


def rows_of(arguments, known):
    """Top class, targets and whether a harmless error is dropped, of every input."""
    costs, true = arguments["cost_matrix"], known["true"]
    for i, selection in enumerate(arguments["selection"]):
        top = picked_class(selection)
        row = top if true is None else true[i]
        omega = [j for j in range(len(costs)) if costs[row][j] > 0]
        dropped = arguments["harmless_errors"] == "zero" and top != row
        yield i, top, omega, dropped


# ---- closed forms ------------------------------------------------------------------------------


def lower_bound(k, n, a):
    """Clopper-Pearson: the level-a quantile of Beta(k, n - k + 1); 0 without successes."""
    with np.errstate(all="ignore"):
        return np.where(k == 0, 0.0, beta.ppf(a, k, n - k + 1))


def upper_bound(k, n, a):
    """Clopper-Pearson: the quantile of Beta(k + 1, n - k) above which a is left; 1 at k = n."""
    with np.errstate(all="ignore"):
        return np.where(k == n, 1.0, beta.isf(a, k + 1, n - k))


def closed_form_or_paper(arguments, known, bound):
    """Published radii of every input by the formulas; one list entry an input."""
    votes, sigma = arguments["estimation"], arguments["sigma"]
    n, level = known["n"][:, None], known["level"][:, None]
    size = np.array([[max(len(omega), 1)] for _, _, omega, _ in rows_of(arguments, known)])
    lower, lower_half = lower_bound(votes, n, level), lower_bound(votes, n, level / 2)
    # Quantiles: what bounds a probability bounds them as well.
    q_lower, q_half = norm.ppf(lower), norm.ppf(lower_half)
    q_rest = norm.ppf(1 - lower_half)
    q_upper_half = norm.ppf(upper_bound(votes, n, level / 2))
    q_upper_share = norm.ppf(upper_bound(votes, n, level / (2 * size)))
    out = []
    for i, top, omega, dropped in rows_of(arguments, known):
        if arguments["selection"][i].sum() == 0 or n[i] == 0:
            nothing = dict.fromkeys(omega, -math.inf)
            out.append(publish(-math.inf, -math.inf, nothing, top, omega, dropped))
            continue
        standard = sigma * q_lower[i, top]
        group, pair = math.inf, {}
        for j in omega:
            half, share = q_upper_half[i, j], q_upper_share[i, j]
            if bound == "closed-form":
                # No class has more than what the lower bound of the top class leaves.
                half, share = min(half, q_rest[i, top]), min(share, q_rest[i, top])
                group = min(group, sigma / 2 * (q_half[i, top] - half))
                mine = share if arguments["simultaneous"] else half
                pair[j] = sigma / 2 * (q_half[i, top] - mine)
            else:
                group = min(group, max(standard, sigma / 2 * (q_half[i, top] - share)))
                pair[j] = max(standard, sigma / 2 * (q_half[i, top] - half))
        out.append(publish(standard, group, pair, top, omega, dropped))
    return out


def compare(certificates, reference, arguments, known, tolerance):
    """Two-sided within the tolerance, one-sided within a hundredth of it; returns the count."""
    m = len(arguments["cost_matrix"])
    sigma = arguments["sigma"]
    for i, (abstained, standard, group, pair) in enumerate(reference):
        expected = [standard, group, *(pair.get(j, math.nan) for j in range(m))]
        got = [
            certificates.radius_standard[i],
            certificates.radius_group[i],
            *certificates.radius_pair[i],
        ]
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * sigma)
        for ours, theirs in zip(got, expected, strict=True):
            assert math.isnan(theirs) or ours <= theirs + 0.01 * tolerance * sigma
        assert certificates.abstained[i] == abstained
        top = picked_class(arguments["selection"][i])
        assert certificates.label[i] == known["labels"][top]
    return len(reference)


BATCHES, ROWS = 260, 40


@pytest.mark.parametrize("bound", ["closed-form", "paper"])
def test_twenty_thousand_random_closed_forms(bound):
    cases = positive = abstained = zeroed = without = 0
    for seed in range(BATCHES):
        arguments, known = random_problem(
            seed, ROWS, [30, 100, 1000, 100_000, 10**7], [0.3, 0.05, 0.001, 1e-7]
        )
        certificates = certify_votes(bound=bound, **arguments)
        reference = closed_form_or_paper(arguments, known, bound)
        cases += compare(certificates, reference, arguments, known, 1e-9)
        positive += sum(group > 0 for _, _, group, _ in reference)
        abstained += sum(r[0] for r in reference)
        zeroed += sum(not gave_up and group == 0 for gave_up, _, group, _ in reference)
        without += sum(math.isnan(group) for _, _, group, _ in reference)
    print(f"{bound}: {cases} cases, {positive} certified, {abstained} abstained, {zeroed} set to 0")
    assert cases == BATCHES * ROWS > 10_000
    assert min(positive, abstained, zeroed, without) > 300  # every rule was in play


def test_three_thousand_random_probabilities():
    for seed in range(100):
        rng = np.random.default_rng(seed)
        m = int(rng.integers(2, 13))
        h = rng.dirichlet(np.full(m, rng.choice([0.05, 0.3, 3.0])), size=30)
        h[0], h[1], h[2, :] = np.eye(m)[0], 0, 1 / m
        h[1, :2] = 0.5
        costs, true = random_costs(rng, m), rng.integers(m, size=30)
        harmless = str(rng.choice(["count", "zero"]))
        radii = radii_from_probabilities(
            h, sigma=2.0, cost_matrix=costs, y=true, harmless_errors=harmless
        )
        with np.errstate(invalid="ignore"):
            q = norm.ppf(h)
        for i in range(30):
            top = picked_class(h[i])
            omega = [j for j in range(m) if costs[true[i]][j] > 0]
            gap = {k: 2.0 / 2 * (q[i, top] - q[i, k]) for k in range(m) if k != top}
            pair = {j: gap.get(j, 0.0) for j in omega}
            group = min(pair.values(), default=math.inf)
            dropped = harmless == "zero" and top != true[i]
            _, standard, group, pair = publish(min(gap.values()), group, pair, top, omega, dropped)
            np.testing.assert_allclose(radii.standard[i], standard, rtol=0, atol=1e-9)
            np.testing.assert_allclose(radii.group[i], group, rtol=0, atol=1e-9)
            expected = [pair.get(j, math.nan) for j in range(m)]
            np.testing.assert_allclose(radii.pair[i], expected, rtol=0, atol=1e-9)


# ---- the exact test, by the statements of docs/theory_certificates.rst ---------------------------

GAMMA = 0.01
TOLERANCE = 1e-3  # by which the radii of the package are rounded down
LOSS = 0.95  # p-values above this share of the threshold need not be rejected


def wilson(k, n, z, sign):
    p = k / n
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return np.clip((p + z**2 / (2 * n) + sign * half) / (1 + z**2 / n), 0, 1)


def gap(P, q, s, eta):
    """Positive while a set of s classes with votes P blocks a target with votes q at eta."""
    return norm.cdf(norm.ppf(P) - eta) - s * norm.cdf(norm.ppf(q) + eta)


@functools.cache
def region(n_block, n_target, n, level, s):
    """k(n_target): outcomes with n_block >= k are at least as extreme as the one observed."""
    z = -norm.ppf(level)
    P, q = wilson(n_block, n, z, -1), wilson(n_target, n, z, 1)
    observed = brentq(lambda eta: gap(P, q, s, eta), -40, 40, xtol=1e-13, rtol=1e-14)
    counts = np.arange(n + 1)
    # M rises in n_block: what lies at or above the observed M is what blocks at it. A little less
    # is asked for, so that outcomes equal to the one observed belong to it whatever the rounding.
    eta = observed - 1e-10
    blocks = gap(wilson(counts, n, z, -1)[:, None], wilson(counts, n, z, 1), s, eta) >= 0
    return np.where(blocks.any(axis=0), blocks.argmax(axis=0), n + 1)


def p_value(n_block, n_target, n, level, s, eta):
    """Largest probability of the region on the boundary of the null hypothesis, on a fine grid.

    The target's votes lie in their Clopper-Pearson interval at level 1 - gamma * level.
    """
    if n_block == 0:
        return 1.0
    k = region(n_block, n_target, n, level, s)[:, None]
    count = np.arange(n + 1)[:, None]
    a = GAMMA * level / 2
    low, high = float(lower_bound(n_target, n, a)), float(upper_bound(n_target, n, a))
    best = 0.0
    for _ in range(2):
        p = np.linspace(low, high, 80)
        g = norm.cdf(eta + norm.ppf(np.minimum(1.0, s * norm.cdf(norm.ppf(p) + eta))))
        block = np.minimum(g, 1 - p)
        # The votes for others than the target fall in the set with this probability.
        share = np.clip(block / np.maximum(1 - p, 1e-300), 0, 1)
        total = (binom.pmf(count, n, p) * binom.sf(k - 1, n - count, share)).sum(axis=0)
        worst = int(total.argmax())
        best = max(best, float(total[worst]))
        low, high = p[max(worst - 1, 0)], p[min(worst + 1, len(p) - 1)]
    return best


def p_value_of_two(n_block, n, s, eta):
    """Chance of as many votes, where the set draws level with the only other class at eta."""
    level = brentq(lambda P: gap(P, 1 - P, s, eta), 0.0, 1.0, xtol=1e-15, rtol=1e-14)
    return binom.sf(n_block - 1, n, level)


def margin(n_block, n_target, n, level, s, two_classes, eta, share=1.0):
    """Negative where the reference rejects at eta, with its threshold multiplied by ``share``."""
    if two_classes:
        return p_value_of_two(n_block, n, s, eta) - share * level
    return p_value(n_block, n_target, n, level, s, eta) - share * (1 - GAMMA) * level


def certifies(*case_and_eta, share=1.0):
    return margin(*case_and_eta, share) <= 0


def is_the_radius(radius, case):
    """Whether a radius is certified by the reference, and one a little larger is not.

    The package rejects only what its upper bounds prove, so it may lose what lies within 5 % of
    the threshold; what it certifies must be below the threshold itself.
    """
    sound = radius <= 0 or certifies(*case, radius, share=1 + 1e-9)
    largest = not certifies(*case, radius + 1.2 * TOLERANCE, share=LOSS)
    return sound, largest


def random_exact_case(rng):
    n = int(rng.integers(12, 90))
    s = float(rng.choice([1.0, 1.0, 2.0, 3.0, 0.4, 2.5]))
    level = float(rng.choice([0.2, 0.05, 0.01, 0.001]))
    q = rng.uniform(0, 0.25) * rng.integers(2)
    P = rng.uniform(0.5, 1) * (1 - q)
    n_block, n_target, _ = rng.multinomial(n, [P, q, max(1 - P - q, 0)])
    return int(n_block), int(n_target), n, level, s, False


def test_exact_radii_are_those_of_the_definition():
    rng = np.random.default_rng(0)
    cases = [random_exact_case(rng) for _ in range(500)]
    n_block, n_target, n, level, s, _ = (np.array(column) for column in zip(*cases, strict=True))
    radii = exact_radius(n_block, n_target, n, level, s, tol=TOLERANCE)
    for case, radius in zip(cases, radii, strict=True):
        assert is_the_radius(radius, case) == (True, True), (case, radius)
    assert (radii > 0).sum() > 200
    assert (radii == 0).sum() > 20


def test_two_classes_and_a_single_target_by_root_finding():
    """The radius itself: the root of the p-value, found by brentq."""
    rng = np.random.default_rng(1)
    cases = 0
    while cases < 30:
        n = int(rng.integers(20, 60))
        n_top = int(rng.integers(n // 2, n + 1))
        level = float(rng.choice([0.05, 0.001]))
        third = cases % 2  # two classes, or a harmless third one
        votes = [n_top, n - n_top, 0] if not third else [n_top, (n - n_top) // 2, -1]
        votes[2] = n - votes[0] - votes[1]
        votes = votes[: 2 + third]
        case = (votes[0], votes[1], n, level, 1.0, not third)

        def excess(eta, case=case):
            return margin(*case, eta)

        found = 0.0 if excess(0.0) > 0 else brentq(excess, 0, 5, xtol=1e-6)
        costs = np.zeros((2 + third, 2 + third))
        costs[0, 1] = 1
        certificates = certify_votes(
            [np.array(votes)], [votes], sigma=1.0, alpha=level, cost_matrix=costs, y=[0],
            bound="exact", blockers=False,
        )  # fmt: skip
        for radius in (certificates.radius_group[0], certificates.radius_pair[0, 1]):
            assert radius <= found + 1e-6
            assert radius >= found - 0.01
            assert radius >= found - 1.2 * TOLERANCE or certifies(*case, found, share=LOSS)
        cases += 1


def exact_claims(i, top, omega, arguments, known, blockers):
    """The cases (n_block, ..., two_classes) whose least radius each claim is."""
    votes, n, alpha = arguments["estimation"][i], int(known["n"][i]), float(known["level"][i])
    m = len(votes)
    alone = {j: ([top], 1.0) for j in range(m)}
    group_sets = pair_sets = alone
    if blockers is not False:
        size = 3 if blockers is True else blockers
        selection = arguments["selection"][i][None]
        mask = np.isin(np.arange(m), omega)[None]
        group_sets, pair_sets = {}, {}
        for sets, allowed in ((group_sets, ~mask), (pair_sets, None)):
            chosen = choose_blockers(selection, mask, allowed, max_size=size)
            for j in omega:
                members = [int(k) for k in chosen.index[0, j] if k >= 0]
                # Any set will do that was chosen without the estimation votes, of other classes.
                assert j not in members
                assert len(set(members)) == len(members) <= size
                assert allowed is None or not set(members) & set(omega)
                sets[j] = members, float(len(members))

    def case(sets, j, level):
        members, s = sets[j]
        return int(sum(votes[k] for k in members)), int(votes[j]), n, level, s, m == 2

    share = alpha / len(omega) if arguments["simultaneous"] and omega else alpha
    return (
        [case(alone, j, alpha) for j in range(m) if j != top],
        [case(group_sets, j, alpha) for j in omega],
        {j: [case(pair_sets, j, share)] for j in omega},
    )


def least_is_the_radius(radius, cases):
    """As `is_the_radius`, for the least radius of several cases."""
    verdicts = [is_the_radius(radius, case) for case in cases]
    return all(sound for sound, _ in verdicts), any(largest for _, largest in verdicts)


def shown_correct(i, arguments, known, share):
    """Whether each rival of the true class is rejected at eta = 0, each at the full level."""
    votes, y = arguments["estimation"][i], int(known["true"][i])
    n, level = int(known["n"][i]), float(known["level"][i])
    return all(
        certifies(int(votes[y]), int(votes[k]), n, level, 1.0, len(votes) == 2, 0.0, share=share)
        for k in range(len(votes))
        if k != y
    )


@pytest.mark.parametrize(
    ("blockers", "also_correct"), [(False, False), (True, False), (2, False), (True, True)]
)
def test_exact_certificates_are_those_of_the_definition(blockers, also_correct):
    inputs = claims = positive = 0
    for seed in range(16):
        arguments, known = random_problem(1000 + seed, 8, [20, 40, 60], [0.2, 0.05, 0.01])
        if also_correct and known["true"] is None:
            continue
        c = certify_votes(bound="exact", blockers=blockers, also_correct=also_correct, **arguments)
        sigma = arguments["sigma"]
        for i, top, omega, dropped in rows_of(arguments, known):
            inputs += 1
            own = np.isin(np.arange(len(arguments["cost_matrix"])), omega)
            np.testing.assert_array_equal(np.isnan(c.radius_pair[i]), ~own)
            assert math.isnan(c.radius_group[i]) == (not omega)
            got = [c.radius_standard[i], c.radius_group[i], *c.radius_pair[i]]
            void = arguments["selection"][i].sum() == 0 or known["n"][i] == 0
            if also_correct and not void:
                sure = shown_correct(i, arguments, known, LOSS)
                if not sure and shown_correct(i, arguments, known, 1.0):
                    continue  # within 5 % of the threshold: either answer will do
                void = not sure
            if void or dropped or top in omega:
                assert np.nanmax(got) == 0
                assert c.abstained[i] or not void
                continue
            standard, group, pair = exact_claims(i, top, omega, arguments, known, blockers)
            checks = [(c.radius_standard[i], standard)]
            checks += [(c.radius_group[i], group)] if omega else []
            checks += [(c.radius_pair[i, j], pair[j]) for j in omega]
            for radius, cases in checks:
                assert least_is_the_radius(radius / sigma, cases) == (True, True), (seed, i, cases)
                claims += 1
                positive += radius > 0
            assert c.abstained[i] == (np.nanmax(got) == 0)
    print(f"exact, blockers={blockers}: {inputs} inputs, {claims} claims, {positive} positive")
    assert claims > 60
    assert positive > 50
