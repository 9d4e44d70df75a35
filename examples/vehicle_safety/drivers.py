"""Driver models to evaluate.

Name one as ``--driver examples/vehicle_safety/drivers.py:cautious``.
"""

import math


def cautious(speed, gap, closing_speed):
    """The intelligent-driver model with a headway of 1.5 s, braking at 4.5 m/s² at most."""
    wish = 2.0 + max(1.5 * speed + speed * closing_speed / 3.5, 0.0)
    return max(1.5 * (1.0 - (speed / 30.0) ** 4 - (wish / max(gap, 0.1)) ** 2), -4.5)


def dozing(speed, gap, closing_speed):
    """Nothing until two seconds before a collision; then braking at 6.5 m/s²."""
    if math.isinf(gap):
        return 0.4 * (28.0 - speed)
    if closing_speed > 0.0 and gap / closing_speed < 2.0:
        return -6.5
    return 0.2 * (28.0 - speed) - (1.0 if gap < 0.3 * speed else 0.0)
