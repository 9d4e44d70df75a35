"""Time and memory of joint Stein controls, and of the published way to fit them.

OMP_NUM_THREADS=1 python -m benchmarks.joint_speed [--peer]

Seconds are of the processor, on one thread. `--peer` needs torch. It fits South's problem as Sun,
Barp & Briol's experiments do (settings of the code published with the paper): a kernel matrix of
T × T blocks for every pair of draws, filled in loops over pairs and tasks; T coefficients for
every draw; Adam on batches of 5 draws a task, 400 times over the data, in single precision. Written
anew from the paper, it stands for that code; it is not that code.
"""

import argparse
import time
import tracemalloc
from collections.abc import Callable

import numpy as np

import mcvar
from benchmarks.joint import fitted_mean, south
from mcvar.control import VectorSteinKernel
from mcvar.control.kernel_system import solve
from mcvar.control.kernels import Gaussian
from mcvar.control.stein_gram import SteinGram

# About what is learned from these draws.
SEED, LENGTH, RIDGE = 2, 1.1, 1e-8
B = np.array([[1.0, 0.95], [0.95, 1.05]])
EPOCHS, BATCH, RATE, DECAY, PENALTY = 400, 5, 1e-3, 0.99, 1e-3


def seconds(task: Callable[[], object], repeats: int) -> float:
    """Return the least time of several runs, after one that does not count."""
    task()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        task()
        times.append(time.process_time() - start)
    return min(times)


def learning() -> None:
    """Fits that learn everything, and whole estimates."""
    rng = np.random.default_rng(1)
    tasks = south(1.0).tasks(1)
    rows = [("fit, 2 tasks of 50 draws", lambda: fitted_mean(tasks, 1), 10)]
    rows.append(("estimate, 2 tasks of 50 draws", lambda: mcvar.estimate_jointly(tasks), 5))
    slopes = rng.normal(size=(2, 10))
    print("| what | seconds | memory, in doubles |")
    for n in (200, 2000):
        x = rng.standard_normal((n, 2))
        shared = [(np.exp(np.sin(x @ slopes)), mcvar.Draws(x, grad_logpdf=-x))]
        columns = [(values, shared[0][1]) for values in shared[0][0].T]
        name = f"10 tasks on the same {n} draws"
        rows.append((f"fit, {name}", lambda columns=columns: fitted_mean(columns, 1), 3))
        rows.append((f"estimate, {name}", lambda shared=shared: mcvar.estimate_jointly(shared), 2))
    for name, task, repeats in rows:
        spent = seconds(task, repeats)
        tracemalloc.start()
        task()
        peak = tracemalloc.get_traced_memory()[1] / 8
        tracemalloc.stop()
        print(f"| {name} | {spent:.3f} | {peak:.3g} |", flush=True)


