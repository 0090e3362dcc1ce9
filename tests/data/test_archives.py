from __future__ import annotations

import gzip
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from trainer.data import archives as idx
from trainer.data import tfds_source
from trainer.errors import TrainerError

IMAGES = "train-images-idx3-ubyte.gz"
LABELS = "t10k-labels-idx1-ubyte.gz"


def _copy(source, target):
    """Copies the archives, without their permission bits, so that tests can damage them."""
    target.mkdir()
    for path in source.glob("*.gz"):
        shutil.copyfile(path, target / path.name)
    return target


def test_missing_archives_are_named(tmp_path):
    with pytest.raises(TrainerError, match=rf"{IMAGES} is missing: --archives"):
        idx.verify("mnist", tmp_path)


def test_another_content_is_named(tmp_path):
    with gzip.open(tmp_path / IMAGES, "wb") as file:
        file.write(b"\0\0\x08\x03 not MNIST")
    with pytest.raises(TrainerError, match=rf"{IMAGES} is damaged or altered .* fetch it again"):
        idx.verify("mnist", tmp_path)


def test_a_file_that_is_no_gzip_is_named(tmp_path):
    (tmp_path / IMAGES).write_bytes(b"<html>404</html>")
    with pytest.raises(TrainerError, match=rf"{IMAGES} is damaged \(Not a gzipped file"):
        idx.verify("mnist", tmp_path)


@pytest.mark.archives
@pytest.mark.parametrize("dataset", idx.DATASETS)
def test_prepared_datasets_hold_the_archives_images(archives, tmp_path, dataset):
    """The real builder reads back, as a set, what the IDX files hold."""
    path = idx.prepare(dataset, archives / dataset, tmp_path / "data")
    assert path == tmp_path / "data" / dataset / "3.0.1"
    assert tfds.builder(dataset, data_dir=tmp_path / "data").is_prepared()
    assert not (tmp_path / "data" / "downloads").exists()
    load = getattr(tfds_source, dataset)
    loaded = load(data_dir=str(tmp_path / "data"))
    assert loaded.spec.name == dataset
    assert (loaded.spec.image_shape, loaded.spec.num_classes) == ((28, 28, 1), 10)
    for split, stem, count in (("train", "train", 60_000), ("test", "t10k", 10_000)):
        examples = loaded.load(split)
        assert examples.images.dtype == np.uint8 and examples.labels.dtype == np.int32
        raw = gzip.open(archives / dataset / f"{stem}-images-idx3-ubyte.gz").read()[16:]
        names = gzip.open(archives / dataset / f"{stem}-labels-idx1-ubyte.gz").read()[8:]
        original = np.frombuffer(raw, np.uint8).reshape(count, 784)
        pairs = zip(original, names, strict=True)
        ours = zip(examples.images.reshape(count, 784), examples.labels, strict=True)
        assert sorted((x.tobytes(), int(y)) for x, y in pairs) == sorted(
            (x.tobytes(), int(y)) for x, y in ours
        )
        np.testing.assert_array_equal(load(data_dir=str(tmp_path / "data")).load(split).images,
                                      examples.images)  # fmt: skip


@pytest.mark.archives
@pytest.mark.parametrize("damage", ["truncated", "flipped", "swapped", "other dataset"])
def test_a_damaged_or_wrong_archive_is_refused_by_name(archives, tmp_path, damage):
    copies = _copy(archives / "mnist", tmp_path / "copies")
    victim = copies / LABELS
    data = bytearray(victim.read_bytes())
    expected = rf"{LABELS} is damaged"
    if damage == "truncated":
        victim.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        data[len(data) // 2] ^= 0x10
        victim.write_bytes(data)
    elif damage == "swapped":
        shutil.copyfile(copies / "train-labels-idx1-ubyte.gz", victim)
        expected = rf"{LABELS} holds mnist's train-labels-idx1-ubyte, where mnist's t10k-labels"
    else:
        shutil.copyfile(archives / "fashion_mnist" / LABELS, victim)
        expected = rf"{LABELS} holds fashion_mnist's t10k-labels-idx1-ubyte, where mnist's"
    with pytest.raises(TrainerError, match=expected):
        idx.prepare("mnist", copies, tmp_path / "data")
    assert not (tmp_path / "data" / "mnist").exists()


@pytest.fixture(scope="module")
def prepared(archives, tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("data")
    idx.prepare("mnist", archives / "mnist", data_dir)
    return data_dir


@pytest.mark.archives
@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "no info"])
def test_an_incomplete_prepared_dataset_is_one_line(prepared, tmp_path, damage):
    data_dir = shutil.copytree(prepared, tmp_path / "data")
    pattern = "dataset_info.json" if damage == "no info" else "*train*record*"
    (victim,) = (data_dir / "mnist" / "3.0.1").glob(pattern)
    data = bytearray(victim.read_bytes())
    if damage == "missing":
        victim.unlink()
    elif damage == "flipped":
        data[len(data) // 2] ^= 1
        victim.write_bytes(data)
    else:
        victim.write_bytes(data[: len(data) // 2])
    with pytest.raises(
        TrainerError, match=r"mnist.* is incomplete or damaged \(.*\): remove it"
    ) as e:
        tfds_source.mnist(data_dir=str(data_dir)).load("train")
    assert "\n" not in str(e.value) and "{{" not in str(e.value)
