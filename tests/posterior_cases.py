"""Real posterior draws with scores, where the shared data folder is present."""

import json
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "posteriordb"
NAMES = sorted(path.stem for path in FOLDER.glob("*.npz"))

needs_data = pytest.mark.skipif(
    not NAMES, reason="real posterior draws are not here: no folder ../shared/data/posteriordb"
)


def load(name):
    """Unconstrained draws and scores (10, 1000, d), constrained draws, names, references."""
    with np.load(FOLDER / f"{name}.npz") as file:
        data = {key: file[key] for key in file.files}
    reference = json.loads((FOLDER / f"{name}.reference.json").read_text())["functions"]
    names = [str(v) for v in data["constrained_names"]]
    return data["unconstrained"], data["score"], data["constrained"], names, reference