def peer(tasks: list, *, learn_b: bool) -> tuple[np.ndarray, float, float]:
    """Fit by Adam; return the estimates, and seconds for the kernel matrix and for the fit."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    count, m = len(tasks), len(tasks[0][0])
    x = torch.tensor(np.stack([draws.x for _, draws in tasks]), dtype=torch.float32)
    y = torch.tensor(np.stack([values for values, _ in tasks]), dtype=torch.float32)
    # Scores of every target at all draws: these are normal, with a variance of their own.
    variances = [-float(draws.x[0, 0] / draws.grad_logpdf[0, 0]) for _, draws in tasks]
    scores = torch.stack([-x / v for v in variances], dim=2)  # (T, m, T, d)

    start = time.process_time()
    gram = torch.zeros(count, count, m, m, count, count)
    scale = torch.tensor(LENGTH**2)
    for a in range(count):
        for b in range(count):
            for i in range(m):
                for j in range(m):
                    r = x[a, i] - x[b, j]
                    k = torch.exp(-(r @ r) / scale)
                    by_x, by_y = -2 * k * r / scale, 2 * k * r / scale
                    mixed = (k * (2 / scale - 4 * r**2 / scale**2)).sum()
                    for t in range(count):
                        for u in range(count):
                            s, other = scores[a, i, t], scores[b, j, u]
                            gram[a, b, i, j, t, u] = (
                                mixed + other @ by_x + s @ by_y + k * (s @ other)
                            )
    built = time.process_time() - start

    theta = torch.zeros(count * m, count, requires_grad=True)
    c = y.mean(dim=1).clone().requires_grad_()
    root = torch.tensor(np.linalg.cholesky(B), dtype=torch.float32, requires_grad=learn_b)
    parameters = [theta, c, root] if learn_b else [theta, c]
    optimiser = torch.optim.Adam(parameters, lr=RATE)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, step_size=1, gamma=DECAY)
    order, rng = np.arange(m), np.random.default_rng(0)

    def objective(batch: np.ndarray) -> "torch.Tensor":
        lower = torch.tril(root)
        between = lower @ lower.T
        weighted = gram * between
        missed = 0.0
        for t in range(count):
            own = weighted[t, :, :, :, t, :].transpose(0, 1).reshape(m, -1)
            predicted = own[batch] @ theta.reshape(-1) + c[t]
            missed = missed + (y[t, batch] - predicted).square().sum()
        penalty = PENALTY * theta.square().sum() + between.square().sum()
        return missed / len(batch) + penalty

    for _ in range(EPOCHS):
        for first in range(0, m, BATCH):
            batch = order[first : first + BATCH]
            # B and coefficients take turns, in steps of their own.
            for turn in ([root], [theta, c]) if learn_b else ([theta, c],):
                optimiser.zero_grad()
                objective(batch).backward()
                for parameter in parameters:
                    if not any(parameter is mine for mine in turn):
                        parameter.grad = None
                optimiser.step()
        schedule.step()
        rng.shuffle(order)
    return c.detach().numpy(), built, time.process_time() - start - built


def versus_peer() -> None:
    """Compare at the same kernel, length-scale and B."""
    problem = south(1.1)
    tasks = problem.tasks(SEED)
    x, s = ([getattr(draws, name) for _, draws in tasks] for name in ("x", "grad_logpdf"))
    y = [values for values, _ in tasks]
    control = VectorSteinKernel(Gaussian(LENGTH), task_covariance=B, ridge=RIDGE)
    points, scores, values = (np.concatenate(each) for each in (x, s, y))
    task = np.repeat([0, 1], [len(v) for v in y])
    phi, spread = np.eye(2)[task], B[np.ix_(task, task)]

    def bare() -> np.ndarray:
        gram = SteinGram(Gaussian(LENGTH), 1)
        at = gram.at(points, scores)
        noise = np.full(len(points), RIDGE * gram.diagonal(at).mean())
        return solve(lambda: gram.lower_triangle(at) * spread, noise, phi, values[:, None]).beta

    ours = {"matrix and solve": bare, "VectorSteinKernel.fit": lambda: control.fit(x, y, s)}
    fixed, learned = peer(tasks, learn_b=False), peer(tasks, learn_b=True)
    print(f"kernel matrix by loops {fixed[1]:.2f} s, Adam {fixed[2]:.2f}, with B {learned[2]:.2f}")
    for name, run in ours.items():
        spent = seconds(run, 50)
        ratio = (fixed[1] + fixed[2]) / spent
        also = (learned[1] + learned[2]) / spent
        print(
            f"{name}: {1e3 * spent:.2f} ms, {ratio:,.0f} x; {also:,.0f} x where the peer learns B"
        )
    for name, means in {
        "peer": fixed[0], "peer, learning B": learned[0],
        "matrix and solve": bare()[:, 0], "fit": control.fit(x, y, s).mean_,
        "fit that learns everything": fitted_mean(tasks, 1),
    }.items():  # fmt: skip
        print(f"absolute errors, {name}: {np.abs(means - problem.exact).round(4)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", action="store_true", help="compare with Adam, by torch")
    if parser.parse_args().peer:
        versus_peer()
    else:
        learning()


if __name__ == "__main__":
    main()
