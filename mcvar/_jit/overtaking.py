"""The overtaking scenario: physics, naturalistic behaviour, and dynamic programming.

On a two-lane road an automated vehicle (AV) drives in the right lane; a background vehicle (BV)
passes it on the left, catches up with a slow leader there and may cut in before the AV.

Columns of a state: gap from the AV's front to the BV's rear (m), speed of the AV (m/s), speed of
the BV, gap from the BV to its leader, acceleration of the AV just before (m/s²), phase (0 before
the lane change, 1 after), decisions made.
"""

import functools

import numba
import numpy as np

from mcvar._jit import kernel

GAP, SPEED, BV_SPEED, LEADER_GAP, ACCELERATION, PHASE, TIME = range(7)
N_STATE = 7

# Decisions every second; physics in steps of 0.2 s.
N_DECISIONS = 20
SUBSTEPS = 5
DT = 0.2
EXIT_GAP = 100.0  # the BV has left
LEADER_SPEED = 21.0
HARDEST, STRONGEST = -8.0, 3.0  # what the AV's tyres and engine allow, m/s²

# Actions: accelerations −7.5, −7.2 ... 1.5 m/s², and the lane change (at constant speed).
N_ACCELERATIONS = 31
N_ACTIONS = 32
CUT_IN = 31
LEAST, STEP = -7.5, 0.3

# Naturalistic BV: an intelligent-driver model of desired speed 31 m/s with a two-scale logistic
# disturbance, and a lane-change model after MOBIL (incentive and safety, both soft).
_NARROW, _WIDE, _WIDE_SHARE = 0.3, 3.5, 0.15
_CUT_IN_RATE = 0.3


@kernel(nogil=True)
def intelligent_driver(speed, gap, closing, desired, headway, strongest, comfortable, standstill):
    """Acceleration of the intelligent-driver model (Treiber, Hennecke & Helbing 2000, eq. 3).

    (float64 x 8) -> float64
    """
    free = speed / desired
    free *= free
    wish = standstill + max(
        speed * headway + speed * closing / (2.0 * np.sqrt(strongest * comfortable)), 0.0
    )
    near = wish / max(gap, 0.1)
    return strongest * (1.0 - free * free - near * near)


@kernel(nogil=True)
def intention(gap, speed, bv_speed, leader_gap, phase):
    """Mean acceleration of the BV and its probability of cutting in.

    (float64 x 5) -> (float64, float64)
    """
    free = intelligent_driver(bv_speed, np.inf, 0.0, 31.0, 1.2, 1.2, 2.0, 2.0)
    if phase > 0.0:
        return free, 0.0
    following = intelligent_driver(
        bv_speed, leader_gap, bv_speed - LEADER_SPEED, 31.0, 1.2, 1.2, 2.0, 2.0
    )
    if gap <= 0.0:
        return following, 0.0
    incentive = (free - following - 1.0) / 0.3
    # A headway of 0.2 s and 3 m, and room for the AV to brake by 1.5 m/s², within 1 m or so.
    closing = max(speed - bv_speed, 0.0)
    safe = gap - 3.0 - 0.2 * speed - closing * closing / 3.0
    chance = _CUT_IN_RATE / ((1.0 + np.exp(-incentive)) * (1.0 + np.exp(-safe)))
    chance /= 1.0 + np.exp((4.0 - gap) / 0.4)  # nobody means to touch
    return following, chance


@kernel(nogil=True)
def probabilities(states, p):
    """Naturalistic probabilities of the BV's actions.

    (float64[:, :] (m, 7), float64[:, :] (m, 32) out) -> None
    """
    for i in range(len(states)):
        s = states[i]
        mean, chance = intention(s[GAP], s[SPEED], s[BV_SPEED], s[LEADER_GAP], s[PHASE])
        keep = 1.0 - chance
        below = 0.0
        for k in range(N_ACCELERATIONS - 1):
            edge = LEAST + (k + 0.5) * STEP - mean
            upto = (1.0 - _WIDE_SHARE) / (1.0 + np.exp(-edge / _NARROW)) + _WIDE_SHARE / (
                1.0 + np.exp(-edge / _WIDE)
            )
            p[i, k] = keep * (upto - below)
            below = upto
        p[i, N_ACCELERATIONS - 1] = keep * (1.0 - below)
        p[i, CUT_IN] = chance


