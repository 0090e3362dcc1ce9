from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from trainer import rng


def keys(count=64, seed=0, stream="test", step=0):
    return rng.example_keys(seed, stream, step, tf.range(count))


def test_golden_values_never_change():
    # A change here would change every run that was ever recorded.
    assert keys(2, seed=7, step=3).numpy().tolist() == [
        [2421279378, 3900666146, 1698636572],
        [1905598481, 3833452621, 2667030374],
    ]
    assert rng.bits(keys(1), 5).numpy().tolist() == [
        [102330501, 2086136704, 4068963649, 2058653726, 4024714013]
    ]


def test_stream_0_is_the_seeds_own_and_others_never_change():
    assert (rng.reseed(7, 0), rng.reseed(7, 1)) == (7, 2538165439)
    assert len({rng.reseed(seed, stream) for seed in range(9) for stream in range(9)}) == 81


def test_pcg4d_agrees_with_the_paper():
    """Against the listing in Jarzynski and Olano (2020), written out in Python integers."""

    def reference(v):
        v = [(x * 1664525 + 1013904223) % 2**32 for x in v]
        for last_round in (False, True):
            for i, (j, k) in enumerate([(1, 3), (2, 0), (0, 1), (1, 2)]):
                v[i] = (v[i] + v[j] * v[k]) % 2**32
            if not last_round:
                v = [x ^ (x >> 16) for x in v]
        return v

    for v in ([0, 0, 0, 0], [1, 2, 3, 4], [2**32 - 1, 7, 2**31, 12345]):
        assert [int(w) for w in rng._pcg4d(*v)] == reference(v)


@pytest.mark.parametrize("draw", [rng.uniform, rng.normal])
@pytest.mark.parametrize(("first", "last"), [(0, 5), (16, 24), (63, 64)])
def test_any_slice_of_the_batch_draws_the_same(draw, first, last):
    whole = draw(keys(64), [5, 10])
    part = draw(rng.example_keys(0, "test", 0, tf.range(first, last)), [5, 10])
    np.testing.assert_array_equal(part, whole[first:last])


def test_compiled_code_draws_the_same_bits():
    compiled = tf.function(lambda: rng.bits(keys(64), 999), jit_compile=True)
    np.testing.assert_array_equal(compiled(), rng.bits(keys(64), 999))


@pytest.mark.parametrize("other", [{"seed": 1}, {"stream": "other"}, {"step": 1}])
def test_streams_are_independent(other):
    a = rng.normal(keys(256), [256]).numpy().ravel()
    b = rng.normal(keys(256, **other), [256]).numpy().ravel()
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(a.size)


def test_neighbouring_examples_and_folds_are_independent():
    a = rng.normal(keys(256), [256]).numpy()
    b = rng.normal(rng.fold(keys(256), 0), [256]).numpy()
    c = rng.normal(rng.fold(keys(256), 1), [256]).numpy()
    for x, y in [(a[:-1], a[1:]), (a[:, :-1], a[:, 1:]), (a, b), (b, c)]:
        assert abs(np.corrcoef(x.ravel(), y.ravel())[0, 1]) < 4 / np.sqrt(x.size)


def test_uniform_is_uniform():
    x = rng.uniform(keys(1000), [1000]).numpy().ravel()
    assert x.min() >= 0 and x.max() < 1
    assert scipy.stats.kstest(x, "uniform").pvalue > 1e-3


def test_normal_is_normal():
    x = rng.normal(keys(1000), [1001]).numpy().ravel()
    assert np.isfinite(x).all() and np.abs(x).max() < 5.8
    assert scipy.stats.kstest(x, "norm").pvalue > 1e-3


def test_keep_mask_keeps_what_it_says():
    threshold = round(0.4 * 2**16)
    mask = rng.keep_mask(keys(500), [7, 11, 13], threshold).numpy()
    assert mask.shape == (500, 7, 11, 13)
    deviation = (mask.mean() - 0.6) / np.sqrt(0.24 / mask.size)
    assert abs(deviation) < 4
    assert len({m.tobytes() for m in mask}) == 500


def test_layers_in_a_scope_draw_different_keys():
    with rng.key_scope(keys(4)):
        first, second = rng.next_keys("a"), rng.next_keys("b")
    assert not np.array_equal(first, second)
    with rng.key_scope(keys(4)):
        np.testing.assert_array_equal(rng.next_keys("a"), first)


def test_a_layer_outside_a_scope_says_what_to_do():
    with pytest.raises(RuntimeError, match=r"layer 'drop' .*key_scope"):
        rng.next_keys("drop")
