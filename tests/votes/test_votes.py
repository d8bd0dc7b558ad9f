"""Votes are the counts of the classifier's labels under keyed noise, however they are batched."""

import copy
import pickle
import shutil
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from smoothcs import CostSensitiveSmoothedClassifier, certify_votes
from smoothcs.votes import VotesInterrupted, _run, sample_votes
from smoothcs.votes._forward import Forward
from smoothcs.votes._progress import Progress
from smoothcs.votes._source import SameInputs
from smoothcs.votes._worker import Worker
from smoothcs.votes.noise import NoiseStream, block_draws, content_digest, make_key

SHAPE = (1, 12, 12)


class Conv(nn.Module):
    """A small net with batch norm and dropout."""

    def __init__(self, n_classes=5, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.net = nn.Sequential(
            nn.Conv2d(1, 8, 3, 2, 1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Conv2d(8, 16, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * 9, n_classes),
        )

    def forward(self, x):
        return self.net(x)


class Linear(nn.Module):
    """Logits (0, w x + b): the votes for class 1 are binomial with a known probability."""

    def __init__(self, weight, bias=0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.as_tensor(weight, dtype=torch.float32))
        self.bias = bias

    def forward(self, x):
        score = x.flatten(1) @ self.weight + self.bias
        return torch.stack([torch.zeros_like(score), score], dim=1)


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).random((6, *SHAPE), dtype=np.float32)


@pytest.fixture(scope="module")
def reference(X):
    return sample_votes(Conv(), X, 700, 1.0, random_state=0)


def plain_loop(module, X, n, sigma, *, purpose="estimation", seed=0):
    """Votes by the letter: every draw of the stream, one input at a time."""
    module = copy.deepcopy(module).eval()
    rows = []
    for x in torch.as_tensor(X):
        stream = NoiseStream(make_key(seed), content_digest(x.numpy()), purpose, tuple(x.shape))
        blocks = -(-n // block_draws(x.numel()))
        noise = torch.cat([stream.block(i, sigma) for i in range(blocks)])[:n]
        with torch.no_grad():
            labels = module(x + noise.view(n, *x.shape)).argmax(dim=1)
        rows.append(np.bincount(labels.numpy(), minlength=5))
    return np.array(rows)


# What votes are


def test_votes_are_those_of_a_plain_loop_over_the_stream(X, reference):
    np.testing.assert_array_equal(reference, plain_loop(Conv(), X, 700, 1.0))
    assert reference.dtype == np.int64
    assert (np.count_nonzero(reference, axis=1) > 1).any()  # the example is not a constant


def test_votes_of_a_linear_module_have_the_exact_probability():
    rng = np.random.default_rng(1)
    weight = rng.normal(size=7)
    X = rng.normal(size=(40, 7)).astype(np.float32)
    n, sigma = 4000, 0.7
    votes = sample_votes(Linear(weight, 0.3), X, n, sigma, random_state=1)
    p = stats.norm.cdf((X @ weight + 0.3) / (sigma * np.linalg.norm(weight)))
    pvalues = [stats.binomtest(int(k), n, q).pvalue for k, q in zip(votes[:, 1], p, strict=True)]
    assert min(pvalues) > 1e-4
    z = (votes[:, 1] - n * p) / np.sqrt(n * p * (1 - p))
    assert stats.kstest(z, "norm").pvalue > 1e-3


def test_ties_go_to_the_lowest_class(X):
    votes = sample_votes(lambda x: np.tile([1.0, 3.0, 3.0], (len(x), 1)), X, 50, 1.0)
    np.testing.assert_array_equal(votes, np.tile([0, 50, 0], (len(X), 1)))


def test_a_callable_receives_float32_arrays_and_may_return_labels(X):
    seen = []

    def labels(batch):
        seen.append((type(batch), batch.dtype, batch.shape[1:]))
        return (batch.mean(axis=(1, 2, 3)) > 0.5).astype(np.uint8)

    votes = sample_votes(labels, X, 300, 1.0, n_classes=2, random_state=0)
    logits = sample_votes(
        lambda b: np.eye(2)[(b.mean(axis=(1, 2, 3)) > 0.5).astype(int)], X, 300, 1.0, random_state=0
    )
    np.testing.assert_array_equal(votes, logits)
    assert set(seen) == {(np.ndarray, np.dtype("float32"), SHAPE)}


def test_a_module_may_return_labels(X, reference):
    class Labels(Conv):
        def forward(self, x):
            return super().forward(x).argmax(dim=1)

    votes = sample_votes(Labels(), X, 700, 1.0, n_classes=5, random_state=0)
    np.testing.assert_array_equal(votes, reference)


class Spy(nn.Module):
    """Keeps the batches that it sees."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __deepcopy__(self, memo):
        return self

    def forward(self, x):
        self.seen.append(x.clone())
        return torch.zeros(len(x), 2, dtype=x.dtype)


def test_noise_is_added_in_float32_and_then_cast(X):
    spy = Spy()
    sample_votes(spy, X[:1], 64, 0.5, precision="bfloat16", random_state=0, batch_size=64)
    stream = NoiseStream(make_key(0), content_digest(X[0]), "estimation", SHAPE)
    expected = (torch.as_tensor(X[0]) + stream.block(0, 0.5).view(-1, *SHAPE)[:64]).bfloat16()
    assert spy.seen[-1].dtype == torch.bfloat16
    assert torch.equal(spy.seen[-1], expected)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_runs_the_module_in_it(X, precision):
    reference = sample_votes(Conv(), X, 7000, 1.0, random_state=0)
    votes = sample_votes(Conv(), X, 7000, 1.0, precision=precision, random_state=0)
    assert (votes.sum(axis=1) == 7000).all()
    # The same noise, so that only rows near a boundary differ: for float16 one in a thousand.
    assert 0 < np.abs(votes - reference).sum() < 0.05 * reference.sum()


def test_tensors_arrays_and_data_sets_give_the_same_votes(X, reference):
    data_set = torch.utils.data.TensorDataset(torch.as_tensor(X), torch.arange(len(X)))
    for other in (torch.as_tensor(X), X.astype(np.float64), data_set, list(X)):
        np.testing.assert_array_equal(
            sample_votes(Conv(), other, 700, 1.0, random_state=0), reference
        )


def test_a_data_set_is_asked_for_items_by_python_integers(X, reference):
    class Strict(torch.utils.data.Dataset):
        def __len__(self):
            return len(X)

        def __getitem__(self, index):
            # torch.Generator.manual_seed, file formats and databases refuse NumPy's integers.
            if type(index) is not int:
                raise TypeError(f"an integer is required; got {type(index).__name__}")
            return torch.as_tensor(X[index])

    votes = sample_votes(Conv(), Strict(), 700, 1.0, random_state=0)
    np.testing.assert_array_equal(votes, reference)


def test_no_input_gives_no_votes():
    assert sample_votes(Conv(), np.zeros((0, *SHAPE)), 10, 1.0, n_classes=5).shape == (0, 5)
    with pytest.raises(ValueError, match="n_classes must be given"):
        sample_votes(Conv(), np.zeros((0, *SHAPE)), 10, 1.0)


# What votes do not depend on


@pytest.mark.parametrize("batch_size", [1, 7, 64, 100, 1024])
def test_batch_size_does_not_change_votes(X, reference, batch_size):
    n = 700 if batch_size > 1 else 40
    expected = reference if n == 700 else plain_loop(Conv(), X, n, 1.0)
    votes = sample_votes(Conv(), X, n, 1.0, batch_size=batch_size, random_state=0)
    np.testing.assert_array_equal(votes, expected)


@settings(max_examples=15)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=8),
    st.integers(1, 300),
    st.integers(5, 300),
)
def test_order_subset_and_repetition_do_not_change_votes(rows, n, batch_size):
    X = np.random.default_rng(0).random((6, *SHAPE), dtype=np.float32)
    every = sample_votes(Conv(), X, n, 1.0, random_state=3)
    some = sample_votes(Conv(), X[rows], n, 1.0, random_state=3, batch_size=batch_size)
    np.testing.assert_array_equal(some, every[rows])


def test_votes_begin_with_those_of_a_smaller_n():
    rows = []

    def remember(batch):
        rows.append(batch[:, 0].copy())
        return np.zeros(len(batch), dtype=int)

    X = np.array([[0.25, 1.0]])
    drawn = {}
    for n in (10, 128, 130, 1000):
        rows.clear()
        sample_votes(remember, X, n, 1.0, n_classes=2, random_state=0, batch_size=50)
        drawn[n] = np.concatenate(rows[1:])[:n]  # without the probe and the padding
    for n in (10, 128, 130):
        np.testing.assert_array_equal(drawn[n], drawn[1000][:n])


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_do_not_change_votes(X, reference, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        votes = sample_votes(Conv(), X, 700, 1.0, batch_size=64, random_state=0)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(votes, reference)


def test_joblib_shards_do_not_change_votes(X, reference):
    votes = sample_votes(Conv(), X, 700, 1.0, random_state=0, n_jobs=2)
    np.testing.assert_array_equal(votes, reference)
    # A fresh key is drawn once for all shards: equal inputs have equal votes.
    twice = sample_votes(Conv(), np.repeat(X[:1], 4, axis=0), 700, 1.0, n_jobs=2)
    assert (twice == twice[0]).all()


def test_memory_layout_of_the_input_does_not_change_votes(X, reference):
    reverse = np.ascontiguousarray(X[::-1])[::-1]
    votes = sample_votes(Conv(), np.asfortranarray(reverse), 700, 1.0, random_state=0)
    np.testing.assert_array_equal(votes, reference)


# What votes do depend on


def test_keys_and_purposes_give_other_votes(X, reference):
    for kwargs in (
        {"random_state": 1},
        {"random_state": None},
        {"random_state": 0, "purpose": "selection"},
        {"random_state": 0, "purpose": "prediction"},
    ):
        assert (sample_votes(Conv(), X, 700, 1.0, **kwargs) != reference).any()


def test_a_key_drawn_once_can_be_used_again(X):
    key = make_key(None)
    votes = [sample_votes(Conv(), X, 200, 1.0, random_state=key) for _ in range(2)]
    np.testing.assert_array_equal(*votes)


# The caller's module


class Fails(Conv):
    def forward(self, x):
        if len(x) > 2:  # not in the probe
            raise RuntimeError("a fault of the module")
        return super().forward(x)


def test_the_module_is_left_as_it_was_even_after_an_error(X):
    for module, precision in ((Conv(), "float32"), (Conv(), "bfloat16"), (Fails(), "float32")):
        module.train()
        module.net[1].eval()
        before = pickle.dumps(module)
        storage = module.net[0].weight.data_ptr()
        if isinstance(module, Fails):
            with pytest.raises(RuntimeError, match="a fault of the module"):
                sample_votes(module, X, 20, 1.0, precision=precision)
        else:
            sample_votes(module, X, 20, 1.0, precision=precision)
        assert pickle.dumps(module) == before
        assert module.net[0].weight.data_ptr() == storage
        assert module.net[0].weight.requires_grad


def test_a_module_that_views_its_input_runs_in_contiguous_memory(X):
    class Views(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.conv = nn.Conv2d(1, 4, 3)
            self.out = nn.Linear(400, 5)

        def forward(self, x):
            x = self.conv(x)
            return self.out(x.view(len(x), -1))

    votes = sample_votes(Views(), X, 200, 1.0, random_state=0)
    np.testing.assert_array_equal(votes, plain_loop(Views(), X, 200, 1.0))


def test_a_module_that_keeps_what_it_computes_may_run_in_threads(X):
    class Remembers(Conv):
        def forward(self, x):
            self.features = self.net[:-1](x)
            return self.net[-1](self.features)

    module = Remembers().eval()
    module(torch.as_tensor(X))  # leaves a tensor with a history, which deepcopy refuses
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        votes = sample_votes(module, X, 700, 1.0, batch_size=20, random_state=0)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(votes, plain_loop(Conv(), X, 700, 1.0))


def test_a_weight_normalised_module_can_vote(X):
    module = Conv()
    module.net[-1] = weight_norm(module.net[-1])
    votes = sample_votes(module, X, 100, 1.0)
    assert (votes.sum(axis=1) == 100).all()


def test_a_module_that_overwrites_its_input_does_not_harm_the_next_batch(X):
    class Overwrites(Conv):
        def forward(self, x):
            result = super().forward(x)
            x.mul_(1e30)
            return result

    votes = sample_votes(Overwrites(), X[:3], 333, 1.0, batch_size=64, random_state=0)
    np.testing.assert_array_equal(votes, plain_loop(Conv(), X[:3], 333, 1.0))


# Batches and memory


@pytest.mark.parametrize("batch_size", [10, 64, 250])
def test_all_batches_have_one_shape_and_only_the_last_is_padded(X, batch_size):
    sizes = []

    def count(batch):
        sizes.append(len(batch))
        return np.zeros(len(batch), dtype=int)

    sample_votes(count, X, 130, 1.0, n_classes=2, batch_size=batch_size)
    assert set(sizes[1:]) == {batch_size}
    assert len(sizes) - 1 == -(-len(X) * 130 // batch_size)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
def test_running_out_of_memory_halves_the_batch_and_loses_no_vote(X, error):
    sizes = []

    def labels(batch):
        sizes.append(len(batch))
        if len(batch) > 30:
            raise error("CUDA out of memory" if error is not MemoryError else "")
        return (batch.mean(axis=(1, 2, 3)) > 0.5).astype(int)

    votes = sample_votes(labels, X, 300, 1.0, n_classes=2, batch_size=200, random_state=0)
    assert max(sizes[4:]) == 25  # 200, 100, 50 failed
    assert sizes.count(200) == 1
    expected = sample_votes(
        lambda b: (b.mean(axis=(1, 2, 3)) > 0.5).astype(int),
        X,
        300,
        1.0,
        n_classes=2,
        random_state=0,
    )
    np.testing.assert_array_equal(votes, expected)


def test_running_out_of_memory_with_one_row_is_an_error(X):
    calls = []

    def labels(batch):
        calls.append(len(batch))
        if len(calls) > 1:  # not the probe
            raise MemoryError
        return np.zeros(len(batch), dtype=int)

    with pytest.raises(MemoryError):
        sample_votes(labels, X, 300, 1.0, n_classes=2, batch_size=8)
    assert calls == [2, 8, 4, 2, 1]


MEMORY = """
import re
import numpy as np
import torch
from smoothcs.votes import sample_votes

torch.set_num_threads(1)
module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(512, 3))
X = np.zeros((2, 512), dtype=np.float32)


def peak():
    # MiB; ru_maxrss would begin with the peak of the parent process.
    return int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) / 1024


