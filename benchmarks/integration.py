"""Error at equal numbers of evaluations, and coverage of intervals, against peers.

python -m benchmarks.integration [--quick] [--fresh] [--coverage]
"""

import argparse
import warnings

import numpy as np
from scipy.stats import qmc

import mcvar
from benchmarks.problems import Problem, fresh, shared


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


PEERS = {
    "Sobol' x8": sobol_8,  # scipy.stats.qmc, as in qmc_quad
    "qmcpy net x8": qmcpy_net,
    "vegas": vegas,
    "torchquad VEGAS": torchquad_vegas,
}
SLOW = {"torchquad VEGAS": 5, "qmcpy net x8": 10}  # most seeds


def available() -> dict:
    peers = {}
    for name, method in PEERS.items():
        try:
            method(Problem("one", 2, lambda x: np.ones(len(x)), 1.0), 4096, 0)
        except ImportError as error:
            print(f"{name}: skipped ({error})")
        else:
            peers[name] = method
    return peers


def rmse(method, problem: Problem, n: int, seeds: int) -> float:
    values = np.array([method(problem, n, seed) for seed in range(seeds)])
    return float(np.sqrt(np.mean((values - problem.exact) ** 2)))


def compare(problems: list[Problem], n: int, seeds: int) -> None:
    peers = available()
    print(f"RMSE over that of mcvar.estimate, {n} evaluations, {seeds} seeds")
    print(f"{'problem':10}" + "".join(f"{name:>17}" for name in peers) + "   chosen at seed 0")
    table = []
    for problem in problems:
        own = rmse(mcvar_auto, problem, n, seeds)
        row = [
            rmse(method, problem, n, min(seeds, SLOW.get(name, seeds))) / own
            for name, method in peers.items()
        ]
        chosen = mcvar.estimate(problem.f, [(0, 1)] * problem.d, n=n, rng=0).sampler
        print(
            f"{problem.name:10}" + "".join(f"{r:17.2f}" for r in row) + f"   {chosen}", flush=True
        )
        table.append(row)
    for name, ratios in zip(peers, np.array(table).T, strict=True):
        worst = problems[int(ratios.argmin())].name
        print(
            f"against {name}: geometric mean {np.exp(np.log(ratios).mean()):.2f}, "
            f"least {ratios.min():.2f} ({worst}), below 1 on {(ratios < 1).sum()} of {len(ratios)}"
        )


def coverage(problems: list[Problem], n: int, repeats: int) -> list[tuple[str, float]]:
    rows = []
    for problem in problems:
        hits = 0
        for seed in range(10_000, 10_000 + repeats):
            est = mcvar.estimate(problem.f, [(0, 1)] * problem.d, n=n, rng=seed)
            low, high = est.confidence_interval(0.95)
            hits += low <= problem.exact <= high
        rows.append((problem.name, hits / repeats))
        print(f"{problem.name:10} {hits / repeats:.3f}", flush=True)
    values = np.array([value for _, value in rows])
    print(f"n={n}: pooled {values.mean():.3f}, {values.min():.3f} to {values.max():.3f}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer seeds")
    parser.add_argument("--fresh", action="store_true", help="problems nobody tuned on")
    parser.add_argument("--coverage", action="store_true")
    parser.add_argument("--n", type=int, default=65_536)
    options = parser.parse_args()
    problems = fresh() if options.fresh else shared()
    warnings.simplefilter("ignore")
    if options.coverage:
        coverage(problems, options.n, 50 if options.quick else 200)
    else:
        compare(problems, options.n, 5 if options.quick else 20)


if __name__ == "__main__":
    main()