@kernel(nogil=True)
def sample_action(s, u, v, w):
    """Draw an action of `probabilities` from three uniforms, without computing all of them.

    (float64[:] (7,), float64, float64, float64) -> int64
    """
    mean, chance = intention(s[GAP], s[SPEED], s[BV_SPEED], s[LEADER_GAP], s[PHASE])
    if u < chance:
        return CUT_IN
    scale = _WIDE if v < _WIDE_SHARE else _NARROW
    x = mean + scale * np.log(w / (1.0 - w))
    return int(min(max(np.round((x - LEAST) / STEP), 0.0), N_ACCELERATIONS - 1.0))


@kernel(nogil=True)
def begin(u, s):
    """Set the first state from four uniforms.

    (float64[:] (4,), float64[:] (7,) out) -> None
    """
    s[SPEED] = 24.0 + 2.0 * u[0]
    s[BV_SPEED] = s[SPEED] + 4.0 * u[1]
    s[GAP] = 3.0 + 9.0 * u[2]
    s[LEADER_GAP] = 60.0 + 60.0 * u[3]
    s[ACCELERATION] = 0.0
    s[PHASE] = 0.0
    s[TIME] = 0.0


@kernel(nogil=True)
def act(s, action):
    """Start the BV's action; return its acceleration.

    (float64[:] (7,), int64) -> float64
    """
    if action == CUT_IN:
        s[PHASE] = 1.0
        return 0.0
    return LEAST + STEP * action


@kernel(nogil=True)
def advance(s, acceleration, bv_acceleration):
    """Move all vehicles by one step of 0.2 s; return the time to collision.

    (float64[:] (7,), float64, float64) -> float64
    """
    acceleration = min(max(acceleration, HARDEST), STRONGEST)
    speed = max(s[SPEED] + acceleration * DT, 0.0)
    bv_speed = max(s[BV_SPEED] + bv_acceleration * DT, 0.0)
    if s[PHASE] == 0.0:
        s[LEADER_GAP] += (LEADER_SPEED - 0.5 * (s[BV_SPEED] + bv_speed)) * DT
        if s[LEADER_GAP] < 1.0:  # whatever its disturbance, a BV does not drive into its leader
            s[LEADER_GAP] = 1.0
            bv_speed = min(bv_speed, LEADER_SPEED)
    s[GAP] += 0.5 * (s[BV_SPEED] + bv_speed - s[SPEED] - speed) * DT
    s[SPEED] = speed
    s[BV_SPEED] = bv_speed
    s[ACCELERATION] = acceleration
    if s[PHASE] == 1.0 and speed > bv_speed:
        return max(s[GAP], 0.0) / (speed - bv_speed)
    return np.inf


@kernel(nogil=True)
def ended(s):
    """Whether the scenario is over.

    (float64[:] (7,)) -> bool
    """
    return (s[PHASE] == 1.0 and s[GAP] <= 0.0) or s[GAP] > EXIT_GAP or s[TIME] >= N_DECISIONS


@kernel(nogil=True)
def advance_rows(states, rows, acceleration, bv_acceleration, closest, running):
    """`advance` for many scenarios; those that crash stop.

    (float64[:, :] (n, 7), int64[:] (m,), float64[:] (m,), float64[:] (m,), float64[:] (n,),
     bool[:] (m,)) -> None
    """
    for i in range(len(rows)):
        if running[i]:
            s = states[rows[i]]
            closest[rows[i]] = min(
                closest[rows[i]], advance(s, acceleration[i], bv_acceleration[i])
            )
            running[i] = not (s[PHASE] == 1.0 and s[GAP] <= 0.0)


# Grids of the tables: nodes, first node, spacing. Gaps are laid out by their square roots, finely
# where it matters.
ROOT_GAPS = (61, 0.0, 1.0 / 6.0)
SPEEDS = (37, 0.0, 1.0)
CLOSINGS = (37, -12.0, 0.7)
BEHIND_ROOT_GAPS = (81, 0.0, 0.125)
BEHIND_CLOSINGS = (61, -8.0, 0.4)
BEHIND_SPEEDS = (11, 0.0, 3.2)
PASSING_GAPS = (46, 0.0, 1.0)
PASSING_CLOSINGS = (21, -5.0, 0.6)
PASSING_SPEEDS = (5, 20.0, 2.6)
ROOT_LEADER_GAPS = (13, 1.0, 0.9)
N_BEHIND = BEHIND_ROOT_GAPS[0] * BEHIND_CLOSINGS[0] * BEHIND_SPEEDS[0]
N_PASSING = PASSING_GAPS[0] * PASSING_CLOSINGS[0] * PASSING_SPEEDS[0] * ROOT_LEADER_GAPS[0]
_GONE, _CRASHED, _BEHIND, _PASSING = range(4)  # tables a state may lie in
_NEGLIGIBLE = 1e-13  # criticality taken for none