class Generated(torch.utils.data.Dataset):
    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return torch.full((2**20,), float(index)), index


class Sign(torch.nn.Module):
    def forward(self, x):
        return torch.stack([x[:, 0], -x[:, 0]], dim=1)


sample_votes(module, X, 1_000, 1.0)
print(peak())
sample_votes(module, X, 125_000, 1.0)
print(peak())
sample_votes(Sign(), Generated(50), 1, 1.0)
print(peak())
sample_votes(Sign(), Generated(250), 1, 1.0)
print(peak())
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads memory as Linux tells it")
def test_memory_depends_neither_on_n_nor_on_the_size_of_the_data():
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    few, many, small_data, large_data = map(float, run.stdout.split())
    assert many - few < 16  # 250,000 noisy inputs of 512 numbers would be 488 MiB
    assert large_data - small_data < 64  # the data grow by 800 MiB


def test_the_measured_batch_size_is_one_of_the_fastest_and_measured_once(X, monkeypatch):
    measured = []

    def seconds(forward, batch):
        measured.append(len(batch))
        # 64 rows and more cost the same by row, fewer cost more.
        return len(batch) * (1.0 if len(batch) >= 64 else 2.0)

    monkeypatch.setattr(Forward, "_time", seconds)
    monkeypatch.setattr(_run, "_WORTH_MEASURING", 0)
    module, sizes = Spy(), []
    for _ in range(2):
        sample_votes(module, np.zeros((1, 2**10)), 600, 1.0)
        sizes += [len(x) for x in module.seen[1:]]
    assert sorted(set(measured)) == [64, 128, 256, 512, 1024]
    assert len(measured) == 4 * 5
    assert set(sizes) - {2} == {64}


