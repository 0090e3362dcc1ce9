from __future__ import annotations

import hashlib

import numpy as np
import pytest
import tensorflow as tf

from trainer.data import archives, tfds_source
from trainer.data.batches import normalise
from trainer.data.dataset import Dataset, DatasetSpec, Examples
from trainer.data.digits import digits
from trainer.errors import TrainerError
from trainer.evaluation.features import classifier

ONE = tf.distribute.OneDeviceStrategy("CPU:0")


def test_what_ships_is_small_and_is_what_the_code_names():
    files = {path.stem: path for path in classifier._WEIGHTS.iterdir()}
    assert files.keys() == {f"{name}-{classifier.VERSION}" for name in classifier.SHIPPED}
    assert sum(path.stat().st_size for path in files.values()) < 4e6
    for name, expected in classifier.SHIPPED.items():
        content = files[f"{name}-{classifier.VERSION}"].read_bytes()
        assert hashlib.sha256(content).hexdigest() == expected
        assert classifier.pack(classifier.unpack(content)) == content


@pytest.mark.archives
@pytest.mark.parametrize(("name", "least"), [("mnist", 0.992), ("fashion_mnist", 0.92)])
def test_what_ships_is_as_accurate_as_it_says(request, tmp_path, name, least):
    archives.prepare(name, request.getfixturevalue("archives") / name, tmp_path)
    dataset = tfds_source.from_builder(name=name, data_dir=str(tmp_path))
    extractor = classifier.classifier(dataset=dataset, data_dir=None, strategy=ONE)
    test = dataset.load("test")
    _, logits = extractor.model.predict(normalise(test.images), batch_size=500, verbose=0)
    accuracy = (logits.argmax(axis=1) == test.labels).mean()
    assert accuracy == pytest.approx(extractor.accuracy, abs=2e-4)
    assert accuracy >= least


def test_damaged_weights_of_the_package_are_refused(tmp_path, monkeypatch):
    content = bytearray((classifier._WEIGHTS / f"mnist-{classifier.VERSION}.npz").read_bytes())
    content[1000] ^= 1
    (tmp_path / f"mnist-{classifier.VERSION}.npz").write_bytes(content)
    monkeypatch.setattr(classifier, "_WEIGHTS", tmp_path)
    mnist = Dataset(DatasetSpec("mnist", (28, 28, 1), 10), read=None)
    with pytest.raises(TrainerError, match="is damaged .* install the package again"):
        classifier.classifier(dataset=mnist, data_dir=None, strategy=ONE)


def test_the_one_of_digits_is_trained_once_and_knows_digits(data_dir):
    (kept,) = (data_dir / "features").iterdir()
    before = kept.stat().st_mtime_ns
    extractor = classifier.classifier(dataset=digits(), data_dir=str(data_dir), strategy=ONE)
    assert kept.stat().st_mtime_ns == before
    assert extractor.sha256 == hashlib.sha256(kept.read_bytes()).hexdigest()
    assert extractor.accuracy > 0.97
    test = digits().load("test")
    features, logits = extractor.model(normalise(test.images), training=False)
    assert features.shape == (297, classifier.NUM_FEATURES)
    accuracy = (logits.numpy().argmax(axis=1) == test.labels).mean()
    assert accuracy == pytest.approx(extractor.accuracy, abs=1e-6)


def test_a_damaged_kept_file_names_the_remedy(data_dir, tmp_path):
    (kept,) = (data_dir / "features").iterdir()
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / kept.name).write_bytes(kept.read_bytes()[:1000])
    with pytest.raises(TrainerError, match=r"is damaged \(.*\): remove it, and it is trained"):
        classifier.classifier(dataset=digits(), data_dir=str(tmp_path), strategy=ONE)


def test_colour_and_other_sizes_fit(monkeypatch):
    monkeypatch.setattr(classifier, "_MIN_STEPS", 100)
    rng = np.random.default_rng(0)
    labels = np.arange(300, dtype=np.int32) % 3
    images = rng.integers(0, 60, (300, 8, 12, 3), np.uint8)
    images[np.arange(300), ..., labels] += 120  # a class is its colour
    spec = DatasetSpec("colours", (8, 12, 3), 3)
    weights = classifier.fit(spec, Examples(images, labels), Examples(images, labels))
    assert weights["test_accuracy"] > 0.99
