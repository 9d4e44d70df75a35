"""Stein controls: accuracy on real posteriors, and speed against plain NumPy, scikit-learn, glmnet.

python -m benchmarks.stein [--quick] [--accuracy | --speed]

Accuracy needs the shared posterior draws (../shared/data/posteriordb). glmnet (R) is timed where
Rscript and its package are installed; the R package ZVCV where it is.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import linalg
from sklearn.linear_model import LassoCV

import mcvar
from mcvar.control import SteinKernel, SteinPolynomial, kernels
from mcvar.control.stein_gram import SteinGram
from mcvar.control.stein_polynomial_features import langevin_indices, stein_features

POSTERIORS = Path(__file__).resolve().parents[2] / "shared" / "data" / "posteriordb"
BLOCK = 500


def accuracy(blocks: int) -> None:
    """Mean squared errors over blocks of 500 draws, for every parameter and its square."""
    methods = {q: SteinPolynomial(q) for q in (1, 2, 3)} | {"auto": "auto"}
    print(f"gain in mean squared error, {blocks} blocks of {BLOCK} draws; median over functions")
    print("| posterior | d | degree 1 | degree 2 | degree 3 | auto | least | best/auto | cover |")
    for path in sorted(POSTERIORS.glob("*.npz")):
        with np.load(path) as file:
            x, s, values = (
                file[k].reshape(10_000, -1) for k in ("unconstrained", "score", "constrained")
            )
            names = [str(name) for name in file["constrained_names"]]
        known = json.loads(path.with_name(f"{path.stem}.reference.json").read_text())["functions"]
        chosen = [j for j, name in enumerate(names) if name in known]
        rows = [known[names[j] + power] for j in chosen for power in ("", "^2")]
        exact = np.array([row["reference"] for row in rows])
        error = np.array([row["reference_se"] or 0.0 for row in rows])
        y = np.stack([values[:, j] ** p for j in chosen for p in (1, 2)], axis=1) - exact
        squares = {key: np.zeros(len(exact)) for key in ["plain", *methods]}
        covered = []
        for block in range(blocks):
            part = slice(block * BLOCK, (block + 1) * BLOCK)
            draws = mcvar.Draws(x[part], grad_logpdf=s[part])
            squares["plain"] += y[part].mean(axis=0) ** 2
            for key, control in methods.items():
                try:
                    est = mcvar.estimate(y[part], draws, control=control)
                except ValueError:  # more features than draws
                    squares[key] += np.inf
                    continue
                squares[key] += est.value**2
                if key == "auto":
                    low, high = est.confidence_interval(0.95)
                    half = np.hypot((high - low) / 2, 1.96 * error)
                    covered.append(np.abs(est.value) <= half)
        gain = {key: squares["plain"] / squares[key] for key in methods}
        best = np.median(np.max([gain[q] for q in (1, 2, 3)], axis=0))
        cells = [f"{np.median(gain[key]):.3g}" for key in methods]
        cells += [f"{gain['auto'].min():.3g}", f"{best / np.median(gain['auto']):.2g}"]
        print(f"| {path.stem} | {x.shape[1]} | {' | '.join(cells)} | {np.mean(covered):.3f} |")


def normal(d: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x = np.random.default_rng(d * n).standard_normal((n, d))
    return x, -x, np.exp(x[:, 0] / 2) + (x**2).sum(axis=1)


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def numpy_polynomial(x: np.ndarray, s: np.ndarray, y: np.ndarray) -> float:
    """Degree 2 as a straightforward script has it: a loop over pairs, then least squares."""
    d = x.shape[1]
    columns = [s[:, i] for i in range(d)]
    for i in range(d):
        for j in range(i, d):
            columns.append(x[:, i] * s[:, j] + x[:, j] * s[:, i] + 2.0 * (i == j))
    design = np.column_stack([np.ones(len(x)), *columns])
    return float(np.linalg.lstsq(design, y, rcond=None)[0][0])


def numpy_gram(x: np.ndarray, s: np.ndarray, scale: float) -> np.ndarray:
    """First-order Stein kernel of a Gaussian, vectorised over all pairs."""
    d, a = x.shape[1], 2 / scale**2  # exp(-|x - y|²/ℓ²)
    difference = x[:, np.newaxis] - x
    square = (difference**2).sum(axis=2)
    k = np.exp(-0.5 * a * square)
    left = np.einsum("ij,ikj->ik", s, difference)
    right = np.einsum("kj,ikj->ik", s, difference)
    return k * (a * d - a**2 * square + a * (left - right) + s @ s.T)


def numpy_kernel(x: np.ndarray, s: np.ndarray, y: np.ndarray, phi: np.ndarray) -> float:
    matrix = numpy_gram(x, s, 4.0)
    matrix += 1e-6 * np.trace(matrix) / len(x) * np.eye(len(x))
    factor = linalg.cho_factor(matrix, lower=True)
    solved = linalg.cho_solve(factor, np.column_stack([phi, y]))
    return float(np.linalg.solve(phi.T @ solved[:, :-1], phi.T @ solved[:, -1])[0])


def tasks(d: int, n: int) -> list[tuple[Callable[[], object], Callable[[], object]]]:
    """Pairs (theirs, ours): degree 2, kernel matrix, CF, SECF, lasso."""
    x, s, y = normal(d, n)
    phi = np.column_stack([np.ones(n), stein_features(x, s, langevin_indices(d, 1))])
    features = stein_features(x, s, langevin_indices(d, 2))
    gram = SteinGram(kernels.Gaussian(4.0), 1)
    options = {"kernel": kernels.Gaussian(4.0), "ridge": 1e-6, "standardise": None}
    functional, semi = SteinKernel(**options), SteinKernel(polynomial_degree=1, **options)
    polynomial, lasso = SteinPolynomial(2, standardise=None), SteinPolynomial(2, "lasso")
    return [
        (lambda: numpy_polynomial(x, s, y), lambda: polynomial.fit(x, y, s).mean_),
        (lambda: numpy_gram(x, s, 4.0), lambda: gram.lower_triangle(gram.at(x, s))),
        (
            lambda: numpy_kernel(x, s, y, phi[:, :1]),
            lambda: functional.fit(x, y, grad_logpdf=s).mean_,
        ),
        (lambda: numpy_kernel(x, s, y, phi), lambda: semi.fit(x, y, grad_logpdf=s).mean_),
        (
            lambda: LassoCV(alphas=60, eps=1e-4, cv=10).fit(features, y),
            lambda: lasso.fit(x, y, s),
        ),
    ]


def speed(repeats: int) -> None:
    """Each cell: time of the plain NumPy script over ours, interleaved, least of `repeats`."""
    print("| d | n | degree 2 | kernel matrix | CF | SECF | lasso / scikit-learn | agreement |")
    for d in (4, 10, 30):
        for n in (500, 1000, 2000):
            cells, gaps = [], []
            for position, (theirs, ours) in enumerate(tasks(d, n)):
                ours()
                times: tuple[list[float], list[float]] = ([], [])
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # LassoCV stops before it has converged
                    for _ in range(repeats):
                        times[0].append(seconds(theirs))
                        times[1].append(seconds(ours))
                cells.append(f"{min(times[0]) / min(times[1]):.1f}")
                if position in (0, 2, 3):
                    gaps.append(abs(float(theirs()) / float(ours()) - 1))
            print(f"| {d} | {n} | {' | '.join(cells)} | {max(gaps):.0e} |", flush=True)


def against_r() -> None:
    """Time glmnet's cross-validated lasso, and ZVCV where it is installed, on the same input."""
    if shutil.which("Rscript") is None:
        print("Rscript is not installed: glmnet and ZVCV were not timed")
        return
    for d, n in ((4, 500), (10, 1000), (30, 2000)):
        against_glmnet(d, n)