def test_a_batch_size_that_does_not_fit_is_not_chosen(X, monkeypatch):
    def seconds(forward, batch):
        if len(batch) > 128:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 1.0

    monkeypatch.setattr(Forward, "_time", seconds)
    forward = Forward(Conv(), SHAPE, device=torch.device("cpu"))
    assert forward.best_batch_size(256) == 128
    assert forward.best_batch_size(4096) == 1


def test_measuring_the_batch_size_of_large_inputs_tries_no_larger_batches(monkeypatch):
    measured = set()

    def seconds(forward, batch):
        measured.add(len(batch))
        return 1.0

    monkeypatch.setattr(Forward, "_time", seconds)
    forward = Forward(Linear(torch.ones(2**20)), (2**20,), device=torch.device("cpu"))
    forward.best_batch_size(8)  # of 4 MiB each
    assert measured == {2, 4, 8}


def test_a_list_of_devices_spreads_the_inputs(X, reference):
    votes = sample_votes(
        Conv(), X, 700, 1.0, device=["cpu", torch.device("cpu")], batch_size=64, random_state=0
    )
    np.testing.assert_array_equal(votes, reference)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_compiled_module_gives_the_same_votes_also_after_its_weights_change():
    if shutil.which("g++") is None:
        pytest.skip("needs a C++ compiler")
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    X = np.random.default_rng(0).normal(size=(3, 4))
    kwargs = {"random_state": 0, "batch_size": 64}
    for _ in range(2):
        compiled = sample_votes(module, X, 500, 1.0, compile=True, **kwargs)
        plain = sample_votes(module, X, 500, 1.0, **kwargs)
        assert np.abs(compiled - plain).sum() <= 2  # fused operations may differ in the last bit
        with torch.no_grad():
            module[2].weight.neg_()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_any_number_of_modules_of_one_class_can_be_compiled():
    if shutil.which("g++") is None:
        pytest.skip("needs a C++ compiler")
    X = np.random.default_rng(0).normal(size=(3, 4))
    kwargs = {"random_state": 0, "batch_size": 64}
    modules = [Linear(torch.randn(4, generator=torch.Generator().manual_seed(i))) for i in range(4)]
    # With fewer than there are modules, Dynamo raises instead of running them uncompiled.
    limits = {"recompile_limit": 2, "fail_on_recompile_limit_hit": True}
    with torch._dynamo.config.patch(limits):
        for module in modules:
            compiled = sample_votes(module, X, 500, 1.0, compile=True, **kwargs)
            plain = sample_votes(module, X, 500, 1.0, **kwargs)
            assert np.abs(compiled - plain).sum() <= 2  # the last bit may differ


