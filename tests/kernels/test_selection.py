"""The choice of kernels, and that no choice changes the training."""

from __future__ import annotations

import pytest
from support.gan import make_trainer, relative_error, weights

from trainer.errors import TrainerError
from trainer.kernels import cpu, selection


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_clusters_return_what_the_layers_need_and_no_more(make_strategy, precision):
    """The discriminator is called within two tapes, which could make clusters return more."""
    trainer = make_trainer(make_strategy(1), precision=precision, kernels=selection.ON_CPUS)
    graph = trainer._compiled_loop.get_concrete_function().graph.as_graph_def()
    clusters = [f for f in graph.library.function if f.attr["_XlaMustCompile"].b]
    assert len(clusters) >= 10
    assert not [f.signature.name for f in clusters if len(f.signature.output_arg) != 1]


@pytest.mark.parametrize(
    "names",
    [
        None,
        pytest.param(["fused_dropout"], marks=pytest.mark.slow),
        pytest.param(["xla_step"], marks=pytest.mark.slow),
        pytest.param([*selection.KERNELS], marks=pytest.mark.slow),
    ],
)
def test_no_choice_changes_the_training(make_strategy, names):
    plain, fast = (
        make_trainer(make_strategy(1), precision="float64", kernels=k) for k in ([], names)
    )
    expected, metrics = plain.train(3), fast.train(3)
    assert metrics == pytest.approx(expected, rel=1e-9)
    assert relative_error(weights(fast), weights(plain)) < 1e-9


def test_the_default_of_a_cpu(make_strategy):
    fused = ("fused_activation", "fused_dropout", "fused_normalization")
    default = ("dilated_gradients", *fused, "matmul_convolutions")
    assert selection.choose(None, make_strategy(4), "float32") == default
    assert selection.choose([], make_strategy(4), "float32") == ()


@pytest.mark.parametrize("units", [True, False])
def test_the_default_in_bfloat16_depends_on_the_cpus_units(make_strategy, monkeypatch, units):
    monkeypatch.setattr(cpu, "multiplies_bfloat16", lambda: units)
    one = selection.choose(None, make_strategy(1), "mixed_bfloat16")
    assert one == (selection.ON_CPUS if units else ("xla_step",))
    assert selection.choose(None, make_strategy(4), "mixed_bfloat16") == selection.ON_CPUS
    assert selection.choose(None, make_strategy(1), "float32") == selection.ON_CPUS


def test_unknown_and_unfitting_names_are_refused(make_strategy):
    with pytest.raises(TrainerError, match=r"'fast' is not known; choose from dilated_.*\[\]"):
        make_trainer(make_strategy(1), kernels=["fast"])
    with pytest.raises(TrainerError, match="works on one replica, not 4; leave it out, or use"):
        make_trainer(make_strategy(4), kernels=["xla_step"])
