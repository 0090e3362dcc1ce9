"""Single processes only; test_survival.py and test_invariance.py run several."""

from __future__ import annotations

import pytest
import tensorflow as tf

from trainer.distributed import multihost


def test_a_single_process_is_its_own_chief(make_strategy):
    assert multihost.is_chief(make_strategy(1))
    assert multihost.is_chief(make_strategy(4))


def test_a_single_process_has_no_peer_to_lose(make_strategy):
    with pytest.raises(tf.errors.AbortedError), multihost.explain_lost_peer(make_strategy(1)):
        raise tf.errors.AbortedError(None, None, "no peer's")
