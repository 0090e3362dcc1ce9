from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer import files
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


def test_tensorflows_own_tools_find_the_newest(tmp_path):
    checkpoints = save_at(tmp_path, [1, 2, 3], keep=2)
    directory = str(tmp_path / "checkpoints")
    assert tf.train.latest_checkpoint(directory) == f"{directory}/step-3"
    listed = tf.train.get_checkpoint_state(directory).all_model_checkpoint_paths
    assert listed == [f"{directory}/step-2", f"{directory}/step-3"]
    checkpoints.remove_after(2)
    assert tf.train.latest_checkpoint(directory) == f"{directory}/step-2"
    checkpoints.remove_after(0)
    assert tf.train.latest_checkpoint(directory) is None


def test_a_lost_list_of_checkpoints_loses_no_checkpoint(tmp_path):
    save_at(tmp_path, [9, 10])
    (tmp_path / "checkpoints" / "checkpoint").write_text("model_checkpoint_path: ")
    assert restored(tmp_path) == 10
    (tmp_path / "checkpoints" / "checkpoint").unlink()
    assert restored(tmp_path) == 10


def test_a_foreign_list_of_checkpoints_is_not_believed(tmp_path):
    """TensorFlow's own list, which its manager believes: it would remove what is named there."""
    save_at(tmp_path / "theirs", [1])
    save_at(tmp_path / "ours", [9, 10])
    theirs = tmp_path / "theirs" / "checkpoints" / "step-1"
    (tmp_path / "ours" / "checkpoints" / "checkpoint").write_text(
        f'model_checkpoint_path: "{theirs}"\nall_model_checkpoint_paths: "{theirs}"\n'
    )
    assert restored(tmp_path / "ours") == 10
    save_at(tmp_path / "ours", [11, 12], keep=1)
    assert restored(tmp_path / "theirs") == 1


NAMES = ["g[1]", "q?1", "a*", r"b\c", "[", "{x}", "~", "-x", "ü 日本 🙂 #%'\"", "n" * 200]


@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_no_pattern(tmp_path, name):
    neighbours = ["g1", "qx1", "ab", "bc", "x"]
    for neighbour in neighbours:
        save_at(tmp_path / neighbour, [1, 2, 3], keep=3)
    directory = tmp_path / name
    save_at(directory, [4, 5], keep=1)
    assert restored(directory) == 5 and not data_file(directory, 4).exists()
    checkpoints = save_at(directory, [8, 9])
    checkpoints.remove_after(5)
    assert restored(directory) == 5
    for neighbour in neighbours:
        assert all(data_file(tmp_path / neighbour, step).exists() for step in (1, 2, 3))


def test_other_files_are_no_checkpoints_and_are_kept(tmp_path):
    save_at(tmp_path, [1])
    others = ["step-abc.index", "step-.index", "step-²2.index", "step-7.index.bak", "step-1.png"]
    for name in others:
        (tmp_path / "checkpoints" / name).write_text("")
    save_at(tmp_path, [2, 3], keep=1)
    assert restored(tmp_path) == 3
    assert {p.name for p in (tmp_path / "checkpoints").iterdir()} > {*others}


def test_nothing_is_written_or_removed_behind_a_link(tmp_path):
    outside = tmp_path / "outside"
    save_at(outside, [1, 2, 3])
    before = sorted(p.name for p in outside.rglob("*"))
    run = tmp_path / "run"
    run.mkdir()
    (run / "checkpoints").symlink_to(outside / "checkpoints")
    with pytest.raises(TrainerError, match=r"run/checkpoints is a symbolic link, and the trainer"):
        save_at(run, [9], keep=1)
    (run / "checkpoints").unlink()
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "step-9_temp").symlink_to(outside)
    with pytest.raises(TrainerError, match=r"step-9_temp is a symbolic link"):
        save_at(run, [9])
    (run / "checkpoints" / "step-8.index").symlink_to(outside / "checkpoints" / "step-1.index")
    save_at(run, [8])
    assert restored(run) == 8
    assert sorted(p.name for p in outside.rglob("*")) == before and restored(outside) == 3


def test_a_checkpoint_is_on_the_disk_before_an_older_one_is_removed(tmp_path, monkeypatch):
    """In the order of the calls: a file system that drops what is not flushed keeps one whole."""
    calls = []
    flush, remove = files.flush_to_disk, tf.io.gfile.remove
    monkeypatch.setattr(files, "flush_to_disk", lambda p: (calls.append(("flush", p)), flush(p)))
    monkeypatch.setattr(tf.io.gfile, "remove", lambda p: (calls.append(("remove", p)), remove(p)))
    save_at(tmp_path, [1, 2], keep=1)
    directory = f"{tmp_path}/checkpoints"

    def whole(step):
        return f"{directory}/step-{step}.index", f"{directory}/step-{step}.data-00000-of-00001"

    assert calls == [
        *(("flush", path) for path in (*whole(1), *[directory] * 2, *whole(2), *[directory] * 2)),
        *(("remove", path) for path in whole(1)),
    ]


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