# A number of votes that depends on the votes


def test_a_schedule_sees_the_first_draws_of_every_input(X):
    asked = {i: [] for i in range(len(X))}
    looks = [100, 150, 225, 338]

    def wanted(index, counts):
        asked[index].append(counts)
        done = counts.sum()
        # Input i is finished at its look number i.
        return next((n for n in looks[: index + 1] if n > done), done)

    def schedule(index, counts):
        return np.array([wanted(*one) for one in zip(index, counts, strict=True)])

    votes = sample_votes(Conv(), X[:4], schedule, 1.0, batch_size=64, random_state=0)
    for index in range(4):
        for look, counts in zip([0, *looks], asked[index], strict=False):
            expected = plain_loop(Conv(), X[index : index + 1], look, 1.0)[0] if look else 0
            np.testing.assert_array_equal(counts, np.zeros(5, dtype=int) + expected)
        np.testing.assert_array_equal(votes[index], asked[index][-1])
    np.testing.assert_array_equal(votes.sum(axis=1), looks)


def test_a_schedule_may_want_no_vote(X):
    votes = sample_votes(Conv(), X, lambda i, counts: np.where(i == 2, 50, 0), 1.0)
    np.testing.assert_array_equal(votes.sum(axis=1), [0, 0, 50, 0, 0, 0])


