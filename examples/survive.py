"""A long run that is killed, and goes on: a process pool and a checkpoint.

The integrand stands for a slow simulator: how far a ball flies that is struck with some spread in
speed, angle and spin, through air that it sets turning (Magnus force), by an adaptive solver. A
first process works on it with two workers, and is killed on the way, workers and all. The second
goes on from the file. It ends with the very bits of a run that nobody disturbed.

Prints what happened and saves survive.png. MCVAR_EXAMPLE_SIZE=small makes it a few seconds' run.
"""

# %% The simulator: one golf shot takes some milliseconds
import os
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
from scipy import integrate, stats

import mcvar
from mcvar.execution import read_progress, status

SMALL = os.environ.get("MCVAR_EXAMPLE_SIZE") == "small"
N = 2**8 if SMALL else 2**11
WORKERS = 1 if SMALL else 2
# Speed off the club in m/s, angle in degrees, back spin in revolutions a minute: a driver's, of a
# good amateur; and their spread from stroke to stroke.
SHOT = [stats.norm(67, 1.5), stats.norm(11, 1.2), stats.norm(2700, 300)]
MASS, RADIUS, AIR, GRAVITY = 0.0459, 0.02135, 1.2, 9.81
AREA = np.pi * RADIUS**2


def fly(t, state, spin):
    """Velocity and acceleration: gravity, drag against the motion, lift across it."""
    vx, vy = state[2:]
    speed = np.hypot(vx, vy)
    ratio = spin * RADIUS / speed
    drag, lift = 0.21 + 0.25 * ratio, min(0.35, 1.5 * ratio)
    push = 0.5 * AIR * AREA * speed / MASS
    return vx, vy, -push * (drag * vx + lift * vy), push * (lift * vx - drag * vy) - GRAVITY


def landed(t, state, spin):
    return state[1]


landed.terminal, landed.direction = True, -1


def carry(x):
    """How far the ball flies, in metres, for shots (n, 3)."""
    found = np.empty(len(x))
    for i, (speed, angle, turns) in enumerate(x):
        start = [0, 0, *(speed * np.cos(np.radians([angle, 90 - angle])))]
        spin = (turns * 2 * np.pi / 60,)
        path = integrate.solve_ivp(fly, (0, 60), start, args=spin, events=landed, rtol=1e-7)
        found[i] = path.y[0, -1]
    return found


def run(file, executor):
    return mcvar.estimate(
        carry, SHOT, n=N, rng=1, checkpoint=file, executor=executor, batch_size=16
    )


# %% What a worker process is asked: this file, called with the name of a checkpoint
if __name__ == "__main__" and len(sys.argv) > 1:
    run(sys.argv[1], WORKERS)
    sys.exit()


# %% Start it, watch its checkpoint, kill it; start it again
def watch(file, began, enough=np.inf):
    """Run until it ends, or has made `enough` evaluations: seconds, and results on disk."""
    this = carry.__code__.co_filename  # notebooks and galleries have no __file__
    process = subprocess.Popen([sys.executable, this, file], start_new_session=True)
    seen = []
    while process.poll() is None:
        time.sleep(0.05)
        done, results = on_disk(file)
        seen.append((time.perf_counter() - began, results))
        if done >= enough:
            # No clean-up, no farewell, workers and all: as when the machine loses power.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return np.array(seen)


def on_disk(file):
    """Evaluations that estimates so far have used, and blocks of results."""
    try:
        progress = read_progress(file)
    except mcvar.CheckpointError:
        return 0, 0  # the process has not got as far as making one
    return progress.now.get("done", 0), progress.tasks


def main():
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "run.sqlite")
        began = time.perf_counter()
        first = watch(file, began, enough=0.4 * N)
        print("the first process was killed; python -m mcvar status run.sqlite says:")
        print(status.as_text("run.sqlite", read_progress(file)))
        second = watch(file, began)
        est = run(file, None)  # all is there: nothing is computed
    undisturbed = run(None, None)
    print(f"\nresumed      {est.value!r} m\nundisturbed  {undisturbed.value!r} m")
    print(f"the same bits: {est.value == undisturbed.value}\n{est}")

    figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
    for part, colour, name in ((first, "#D55E00", "killed"), (second, "#0072B2", "went on")):
        axes[0].plot(*part.T, color=colour, lw=2, label=name)
    axes[0].plot(*first[-1], "X", color="#D55E00", ms=10)
    axes[0].set(xlabel="seconds", ylabel="blocks of 16 shots on disk", ylim=0)
    axes[0].legend(frameon=False)
    axes[0].spines[["top", "right"]].set_visible(False)
    est.plot(axes[1]).set_ylabel("mean carry (m)")
    figure.savefig("survive.png", dpi=120)
    print("saved survive.png")


if __name__ == "__main__":
    main()
