"""The package front: light to import, lazy names that resolve, typed; and its pictures."""

import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

import mcvar


def loaded_by(code):
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_importing_loads_nothing_heavy():
    loaded = loaded_by("import mcvar")
    assert "mcvar" in loaded
    heavy = {"numba", "scipy.stats", "sklearn", "ot", "matplotlib", "scipy", "tqdm"}
    assert not loaded & heavy


@pytest.mark.parametrize(
    "options",
    [
        "",
        "n=1000, sampler='montecarlo', control=None",
        "sampler='montecarlo', control=None",
        "sampler='sobol'",
        "sampler='vegas', rtol=1e-2",
    ],
)
def test_integrating_loads_little(options):
    """A worker process that starts has no second to spend on imports, nor memory."""
    loaded = loaded_by(
        "import numpy as np, mcvar\n"
        f"mcvar.estimate(lambda x: np.exp(-x.sum(axis=1)), [(0, 1)] * 3, rng=1, {options})"
    )
    assert not loaded & {"numba", "scipy.stats", "sklearn", "ot", "matplotlib", "pandas", "tqdm"}


def test_a_fitted_control_loads_no_kernels():
    loaded = loaded_by(
        "import numpy as np, mcvar\n"
        "mcvar.estimate(lambda x: np.exp(-x.sum(axis=1)), [(0, 1)], rng=1, sampler='montecarlo')"
    )
    assert "mcvar.control" in loaded
    assert "numba" not in loaded


@pytest.mark.parametrize("name", mcvar.__all__)
def test_public_names_resolve(name):
    assert getattr(mcvar, name) is not None
    assert name in dir(mcvar)


def test_unknown_names():
    with pytest.raises(AttributeError, match="module 'mcvar' has no attribute 'estimat'"):
        _ = mcvar.estimat


@pytest.mark.parametrize("module", ["control", "samplers", "targets", "integrate"])
def test_modules_offer_what_they_list(module):
    loaded = __import__(f"mcvar.{module}", fromlist=["x"])
    assert all(hasattr(loaded, name) for name in loaded.__all__)


def test_the_package_is_typed():
    assert resources.files("mcvar").joinpath("py.typed").is_file()


@pytest.fixture
def pyplot():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


def test_plot_shows_what_the_history_says(pyplot):
    est = mcvar.estimate(
        lambda x: x**2, [(0, 1)] * 2, n=2**14, sampler="montecarlo", control=None, rng=1
    )
    ax = est.plot(component=1, level=0.9)
    assert ax.get_xlabel() == "evaluations of the integrand"
    assert ax.get_ylabel() == "estimate"
    assert ax.get_xscale() == "log"
    line = ax.get_lines()[0]
    np.testing.assert_array_equal(line.get_xdata(), [look.n for look in est.history])
    np.testing.assert_array_equal(line.get_ydata(), [look.value[1] for look in est.history])
    low, high = est.confidence_interval(0.9)
    band = ax.collections[0].get_paths()[0].vertices
    final = band[band[:, 0] == est.n][:, 1]
    assert final.min() == pytest.approx(low[1])
    assert final.max() == pytest.approx(high[1])
    assert "90% interval" in [text.get_text() for text in ax.get_legend().get_texts()]
    assert est.plot(ax) is ax
    with pytest.raises(ValueError, match="component must be below 2"):
        est.plot(component=2)


def test_plot_without_history(pyplot):
    ax = mcvar.Estimate(value=1.0, standard_error=0.1, n=10).plot()
    assert len(ax.get_lines()[0].get_xdata()) == 1


def test_the_version_is_stated_once():
    root = Path(__file__).parent.parent
    citation = (root / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {mcvar.__version__}\n" in citation
    readme = (root / "README.md").read_text(encoding="utf-8")
    assert f"Version {mcvar.__version__}." in readme
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", changelog, re.M)[1] == mcvar.__version__