def against_glmnet(d: int, n: int) -> None:
    x, s, y = normal(d, n)
    features = stein_features(x, s, langevin_indices(d, 2))
    with tempfile.TemporaryDirectory() as folder:
        np.savetxt(Path(folder, "data.csv"), np.column_stack([features, y]), delimiter=",")
        script = Path(folder, "time.R")
        script.write_text(
            "library(glmnet)\n"
            f"a <- as.matrix(read.csv('{folder}/data.csv', header=FALSE))\n"
            "x <- a[, -ncol(a)]; y <- a[, ncol(a)]\n"
            "t <- min(sapply(1:5, function(i) system.time(cv.glmnet(x, y))[['elapsed']]))\n"
            "cat(t, R.version.string, as.character(packageVersion('glmnet')), sep=',')\n"
        )
        command = ["Rscript", str(script)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print("glmnet is not installed for R:", *done.stderr.strip().splitlines()[-1:])
        return
    theirs, *versions = done.stdout.strip().splitlines()[-1].split(",")
    control = SteinPolynomial(2, "lasso")
    ours = min(seconds(lambda: control.fit(x, y, s)) for _ in range(6))
    ratio = float(theirs) / ours
    print(f"lasso d={d} n={n}: glmnet / mcvar {ratio:.1f} ({', '.join(versions)})", flush=True)


def streaming() -> None:
    """A million draws through degree 2 in ten dimensions."""
    x, s, y = normal(10, 10**6)
    draws = mcvar.Draws(x, grad_logpdf=s)
    control = SteinPolynomial(2)
    least = min(seconds(lambda: mcvar.estimate(y, draws, control=control)) for _ in range(3))
    print(f"10^6 draws, d = 10, degree 2: {least:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer blocks and repeats")
    parser.add_argument("--accuracy", action="store_true")
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    everything = not (options.accuracy or options.speed)
    if options.accuracy or everything:
        if POSTERIORS.is_dir():
            accuracy(4 if options.quick else 20)
        else:
            print(f"no posterior draws at {POSTERIORS}: accuracy was not measured")
    if options.speed or everything:
        speed(1 if options.quick else 5)
        against_r()
        streaming()


if __name__ == "__main__":
    main()
