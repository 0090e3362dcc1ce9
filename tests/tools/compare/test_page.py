from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from support.cards import make_card

from trainer.tools.compare import page
from trainer.tools.compare.results import Result
from trainer.tools.compare.variants import model_dir, variants


def test_of_many_configs_the_table_takes_the_place_of_conclusions_and_curves(tmp_path):
    names = ["a", "b", "c", "d", "e"]
    configs = variants(["a.gin"], [f"{name}.gin" for name in names[1:]])
    results = []
    for variant, fid in zip(configs, (3, 1, 2, 5, 4), strict=True):
        card = make_card(fid)
        samples = Path(model_dir(tmp_path, variant, 0)) / "samples"
        samples.mkdir(parents=True)
        Image.fromarray(np.zeros([8, 8], np.uint8)).save(samples / f"step_{card.step:07d}.png")
        results.append(Result(variant, (card,)))

    html = page.render(results, [0], tmp_path, "compare.py --vs=e.gin")
    assert "<h1>Which is better?</h1>" in html and "compare.py --vs=e.gin" in html
    order = [html.index(f"<td>{name}") for name in ("b", "c", "a (baseline)", "e", "d")]
    assert order == sorted(order)
    assert html.count("data:image/png;base64,") == len(names)
    assert "cannot tell" not in html and "one seed" not in html and "<svg" not in html
