from __future__ import annotations

import io
import socket
import tarfile

import numpy as np
import pytest
import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import resource

from trainer.data import tfds_source
from trainer.errors import TrainerError


def test_the_spec_is_known_before_anything_is_prepared(tmp_path):
    spec = tfds_source.mnist(data_dir=str(tmp_path)).spec
    assert (spec.name, spec.image_shape, spec.num_classes) == ("mnist", (28, 28, 1), 10)


@pytest.fixture
def offline(monkeypatch):
    """Name resolution fails, as on a machine without a network; everything else is real."""

    def refuse(*args, **kwargs):
        raise socket.gaierror("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)


def test_offline_and_unprepared_names_both_remedies(tmp_path, offline):
    with pytest.raises(TrainerError) as caught:
        tfds_source.fashion_mnist(data_dir=str(tmp_path)).load("train")
    message = str(caught.value)
    assert "\n" not in message
    assert "run once on a connected machine" in message
    assert "scripts/prepare_data.py --dataset=fashion_mnist" in message
    assert f"--data_dir={tmp_path}" in message
    assert isinstance(caught.value.__cause__, requests.exceptions.ConnectionError)


def test_offline_cifar10_names_the_file_and_where_tfds_looks_for_it(tmp_path, offline):
    with pytest.raises(TrainerError) as caught:
        tfds_source.cifar10(data_dir=str(tmp_path)).load("train")
    message = str(caught.value)
    assert "\n" not in message and "prepare_data" not in message
    assert "www.cs.toronto.edu cannot be reached: run once on a connected machine" in message
    url = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    assert message.endswith(f"put {url} into {tmp_path}/downloads/manual")


def test_a_file_put_there_is_read_and_checked(tmp_path, offline):
    by_hand = tmp_path / "downloads" / "manual"
    by_hand.mkdir(parents=True)
    (by_hand / "cifar-10-binary.tar.gz").write_bytes(b"<html>404</html>")
    with pytest.raises(TrainerError) as caught:
        tfds_source.cifar10(data_dir=str(tmp_path)).load("train")
    message = str(caught.value)
    assert "\n" not in message
    assert f"{by_hand}/cifar-10-binary.tar.gz, has wrong checksum: remove it and fetch" in message


def test_cifar10_of_the_published_format(tmp_path):
    """TFDS's builder reads an archive of random images, as if it had been downloaded before."""
    rng = np.random.default_rng(0)
    files = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    labels = rng.integers(0, 10, (6, 4, 1), np.uint8)
    images = rng.integers(0, 256, (6, 4, 3, 32, 32), np.uint8)  # planes of red, green and blue
    builder = tfds.builder("cifar10", data_dir=tmp_path)
    ((url, info),) = builder.url_infos.items()
    cached = tmp_path / "downloads" / "cifar10" / resource.get_dl_fname(url, info.checksum)
    cached.parent.mkdir(parents=True)
    cached.with_name(f"{cached.name}.INFO").write_text("{}")
    with tarfile.open(cached, "w:gz") as archive:
        contents = {
            name: np.concatenate([y, x.reshape(4, -1)], axis=1).tobytes()
            for name, y, x in zip(files, labels, images, strict=True)
        }
        contents["batches.meta.txt"] = "\n".join(f"thing {i}" for i in range(10)).encode()
        for name, content in contents.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    builder.download_and_prepare()
    dataset = tfds_source.cifar10(data_dir=str(tmp_path))
    spec = dataset.spec
    assert (spec.name, spec.image_shape, spec.num_classes) == ("cifar10", (32, 32, 3), 10)
    assert spec.num_train == 50_000
    for split, part in (("train", slice(5)), ("test", slice(5, 6))):
        examples = dataset.load(split)
        assert examples.images.dtype == np.uint8 and examples.labels.dtype == np.int32
        pixels = images[part].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        expected = zip(pixels, labels[part].ravel(), strict=True)
        assert sorted((x.tobytes(), int(y)) for x, y in expected) == sorted(
            (x.tobytes(), int(y)) for x, y in zip(*examples, strict=True)
        )


def test_a_community_dataset_is_refused():
    with pytest.raises(TrainerError, match="'huggingface:a/b' is a community dataset, which"):
        tfds_source.from_builder(name="huggingface:a/b")