def until_half(index, counts):
    """Three looks, or fewer once a class has most votes."""
    n = counts.sum(axis=1)
    finished = (n >= 400) | ((n > 0) & (counts.max(axis=1) > 0.8 * n))
    return np.where(finished, n, n + 130)


def test_a_schedule_gives_the_same_votes_in_threads_and_shards(X):
    expected = sample_votes(Conv(), X, until_half, 1.0, random_state=0)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        threads = sample_votes(Conv(), X, until_half, 1.0, random_state=0, batch_size=32)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(threads, expected)
    shards = sample_votes(Conv(), X, until_half, 1.0, random_state=0, n_jobs=2)
    np.testing.assert_array_equal(shards, expected)


# Interruption


def test_an_interrupted_run_keeps_finished_inputs_and_zeros_for_the_others(X):
    calls = []

    def labels(batch):
        calls.append(1)
        if len(calls) > 11:
            raise KeyboardInterrupt
        return np.ones(len(batch), dtype=int)

    with pytest.raises(VotesInterrupted, match="3 of 6 inputs") as stop:
        sample_votes(labels, X, 150, 1.0, n_classes=2, batch_size=50)
    np.testing.assert_array_equal(stop.value.finished, [True] * 3 + [False] * 3)
    np.testing.assert_array_equal(stop.value.votes, [[0, 150]] * 3 + [[0, 0]] * 3)
    assert isinstance(stop.value, KeyboardInterrupt)


# Progress and clusters


def test_progress_tells_inputs_votes_and_certificates(X, capfd):
    sample_votes(Conv(), X, until_half, 1.0, verbose=1, certified=lambda i, counts: i < 4)
    text = capfd.readouterr().err.split("\r")[-1]
    assert "estimation votes: 100%" in text
    assert "6/6 inputs" in text
    assert "votes/s, 4 certified" in text


def test_a_run_is_silent_unless_asked(X, capfd):
    sample_votes(Conv(), X, until_half, 1.0)
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_gives_the_same_votes(X, reference, tmp_path):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, dashboard_address=None
        ) as local,
        distributed.Client(local),
        joblib.parallel_config(backend="dask"),
    ):
        votes = sample_votes(
            Conv(), X, 700, 1.0, random_state=0, resume_from=tmp_path / "votes.smoothcs"
        )
    np.testing.assert_array_equal(votes, reference)
    again = sample_votes(
        Conv(), X, 700, 1.0, random_state=0, resume_from=tmp_path / "votes.smoothcs"
    )
    np.testing.assert_array_equal(again, reference)


# The bar at its end


