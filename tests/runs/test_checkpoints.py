from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.errors import TrainerError
from trainer.gan.optimizers import state
from trainer.runs.checkpoints import Checkpoints


def items(value=0.0):
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(3)])
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    items = {"step": tf.Variable(0, dtype=tf.int64), "model": model, "optimizer": state(optimizer)}
    fill(items, value)
    return items


def fill(items, value):
    for variable in [*items["model"].variables, *items["optimizer"]]:
        variable.assign(tf.cast(tf.fill(variable.shape, value), variable.dtype))


def save_at(directory, steps, **settings):
    """Checkpoints whose weights all equal their step."""
    saved = items()
    checkpoints = Checkpoints(saved, str(directory), **settings)
    for step in steps:
        saved["step"].assign(step)
        fill(saved, float(step))
        checkpoints.save()
    return checkpoints


def restored(directory):
    fresh = items(-1.0)
    assert Checkpoints(fresh, str(directory)).restore()
    variables = [*fresh["model"].variables, *fresh["optimizer"]]
    values = {float(value) for v in variables for value in np.unique(v.numpy())}
    assert values == {float(fresh["step"].numpy())}
    return int(fresh["step"].numpy())


def data_file(directory, step):
    return directory / "checkpoints" / f"step-{step}.data-00000-of-00001"


def test_everything_comes_back(tmp_path):
    checkpoints = save_at(tmp_path, [5])
    assert checkpoints.latest.endswith("checkpoints/step-5")
    assert restored(tmp_path) == 5


def test_an_empty_directory_restores_nothing(tmp_path):
    checkpoints = Checkpoints(items(), str(tmp_path))
    assert not checkpoints.restore()
    assert checkpoints.latest is None


def test_the_newest_few_are_kept(tmp_path):
    save_at(tmp_path, [1, 2, 3, 4], keep=2)
    assert [step for step in (1, 2, 3, 4) if data_file(tmp_path, step).exists()] == [3, 4]
    assert restored(tmp_path) == 4


def test_a_step_is_saved_once(tmp_path):
    checkpoints = save_at(tmp_path, [3])
    before = data_file(tmp_path, 3).stat().st_mtime_ns
    checkpoints.save()
    assert data_file(tmp_path, 3).stat().st_mtime_ns == before


def test_a_step_is_saved_again_on_demand(tmp_path):
    saved = items()
    checkpoints = Checkpoints(saved, str(tmp_path))
    checkpoints.save()
    fill(saved, 5.0)
    checkpoints.save(again=True)
    assert Checkpoints(fresh := items(), str(tmp_path)).restore()
    assert all((v.numpy() == 5.0).all() for v in fresh["model"].variables)


def test_later_steps_are_removed_or_ignored(tmp_path):
    checkpoints = save_at(tmp_path, [1, 9, 10])
    fresh = items()
    assert Checkpoints(fresh, str(tmp_path)).restore(at_most=9) and int(fresh["step"]) == 9
    assert not Checkpoints(items(), str(tmp_path)).restore(at_most=0)
    checkpoints.remove_after(1)
    assert restored(tmp_path) == 1
    assert not data_file(tmp_path, 9).exists() and not data_file(tmp_path, 10).exists()


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, caplog, damage):
    save_at(tmp_path, [1, 2])
    path = data_file(tmp_path, 2)
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        data[len(data) // 3] ^= 1
        path.write_bytes(data)
    else:
        path.unlink()
    with caplog.at_level("WARNING", logger="absl"):
        assert restored(tmp_path) == 1
    assert "step-2 cannot be read" in caplog.text


def test_a_lost_list_of_checkpoints_loses_no_checkpoint(tmp_path):
    save_at(tmp_path, [9, 10])
    (tmp_path / "checkpoints" / "checkpoint").write_text("model_checkpoint_path: ")
    assert restored(tmp_path) == 10
    (tmp_path / "checkpoints" / "checkpoint").unlink()
    assert restored(tmp_path) == 10


def test_only_damaged_checkpoints_is_an_error(tmp_path):
    save_at(tmp_path, [1])
    data_file(tmp_path, 1).write_bytes(b"")
    with pytest.raises(TrainerError, match=r"none of the 1 checkpoints .* remove that directory"):
        Checkpoints(items(), str(tmp_path)).restore()


def test_other_processes_write_elsewhere(tmp_path):
    save_at(tmp_path, [1], chief=False)
    assert not (tmp_path / "checkpoints").exists()
    save_at(tmp_path, [1])
    assert restored(tmp_path) == 1