@kernel(nogil=True, inline="always")
def _place(x, grid):
    """Node below x and the share of the next one; x is held within the grid."""
    y = min(max((x - grid[1]) / grid[2], 0.0), grid[0] - 1.000001)
    i = int(y)
    return i, y - i


@kernel(nogil=True)
def _trilinear(flat, cell, a, i, b, j, c):
    """Interpolate in the cell of a flat table with strides (i, j, 1), at shares (a, b, c)."""
    near = (1.0 - c) * flat[cell] + c * flat[cell + 1]
    near += b * ((1.0 - c) * flat[cell + j] + c * flat[cell + j + 1] - near)
    cell += i
    far = (1.0 - c) * flat[cell] + c * flat[cell + 1]
    far += b * ((1.0 - c) * flat[cell + j] + c * flat[cell + j + 1] - far)
    return near + a * (far - near)


@kernel(nogil=True)
def respond(s, following, free):
    """Acceleration of a tabulated driver.

    (float64[:] (7,), float[:] root gap x speed x closing, float64[:] speed) -> float64
    """
    j, b = _place(s[SPEED], SPEEDS)
    if s[PHASE] == 0.0:
        return free[j] + b * (free[j + 1] - free[j])
    i, a = _place(np.sqrt(max(s[GAP], 0.0)), ROOT_GAPS)
    k, c = _place(s[SPEED] - s[BV_SPEED], CLOSINGS)
    cell = (i * SPEEDS[0] + j) * CLOSINGS[0] + k
    return _trilinear(following, cell, a, SPEEDS[0] * CLOSINGS[0], b, CLOSINGS[0], c)


@kernel(nogil=True)
def foresee(s, action, following, free):
    """Play one decision with a tabulated driver, in place.

    (float64[:] (7,), int64, float[:], float64[:]) -> None
    """
    bv_acceleration = act(s, action)
    for _ in range(SUBSTEPS):
        advance(s, respond(s, following, free), bv_acceleration)
        if s[PHASE] == 1.0 and s[GAP] <= 0.0:
            break
    s[TIME] += 1.0


@kernel(nogil=True)
def _fourth_power(x):
    x *= x
    return x * x


@kernel(nogil=True)
def _locate(s):
    """Where a state lies in the tables, whatever the time: table, cell, shares of its next nodes.

    (float64[:] (7,)) -> (int64, int64, float64, float64, float64, float64)
    """
    if s[PHASE] == 1.0:
        if s[GAP] <= 0.0:
            return _CRASHED, 0, 0.0, 0.0, 0.0, 0.0
        if s[GAP] > EXIT_GAP:
            return _GONE, 0, 0.0, 0.0, 0.0, 0.0
        i, a = _place(np.sqrt(s[GAP]), BEHIND_ROOT_GAPS)
        j, b = _place(s[SPEED] - s[BV_SPEED], BEHIND_CLOSINGS)
        k, c = _place(s[BV_SPEED], BEHIND_SPEEDS)
        cell = (i * BEHIND_CLOSINGS[0] + j) * BEHIND_SPEEDS[0] + k
        return _BEHIND, cell, a, b, c, 0.0
    if s[GAP] > EXIT_GAP:
        return _GONE, 0, 0.0, 0.0, 0.0, 0.0
    i, a = _place(s[GAP], PASSING_GAPS)
    j, b = _place(s[SPEED] - s[BV_SPEED], PASSING_CLOSINGS)
    k, c = _place(s[SPEED], PASSING_SPEEDS)
    m, d = _place(np.sqrt(s[LEADER_GAP]), ROOT_LEADER_GAPS)
    cell = ((i * PASSING_CLOSINGS[0] + j) * PASSING_SPEEDS[0] + k) * ROOT_LEADER_GAPS[0] + m
    return _PASSING, cell, a, b, c, d


