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


def test_the_one_of_digits_knows_digits():
    extractor = classifier.classifier(dataset=digits(), data_dir=None, strategy=ONE)
    assert extractor.accuracy > 0.98
    test = digits().load("test")
    features, logits = extractor.model(normalise(test.images), training=False)
    assert features.shape == (297, classifier.NUM_FEATURES)
    accuracy = (logits.numpy().argmax(axis=1) == test.labels).mean()
    assert accuracy == pytest.approx(extractor.accuracy, abs=1e-6)


@pytest.mark.slow
def test_another_dataset_has_one_trained_once_and_a_damaged_file_names_the_remedy(
    monkeypatch, tmp_path
):
    """In colour and not square, whose classes are its colours."""
    monkeypatch.setattr(classifier, "_MIN_STEPS", 100)
    labels = np.arange(300, dtype=np.int32) % 3
    images = np.random.default_rng(0).integers(0, 60, (300, 8, 12, 3), np.uint8)
    images[np.arange(300), ..., labels] += 120
    colours = Dataset(DatasetSpec("colours", (8, 12, 3), 3), lambda split: Examples(images, labels))

    def extractor():
        return classifier.classifier(dataset=colours, data_dir=str(tmp_path), strategy=ONE)

    trained = extractor()
    assert trained.accuracy > 0.99
    (kept,) = (tmp_path / "features").iterdir()
    assert trained.sha256 == hashlib.sha256(kept.read_bytes()).hexdigest()
    monkeypatch.setattr(classifier, "fit", None)
    assert extractor().sha256 == trained.sha256
    kept.write_bytes(kept.read_bytes()[:1000])
    with pytest.raises(TrainerError, match=r"is damaged \(.*\): remove it, and it is trained"):
        extractor()
