from __future__ import annotations

import socket

import pytest
import requests

from trainer.data import tfds_source
from trainer.errors import TrainerError


def test_the_spec_is_known_before_anything_is_prepared(tmp_path):
    spec = tfds_source.mnist(data_dir=str(tmp_path)).spec
    assert (spec.name, spec.image_shape, spec.num_classes) == ("mnist", (28, 28, 1), 10)


def test_offline_and_unprepared_names_both_remedies(tmp_path, monkeypatch):
    """Name resolution is off, as on a machine without a network; all else is the real path."""

    def refuse(*args, **kwargs):
        raise socket.gaierror("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(TrainerError) as caught:
        tfds_source.fashion_mnist(data_dir=str(tmp_path)).load("train")
    message = str(caught.value)
    assert "\n" not in message
    assert "run once on a connected machine" in message
    assert "scripts/prepare_data.py --dataset=fashion_mnist" in message
    assert f"--data_dir={tmp_path}" in message
    assert isinstance(caught.value.__cause__, requests.exceptions.ConnectionError)