@kernel(nogil=True)
def _look_up(table, cell, a, b, c, d, passing, behind):
    """Crash probability at what `_locate` found, from the tables of one time.

    The tables hold its fourth root: it falls by orders of magnitude from node to node.

    (int64, int64, float64 x 4, float[:], float[:]) -> float64
    """
    if table == _BEHIND:
        root = _trilinear(
            behind, cell, a, BEHIND_CLOSINGS[0] * BEHIND_SPEEDS[0], b, BEHIND_SPEEDS[0], c
        )
    elif table == _PASSING:
        speeds = PASSING_SPEEDS[0] * ROOT_LEADER_GAPS[0]
        root = _trilinear(passing, cell, b, speeds, c, ROOT_LEADER_GAPS[0], d)
        cell += PASSING_CLOSINGS[0] * speeds
        root += a * (_trilinear(passing, cell, b, speeds, c, ROOT_LEADER_GAPS[0], d) - root)
    else:
        return 1.0 if table == _CRASHED else 0.0
    root *= root
    return root * root


@kernel(nogil=True)
def criticality(s, passing, behind):
    """Tabulated crash probability at a state.

    (float64[:] (7,), float[:, :] time x passing grid, float[:, :] time x behind grid) -> float64
    """
    table, cell, a, b, c, d = _locate(s)
    t = min(int(s[TIME]), N_DECISIONS)
    return _look_up(table, cell, a, b, c, d, passing[t], behind[t])


@kernel(nogil=True)
def challenge(states, following, free, passing, behind, out):
    """Crash probability after each action, Q(s, a), for a tabulated driver.

    (float64[:, :] (m, 7), float[:], float64[:], float[:, :], float[:, :],
     float64[:, :] (m, 32) out) -> None
    """
    s = np.empty(N_STATE)
    common = np.empty(SUBSTEPS)
    for i in range(len(states)):
        # Where nothing can happen any more, nothing is worth computing.
        if criticality(states[i], passing, behind) < _NEGLIGIBLE:
            out[i] = 0.0
            continue
        # What the AV does whatever the action: all of it while the BV passes, to which it does not
        # respond, else what it does first.
        passing_by = states[i, PHASE] == 0.0
        known = SUBSTEPS if passing_by else 1
        s[:] = states[i]
        for k in range(known):
            common[k] = respond(s, following, free)
            advance(s, common[k], 0.0)
        for action in range(N_ACTIONS):
            if action == CUT_IN and not passing_by:
                out[i, action] = 0.0
                continue
            s[:] = states[i]
            bv_acceleration = act(s, action)
            for k in range(SUBSTEPS):
                if k < known and action != CUT_IN:
                    advance(s, common[k], bv_acceleration)
                else:
                    advance(s, respond(s, following, free), bv_acceleration)
                if s[PHASE] == 1.0 and s[GAP] <= 0.0:
                    break
            s[TIME] += 1.0
            out[i, action] = criticality(s, passing, behind)


@kernel(nogil=True)
def solve(following, free, passing, behind):
    """Fill the tables of crash probabilities, backwards in time.

    (float[:] root gap x speed x closing, float64[:] speed, float[:, :] out, float[:, :] out)
    -> None
    """
    nodes = np.empty((behind.shape[1], N_STATE))
    row = 0
    for i in range(BEHIND_ROOT_GAPS[0]):
        for j in range(BEHIND_CLOSINGS[0]):
            for k in range(BEHIND_SPEEDS[0]):
                root = BEHIND_ROOT_GAPS[1] + i * BEHIND_ROOT_GAPS[2]
                nodes[row, GAP] = root * root
                nodes[row, BV_SPEED] = BEHIND_SPEEDS[1] + k * BEHIND_SPEEDS[2]
                closing = BEHIND_CLOSINGS[1] + j * BEHIND_CLOSINGS[2]
                nodes[row, SPEED] = max(nodes[row, BV_SPEED] + closing, 0.0)
                nodes[row, LEADER_GAP] = 100.0
                nodes[row, PHASE] = 1.0
                row += 1
    _backwards(nodes, following, free, passing, behind, behind)
    nodes = np.empty((passing.shape[1], N_STATE))
    row = 0
    for i in range(PASSING_GAPS[0]):
        for j in range(PASSING_CLOSINGS[0]):
            for k in range(PASSING_SPEEDS[0]):
                for m in range(ROOT_LEADER_GAPS[0]):
                    root = ROOT_LEADER_GAPS[1] + m * ROOT_LEADER_GAPS[2]
                    nodes[row, GAP] = PASSING_GAPS[1] + i * PASSING_GAPS[2]
                    nodes[row, SPEED] = PASSING_SPEEDS[1] + k * PASSING_SPEEDS[2]
                    closing = PASSING_CLOSINGS[1] + j * PASSING_CLOSINGS[2]
                    nodes[row, BV_SPEED] = nodes[row, SPEED] - closing
                    nodes[row, LEADER_GAP] = root * root
                    nodes[row, PHASE] = 0.0
                    row += 1
    _backwards(nodes, following, free, passing, behind, passing)