@pytest.mark.parametrize("n", [3, 7, 49, 130])
def test_the_bar_never_passes_its_end(X, capfd, n):
    """A third, a seventh ... do not add up to one, and tqdm warns (an error here)."""
    sample_votes(Conv(), X, n, 1.0, batch_size=1 if n < 10 else 11, verbose=1)
    assert "6/6 inputs" in capfd.readouterr().err
    bar = Progress(2, 0, "estimation", n, show=True)
    for _ in range(2 * n + 1 + n // 10):  # a few were drawn again
        bar.add_votes(1)
    bar.close()
    assert "100%" in capfd.readouterr().err


# Votes are those of one function of the input


def batch_norm(**params):
    return nn.Sequential(nn.Flatten(), nn.Linear(144, 4), nn.BatchNorm1d(4, **params))


class Trains(nn.Module):
    """A module whose forward puts a layer into train mode, from some number of rows on."""

    def __init__(self, rows=0):
        super().__init__()
        self.net, self.rows = batch_norm(), rows

    def forward(self, x):
        self.net[2].train(len(x) >= self.rows)
        return self.net(x)


class OverTheBatch(nn.Module):
    """A module whose answer depends on the batch, and that has no layer to be named."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.function = nn.Linear(144, 4), function

    def forward(self, x):
        return self.function(self.layer(x.flatten(1)))


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (batch_norm(track_running_stats=False), r"layer '2' .*no running statistics"),
        (nn.Sequential(Conv(4), nn.Unflatten(1, (4, 1, 1)),
                       nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten()), "layer '2'"),
        (Trains(), r"layer 'net.2' \(BatchNorm1d\).*train mode"),
        (Trains(rows=10), r"layer 'net.2' \(BatchNorm1d\).*train mode"),
        (OverTheBatch(lambda x: nn.functional.batch_norm(x, None, None, training=True)),
         "depends on the others in its batch"),
        (OverTheBatch(lambda x: x - x.mean(dim=0)), "depends on the others in its batch"),
        (OverTheBatch(lambda x: x.softmax(dim=0)), "depends on the others in its batch"),
        (OverTheBatch(lambda x: x.roll(1, 0)), "depends on the others in its batch"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_module_whose_votes_depend_on_the_batch_is_refused(X, module, text, n_jobs):
    with pytest.raises(ValueError, match=text):
        sample_votes(module, X, 40, 1.0, n_classes=4, batch_size=16, n_jobs=n_jobs)


@pytest.mark.parametrize(
    "module",
    [
        batch_norm(),
        nn.Sequential(nn.InstanceNorm2d(1), nn.Flatten(), nn.Linear(144, 4)),
        nn.Sequential(nn.GroupNorm(1, 1), nn.Flatten(), nn.LayerNorm(144)),
        OverTheBatch(lambda x: x + torch.randn_like(x)),  # random votes are votes
        OverTheBatch(lambda x: nn.functional.dropout(x, training=True)),
    ],
)
def test_a_module_whose_votes_do_not_depend_on_the_batch_is_not_refused(X, module):
    module.train()
    assert (sample_votes(module, X, 40, 1.0).sum(axis=1) == 40).all()
    assert module.training


@pytest.mark.parametrize("threads", [1, 2])
def test_an_ambient_autocast_does_not_change_the_classifier(X, reference, threads):
    seen = []

    class Dtypes(Conv):
        def forward(self, x):
            logits = super().forward(x)
            seen.append(logits.dtype)
            return logits

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            votes = sample_votes(Dtypes(), X, 700, 1.0, random_state=0)
            assert torch.is_autocast_enabled("cpu")
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(votes, reference)
    assert set(seen) == {torch.float32}


@pytest.mark.cuda
def test_an_ambient_autocast_does_not_change_the_classifier_on_cuda(X):
    expected = sample_votes(Conv(), X, 700, 1.0, random_state=0, device="cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        votes = sample_votes(Conv(), X, 700, 1.0, random_state=0, device="cuda")
    np.testing.assert_array_equal(votes, expected)


class Augmented(torch.utils.data.Dataset):
    """A data set whose item 3 is another one every time that it is read."""

    def __init__(self, X, random=(3,)):
        self.X, self.random, self.reads = X, random, 0

    def __len__(self):
        return len(self.X)

    def __getitem__(self, index):
        self.reads += 1
        return self.X[index] + 1e-3 * self.reads * (index in self.random), 0


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_inputs_that_change_between_two_passes_are_refused(X, reference, tmp_path, n_jobs):
    params = {"random_state": 0, "n_jobs": n_jobs}
    data = SameInputs(Augmented(X, random=()))
    for _ in range(2):
        np.testing.assert_array_equal(sample_votes(Conv(), data, 700, 1.0, **params), reference)
    data = SameInputs(Augmented(X))
    sample_votes(Conv(), data, 20, 1.0, purpose="selection", **params)
    with pytest.raises(ValueError, match=r"X\[3\] is another input than in an earlier pass"):
        sample_votes(Conv(), data, 700, 1.0, **params)


# Votes of "no answer"


def phi_inv(p):
    return stats.norm.ppf(p)


def test_dropping_votes_of_no_answer_gives_false_radii():
    """On the line, x > 1 is 'A', x < -3 is 'B', and between them the classifier has no answer.

    At 0 with sigma = 1 'A' has Phi(-1) = .159 of the draws and 'B' Phi(-3) = .00135. Of those that
    answer, 'A' has 99.2 %, which as votes of two classes would certify PhiInv(.992) = 2.39. But the
    two are equally likely at -1, and from there on 'B' wins: the radius is 1.
    """
    a, b = stats.norm.sf(1), stats.norm.cdf(-3)
    claimed = phi_inv(a / (a + b))
    assert claimed > 2.389
    for x, winner in ((-0.99, "A"), (-1.01, "B"), (-1.5, "B")):
        left, right = stats.norm.cdf(-3 - x), stats.norm.sf(1 - x)
        assert ("A" if right > left else "B") == winner
    # With a class of its own, 'no answer' wins at 0, and nothing is claimed for 'A'.
    n = 100_000
    votes = np.array([[round(n * a), round(n * b), n - round(n * a) - round(n * b)]])
    certificates = certify_votes(votes, votes, sigma=1.0)
    assert certificates.label[0] == 2
    assert 0 < certificates.radius_standard[0] < 2
    # At 2.5, 'A' wins; its radius is that of 'A' against all others, up to 'no answer' at 1.
    a, b = stats.norm.sf(-1.5), stats.norm.cdf(-5.5)
    votes = np.array([[round(n * a), round(n * b), n - round(n * a) - round(n * b)]])
    certificates = certify_votes(votes, votes, sigma=1.0)
    assert certificates.label[0] == 0
    assert 1.4 < certificates.radius_standard[0] < 1.5 < phi_inv(a / (a + b))


@pytest.mark.parametrize(
    "no_answer",
    [
        lambda x: np.where(x[:, 0] > 1, 0, np.where(x[:, 0] < -3, 1, -1)),
        lambda x: np.where(x[:, 0] > 1, 0, np.where(x[:, 0] < -3, 1, 2)),
        lambda x: np.where(np.abs(x + 1) > 2, np.concatenate([x, -x], axis=1), np.nan),
        lambda x: np.where(np.abs(x + 1) > 2, np.concatenate([x, -x], axis=1), -np.inf),
    ],
    ids=["label -1", "label m", "nan", "-inf"],
)
def test_votes_of_no_answer_cannot_be_dropped(no_answer, tmp_path):
    X = np.zeros((2, 1))
    for n in (500, lambda index, counts: np.where(counts.sum(axis=1) < 100, 100, 0)):
        with pytest.raises(ValueError, match="input 0"):
            sample_votes(no_answer, X, n, 1.0, n_classes=2)
    clf = CostSensitiveSmoothedClassifier.from_module(no_answer, classes=2, sigma=1.0)
    for call in (clf.predict, clf.predict_proba, clf.certify):
        with pytest.raises(ValueError, match="input 0"):
            call(X)


# Bad input


class NanFor(nn.Module):
    """nan logits in the neighbourhood of one input."""

    def forward(self, x):
        logits = torch.stack([x.flatten(1).mean(dim=1), torch.zeros(len(x))], dim=1)
        return torch.where(logits > 50, self.bad, logits)

    def __init__(self, bad):
        super().__init__()
        self.bad = bad


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("threads", [1, 2])
def test_logits_that_are_not_finite_are_an_error_that_names_the_input(bad, threads):
    X = np.zeros((9, 4))
    X[7] = 100.0
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with pytest.raises(ValueError, match=r"nan or infinite.*noisy copies of input 7"):
            sample_votes(NanFor(bad), X, 40, 1.0, batch_size=16)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_an_error_in_a_shard_names_the_input_by_its_index_in_X():
    X = np.zeros((9, 4))
    X[7] = 100.0
    with pytest.raises(ValueError, match="input 7"):
        sample_votes(NanFor(float("nan")), X, 40, 1.0, n_jobs=2)


@pytest.mark.parametrize("bad", [2, -1])
def test_a_label_out_of_range_is_an_error(X, bad):
    def labels(batch):
        return np.where(batch[:, 0, 0, 0] > 0.5, bad, 0)

    with pytest.raises(ValueError, match=r"labels outside 0\.\.1.*of input 0"):
        sample_votes(labels, X, 100, 1.0, n_classes=2)


@pytest.mark.parametrize(
    ("output", "error", "text"),
    [
        (lambda x: np.zeros((len(x), 3, 1)), ValueError, r"shape \(2, m\).*got shape \(2, 3, 1\)"),
        (lambda x: np.zeros((1, 3)), ValueError, r"got shape \(1, 3\)"),
        (lambda x: np.zeros((len(x), 1)), ValueError, r"at least 2 classes.*\(b, 1\)"),
        (lambda x: np.zeros(len(x)), TypeError, r"integers in 0\.\.3; got dtype float64"),
        (lambda x: np.array(["cat"] * len(x)), TypeError, "dtype <U3"),
        (lambda x: None, TypeError, "got NoneType"),
        (lambda x: (np.zeros((len(x), 4)), 1), TypeError, "got tuple"),
        (lambda x: np.zeros((len(x), 3)), ValueError, r"for 4 classes; got .*\(b, 3\)"),
    ],
)
def test_output_that_is_neither_logits_nor_labels_is_refused(X, output, error, text):
    n_classes = None if "at least" in text else 4
    with pytest.raises(error, match=text):
        sample_votes(output, X, 10, 1.0, n_classes=n_classes)


def test_labels_need_the_number_of_classes(X):
    with pytest.raises(ValueError, match="n_classes must be given"):
        sample_votes(lambda x: np.zeros(len(x), dtype=int), X, 10, 1.0)


def test_a_number_of_classes_that_changes_is_refused(X):
    with pytest.raises(ValueError, match=r"for 3 classes; got .*\(b, 4\)"):
        sample_votes(lambda x: np.zeros((len(x), 3 if len(x) == 2 else 4)), X, 10, 1.0)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"n": 0}, ValueError, "n must be an integer >= 1; got 0"),
        ({"n": 10.0}, TypeError, "n must be an integer"),
        ({"sigma": 0.0}, ValueError, "sigma"),
        ({"sigma": float("nan")}, ValueError, "sigma"),
        ({"n_classes": 1}, ValueError, "n_classes must be an integer >= 2"),
        ({"purpose": "training"}, ValueError, "purpose"),
        ({"precision": "float64"}, ValueError, "precision"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"batch_size": "large"}, TypeError, "batch_size"),
        ({"device": "tpu:0"}, ValueError, "device"),
        ({"device": []}, ValueError, "empty list"),
        ({"device": "cuda:77"}, ValueError, "cuda:77"),
        ({"random_state": "secret"}, TypeError, "random_state"),
        ({"classifier": "resnet"}, TypeError, "classifier must be.*got str"),
        ({"X": np.zeros(4)}, ValueError, r"at least 2 dimensions; got shape \(4,\)"),
        ({"X": 3}, TypeError, "X must be.*got int"),
        ({"X": [np.zeros(1), np.zeros(5)]}, ValueError, r"X\[1\] of shape \(5,\) after \(1,\)"),
        ({"X": np.array([["a", "b"]])}, ValueError, r"X\[0\] cannot be converted"),
        ({"X": np.zeros((3, 0))}, ValueError, r"X\[0\] must hold at least one number"),
        ({"X": np.array([[0.0], [np.nan]])}, ValueError, r"X\[1\] must be finite"),
        ({"X": np.array([[0.0], [1e39]])}, ValueError, r"X\[1\] must be finite"),
    ],
)
def test_bad_parameters_are_refused(change, error, text):
    arguments = {"classifier": Linear([1.0]), "X": np.zeros((2, 1)), "n": 10, "sigma": 1.0}
    with pytest.raises(error, match=text):
        sample_votes(**(arguments | change))


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_votes_on_cuda_are_keyed_and_have_the_exact_probability(precision):
    X = np.linspace(-1, 1, 20)[:, None]
    kwargs = {"random_state": 0, "device": "cuda", "precision": precision}
    votes = sample_votes(Linear([1.0]), X, 5000, 1.0, **kwargs)
    p = stats.norm.cdf(X[:, 0])
    z = (votes[:, 1] - 5000 * p) / np.sqrt(5000 * p * (1 - p))
    assert np.abs(z).max() < 4.5
    again = sample_votes(Linear([1.0]), X[::-3], 5000, 1.0, batch_size=77, **kwargs)
    np.testing.assert_array_equal(again, votes[::-3])


@pytest.mark.cuda
def test_no_batch_waits_for_the_gpu(monkeypatch):
    count, batches = Worker._count, []

    def watched(worker, pieces):
        batches.append(len(pieces))
        torch.cuda.set_sync_debug_mode("error")
        try:
            count(worker, pieces)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Worker, "_count", watched)
    sample_votes(Linear([1.0]), np.zeros((3, 1)), 5000, 1.0, device="cuda", batch_size=256)
    assert len(batches) >= 3 * 5000 // 256


def test_the_rows_of_a_frame_are_its_inputs():
    frame = pd.DataFrame([[1.0, -1.0], [1.0, -1.0], [-9.0, 1.0]])

    def first_column(batch):
        return (batch[:, 0] > 0).astype(int)

    kwargs = {"n_classes": 2, "random_state": 0}
    expected = sample_votes(first_column, frame.to_numpy(), 50, 0.5, **kwargs)
    np.testing.assert_array_equal(sample_votes(first_column, frame, 50, 0.5, **kwargs), expected)
    assert expected.argmax(axis=1).tolist() == [1, 1, 0]
