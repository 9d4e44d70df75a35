"""Error at equal numbers of evaluations, and coverage of intervals, against peers.

python -m benchmarks.integration [--quick] [--fresh] [--coverage]
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator

import numpy as np
from scipy.stats import qmc

import mcvar
from benchmarks.problems import Problem, fresh, shared
from benchmarks.record import Claim, bootstrapped, geometric_mean, root_mean_square, show

Method = Callable[[Problem, int, int], float]


def mcvar_auto(problem: Problem, n: int, seed: int) -> float:
    return mcvar.estimate(problem.f, [(0, 1)] * problem.d, n=n, rng=seed).value


def sobol_8(problem: Problem, n: int, seed: int) -> float:
    engines = [qmc.Sobol(problem.d, rng=np.random.default_rng((seed, r))) for r in range(8)]
    return float(np.mean([problem.f(engine.random(n // 8)).mean() for engine in engines]))


def vegas(problem: Problem, n: int, seed: int) -> float:
    import gvar
    import vegas as peer

    gvar.ranseed(seed)
    integrator = peer.Integrator([[0, 1]] * problem.d)
    batch = peer.lbatchintegrand(problem.f)
    integrator(batch, nitn=10, neval=n // 20)
    return float(integrator(batch, nitn=10, neval=n // 20).mean)


def qmcpy_net(problem: Problem, n: int, seed: int) -> float:
    import qmcpy

    net = qmcpy.DigitalNetB2(problem.d, replications=8, seed=seed)
    return float(np.mean([problem.f(points).mean() for points in net.gen_samples(n // 8)]))


def torchquad_vegas(problem: Problem, n: int, seed: int) -> float:
    import torch
    from loguru import logger
    from torchquad import VEGAS

    logger.disable("torchquad")
    torch.set_default_dtype(torch.float64)
    value = VEGAS().integrate(
        lambda x: torch.from_numpy(problem.f(x.numpy())),
        dim=problem.d,
        N=n,
        integration_domain=[[0, 1]] * problem.d,
        seed=seed,
        backend="torch",
    )
    return float(value)


def openturns_sobol(problem: Problem, n: int, seed: int) -> float:
    """Eight Sobol' experiments, each shifted at random (OpenTURNS scrambles no nets)."""
    import openturns

    openturns.RandomGenerator.SetSeed(seed)
    cube = openturns.JointDistribution([openturns.Uniform(0, 1)] * problem.d)
    experiment = openturns.LowDiscrepancyExperiment(openturns.SobolSequence(), cube, n // 8)
    experiment.setRandomize(True)
    return float(np.mean([problem.f(np.asarray(experiment.generate())).mean() for _ in range(8)]))


PEERS: dict[str, Method] = {
    "Sobol' x8": sobol_8,  # scipy.stats.qmc, as in qmc_quad
    "qmcpy net x8": qmcpy_net,
    "openturns Sobol' x8": openturns_sobol,
    "vegas": vegas,
    "torchquad VEGAS": torchquad_vegas,
}
PACKAGES = {
    "Sobol' x8": "scipy",
    "qmcpy net x8": "qmcpy",
    "openturns Sobol' x8": "openturns",
    "vegas": "vegas",
    "torchquad VEGAS": "torchquad",
}
SLOW = {"torchquad VEGAS": 5, "qmcpy net x8": 10}  # most seeds


def available() -> dict[str, Method]:
    peers = {}
    for name, method in PEERS.items():
        try:
            method(Problem("one", 2, lambda x: np.ones(len(x)), 1.0), 4096, 0)
        except ImportError as error:
            print(f"{name}: skipped ({error})")
        else:
            peers[name] = method
    return peers


def runs(methods: dict[str, Method], problem: Problem, n: int, seeds: int):
    """Return errors and the median seconds of the processor of every method, seeds interleaved."""
    errors: dict[str, list[float]] = {name: [] for name in methods}
    times: dict[str, list[float]] = {name: [] for name in methods}
    for seed in range(seeds):
        for name, method in methods.items():
            if seed < SLOW.get(name, seeds):
                start = time.process_time()
                errors[name].append(method(problem, n, seed) - problem.exact)
                times[name].append(time.process_time() - start)
    return (
        {name: np.array(found) for name, found in errors.items()},
        {name: float(np.median(found)) for name, found in times.items()},
    )


def compare(table: str, problems: list[Problem], n: int, seeds: int) -> Iterator[Claim]:
    """RMSE of each peer over that of `estimate`; mean squared error times time the same way."""
    peers = available()
    ratios: dict[str, list[float]] = {name: [] for name in peers}
    work: dict[str, list[float]] = {name: [] for name in peers}
    for problem in problems:
        errors, seconds = runs({"mcvar": mcvar_auto, **peers}, problem, n, seeds)
        chosen = mcvar.estimate(problem.f, [(0, 1)] * problem.d, n=n, rng=0).sampler
        for name in peers:
            pair = (errors[name], errors["mcvar"])
            slower = seconds[name] / seconds["mcvar"]

            def rmse_ratio(peer: np.ndarray, own: np.ndarray) -> float:
                return root_mean_square(peer) / root_mean_square(own)

            def work_ratio(peer: np.ndarray, own: np.ndarray, slower: float = slower) -> float:
                return rmse_ratio(peer, own) ** 2 * slower

            common = {"par": 1.0, "peers": (PACKAGES[name],)}
            found = Claim(table, problem.name, name, **bootstrapped(rmse_ratio, pair),
                          note=f"seed 0 chose {chosen}", **common)  # fmt: skip
            of_work = Claim(f"{table}_work", problem.name, name,
                            **bootstrapped(work_ratio, pair), **common)  # fmt: skip
            ratios[name].append(found.value)
            work[name].append(of_work.value)
            yield found
            yield of_work
    for name in peers:
        for kind, values in (("RMSE", ratios[name]), ("variance x time", work[name])):
            row, found = f"{name}: {kind}", np.array(values)
            worst = problems[int(found.argmin())].name
            summary = f"{table}_summary"
            mean = bootstrapped(geometric_mean, (found,))
            common = {"peers": (PACKAGES[name],)}
            yield Claim(summary, row, "geometric mean", **mean, par=1.0, **common)
            yield Claim(summary, row, "least", found.min(), repeats=seeds, par=1.0,
                        note=f"least on {worst}", **common)  # fmt: skip
            yield Claim(summary, row, "below 1", int((found < 1).sum()), repeats=seeds,
                        unit=f"of {len(found)} problems", **common)  # fmt: skip


def coverage(problems: list[Problem], n: int, repeats: int) -> Iterator[Claim]:
    """Share of the 95 % intervals that hold, pooled over problems, least and most."""
    shares = []
    for problem in problems:
        hits = 0
        for seed in range(10_000, 10_000 + repeats):
            est = mcvar.estimate(problem.f, [(0, 1)] * problem.d, n=n, rng=seed)
            low, high = est.confidence_interval(0.95)
            hits += low <= problem.exact <= high
        shares.append(hits / repeats)
    values = np.array(shares)
    found = {"pooled": values.mean(), "least": values.min(), "most": values.max()}
    for column, value in found.items():
        yield Claim("coverage", f"n = {n:,}", column, float(value), repeats=repeats,
                    unit="share of 95 % intervals",
                    note=f"{problems[int(values.argmin())].name} least" if column == "least" else ""
                    )  # fmt: skip


def posed(quick: bool) -> list[Problem]:
    problems = shared() or fresh()
    return problems[::4] if quick else problems


def claims(quick: bool) -> Iterator[Claim]:
    warnings.simplefilter("ignore")
    yield from compare("integration", posed(quick), 2**14 if quick else 2**16, 4 if quick else 20)


def claims_fresh(quick: bool) -> Iterator[Claim]:
    """Problems nobody tuned on."""
    warnings.simplefilter("ignore")
    problems = fresh()[::5] if quick else fresh()
    yield from compare("fresh", problems, 2**14 if quick else 2**16, 4 if quick else 20)


def claims_coverage(quick: bool) -> Iterator[Claim]:
    warnings.simplefilter("ignore")
    yield from coverage(posed(quick), 2**12, 10 if quick else 200)
    if not quick:
        yield from coverage(posed(quick), 2**16, 200)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer problems and seeds")
    parser.add_argument("--fresh", action="store_true", help="problems nobody tuned on")
    parser.add_argument("--coverage", action="store_true")
    options = parser.parse_args()
    chosen = claims_coverage if options.coverage else claims_fresh if options.fresh else claims
    show(chosen(options.quick))