@kernel(nogil=True)
def _backwards(nodes, following, free, passing, behind, flat):
    """Dynamic programming over one grid; `flat` is the table that is filled, by time and node."""
    n = len(nodes)
    nodes[:, ACCELERATION] = 0.0
    nodes[:, TIME] = 0.0
    p = np.empty((n, N_ACTIONS))
    probabilities(nodes, p)
    # Where each action leads does not depend on the time.
    table = np.empty((n, N_ACTIONS), dtype=np.int8)
    cell = np.empty((n, N_ACTIONS), dtype=np.int32)
    share = np.empty((n, N_ACTIONS, 4), dtype=np.float32)
    s = np.empty(N_STATE)
    for i in range(n):
        for action in range(N_ACTIONS):
            table[i, action] = _GONE
            if p[i, action] > 0.0:
                s[:] = nodes[i]
                foresee(s, action, following, free)
                found, where, a, b, c, d = _locate(s)
                table[i, action] = found
                cell[i, action] = where
                share[i, action, 0] = a
                share[i, action, 1] = b
                share[i, action, 2] = c
                share[i, action, 3] = d
    flat[N_DECISIONS] = 0.0
    for t in range(N_DECISIONS - 1, -1, -1):
        for i in range(n):
            if ended(nodes[i]):
                flat[t, i] = 1.0 if nodes[i, PHASE] == 1.0 and nodes[i, GAP] <= 0.0 else 0.0
                continue
            total = 0.0
            for k in range(N_ACTIONS):
                a, b, c, d = share[i, k]
                total += p[i, k] * _look_up(
                    table[i, k], cell[i, k], a, b, c, d, passing[t + 1], behind[t + 1]
                )
            flat[t, i] = min(total, 1.0) ** 0.25


@functools.lru_cache(maxsize=16)
def compiled(driver):
    """Compile loops around a jitted ``driver(speed, gap, closing_speed) -> acceleration``.

    Returns ``second(states, rows, action, closest)``, which plays one decision of many scenarios,
    and ``crude(rng, n)``, which plays n naturalistic scenarios and counts crashes. Both return the
    state at which the driver gave NaN as well, if it did. They are not cached on disk: Numba would
    write an entry in every process and find it in none.
    """

    @numba.njit(error_model="numpy", nogil=True)
    def play(s, action, bad):
        """Play one second; return the least time to collision, -1 without a finite action."""
        bv_acceleration = act(s, action)
        closest = np.inf
        for _ in range(SUBSTEPS):
            if s[PHASE] == 1.0:
                a = driver(s[SPEED], s[GAP], s[SPEED] - s[BV_SPEED])
            else:
                a = driver(s[SPEED], np.inf, 0.0)
            if not np.isfinite(a):
                bad[:] = s
                return -1.0
            closest = min(closest, advance(s, a, bv_acceleration))
            if s[PHASE] == 1.0 and s[GAP] <= 0.0:
                break
        s[TIME] += 1.0
        return closest

    @numba.njit(error_model="numpy", nogil=True)
    def second(states, rows, action, closest, bad):
        for i in range(len(rows)):
            found = play(states[rows[i]], action[i], bad)
            if found < 0.0:
                return i
            closest[rows[i]] = min(closest[rows[i]], found)
        return -1

    @numba.njit(error_model="numpy", nogil=True)
    def crude(rng, n, bad):
        s = np.empty(N_STATE)
        u = np.empty(4)
        crashes = 0
        for i in range(n):
            for k in range(4):
                u[k] = rng.random()
            begin(u, s)
            while not ended(s):
                action = sample_action(s, rng.random(), rng.random(), rng.random())
                if play(s, action, bad) < 0.0:
                    return crashes, i
            crashes += s[PHASE] == 1.0 and s[GAP] <= 0.0
        return crashes, n

    return second, crude
