"""What benchmarks/transfer.py computes without training."""

from pathlib import Path
from typing import Any

import numpy as np
import transfer

import el_larq


def test_source_and_target_classes_are_disjoint_and_complete() -> None:
    for name, source in transfer.DIVISIONS.items():
        target = transfer.target_classes(name)
        assert sorted((*source, *target)) == list(range(10))
        # So a source's classifier never fits, and is not copied.
        assert len(source) != len(target)
    runs = transfer.plan()
    assert len({run.key for run in runs}) == len({run.folder for run in runs}) == len(runs) == 3 * 3 * 4


def test_pictures_are_drawn_by_seed_and_written_as_a_data_set(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    split = random.integers(0, 256, (60, 28, 28)).astype(np.uint8), np.repeat(np.arange(10), 6)
    few = [transfer.of_classes(split, (7, 2), 3, seed) for seed in (0, 0, 1)]
    assert few[0][1].tolist() == [0, 0, 0, 1, 1, 1]
    drawn = [{image.tobytes() for image in images} for images, _ in few]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(len(each) == 6 for each in drawn)
    assert drawn[0] <= {image.tobytes() for image in split[0][np.isin(split[1], (2, 7))]}

    transfer.write_idx(tmp_path / "few", few[0], transfer.of_classes(split, (7, 2)))
    data: Any = el_larq.load_dataset(f"idx:{tmp_path / 'few'}")
    np.testing.assert_array_equal(data.train.images[..., 0], few[0][0])
    assert (data.labels, data.train_size, data.test_size) == (("0", "1"), 6, 12)
    assert data.test.labels.tolist() == [0] * 6 + [1] * 6


def test_the_table_has_differences_in_pairs_of_a_seed() -> None:
    [division, *_] = transfer.DIVISIONS
    accuracies = {transfer.SCRATCH: (0.8, 0.7, 0.75), transfer.FINETUNE: (0.9, 0.81, 0.85), transfer.HEAD: (0.7, 0.6, 0.65)}
    rows = [
        {"division": division, "seed": str(seed), "arm": arm, "accuracy": str(value)}
        for arm, values in accuracies.items()
        for seed, value in enumerate(values)
    ]
    [_, _, row] = transfer.table(rows).splitlines()
    mean, half = transfer.paired([0.1, 0.11, 0.1])
    assert half is not None
    difference = f"+10.33 [{100 * (mean - half):+.2f}, {100 * (mean + half):+.2f}]"
    assert row == f"| {division} | 3 | 75.0 % | 85.3 % | {difference} | 65.0 % | -10.00 [-10.00, -10.00] |"
    assert len(transfer.table(rows[:-1]).splitlines()) == 3
    assert "| 2 |" in transfer.table(rows[:-1])
