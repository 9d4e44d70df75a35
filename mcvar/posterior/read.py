"""Reading posterior draws and their scores: arrays, dicts, ArviZ objects."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcvar._checks import as_finite_array, as_real_array
from mcvar._typing import FloatArray

_GRADIENTS = ("grad_logpdf", "gradient", "grad", "score")
_UNCONSTRAINED = ("unconstrained_draw", "unconstrained_draws", "unconstrained")
_SOURCES = (
    " Gradients of the log density on the unconstrained scale come from: nutpie and PyMC, "
    "nutpie.sample(model, store_gradient=True, store_unconstrained=True); BlackJAX, NumPyro and "
    "other JAX code, jax.vmap(jax.grad(logdensity))(draws); Stan, BridgeStan's "
    "log_density_gradient(theta_unc, jacobian=True); PyTorch, torch.autograd.grad."
)


@dataclass(frozen=True)
class PosteriorDraws:
    """What a summary works on.

    Attributes
    ----------
    x, grad_logpdf : ndarray, shape (chains, draws, d)
        Draws on the scale of the scores, and the scores.
    variables : dict of str to ndarray, shape (chains, draws, *shape)
        What is reported.
    labels : dict of str to list of str
        Names of the components of each variable, in C order.
    """

    x: FloatArray
    grad_logpdf: FloatArray
    variables: dict[str, FloatArray]
    labels: dict[str, list[str]]


def read_posterior(
    data: Any, grad_logpdf: Any, constrained: Any, names: list[str] | None
) -> PosteriorDraws:
    """Bring what users have to one form; every error says what was seen and what was expected."""
    if names is not None:
        names = _as_names(names)
    if isinstance(data, Mapping) or hasattr(data, "posterior") or hasattr(data, "data_vars"):
        return _read_named(data, grad_logpdf, constrained, names)
    if hasattr(data, "sample_stats") or hasattr(data, "groups"):
        raise ValueError(f"{type(data).__name__} has no group 'posterior', which holds the draws.")
    x = _chains("x", data)
    if grad_logpdf is None:
        raise ValueError("grad_logpdf is missing." + _SOURCES)
    score = _chains("grad_logpdf", grad_logpdf)
    if score.shape != x.shape:
        raise ValueError(f"grad_logpdf has shape {score.shape}; expected that of x, {x.shape}.")
    reported = _reported_array(x, constrained)
    if isinstance(reported, Mapping):
        return PosteriorDraws(x, score, *_labelled(_checked(reported, x.shape[:2]), names))
    if names is None:
        return PosteriorDraws(x, score, *_labelled({"x": reported}, None))
    if len(names) != reported.shape[2] or len(set(names)) != len(names):
        raise ValueError(
            f"names has {len(names)} entries ({len(set(names))} distinct); expected "
            f"{reported.shape[2]}, one per column."
        )
    columns = {name: reported[:, :, j] for j, name in enumerate(names)}
    return PosteriorDraws(x, score, *_labelled(columns, None))


def _as_names(names: Any) -> list[str]:
    known = [] if isinstance(names, str) or not isinstance(names, Iterable) else list(names)
    if not known or not all(isinstance(name, str) for name in known):
        raise TypeError(f"names must be a list of str, got {names!r}.")
    return known


def _read_named(
    data: Any, grad_logpdf: Any, constrained: Any, names: list[str] | None
) -> PosteriorDraws:
    """Read a dict, flat or of groups, an ArviZ object or an xarray Dataset."""
    posterior, labels = _group(data, "posterior")
    if posterior is None:
        if not isinstance(data, Mapping) and not hasattr(data, "data_vars"):
            raise ValueError(f"{type(data).__name__} has no group 'posterior' with the draws.")
        if isinstance(data, Mapping) and "sample_stats" in data:
            raise ValueError(
                f"the {type(data).__name__} has 'sample_stats' and no group 'posterior'; expected "
                "both."
            )
        posterior, labels = _variables(data)
    if not posterior:
        raise ValueError("the posterior holds no variables; expected at least one.")
    first, values = next(iter(posterior.items()))
    leading = as_real_array(str(first), values).shape[:2]
    variables = _checked(posterior, leading if len(leading) == 2 else (0, 0), first)
    shape = next(iter(variables.values())).shape[:2]
    stats = _group(data, "sample_stats")[0] or {}
    score = _score(grad_logpdf, stats, variables)
    x = _unconstrained(data, stats, variables, score.shape[2])
    if x.shape != score.shape or x.shape[:2] != shape:
        raise ValueError(
            f"gradients have shape {score.shape} and unconstrained draws {x.shape}; expected both "
            f"(chains, draws, d) with (chains, draws) = {shape} as in the posterior."
        )
    if constrained is not None:
        found = constrained(variables) if callable(constrained) else constrained
        if not isinstance(found, Mapping):
            raise TypeError(
                f"constrained must give a dict of name to (chains, draws, ...) for named "
                f"variables, got {type(found).__name__}."
            )
        variables, labels = _checked(found, shape), {}
    return PosteriorDraws(x, score, *_labelled(variables, names, labels))


def _group(data: Any, name: str) -> tuple[dict[str, Any] | None, dict[str, list[str]]]:
    """Return a group's variables and the names of their components; None where it is missing."""
    if isinstance(data, Mapping):
        group = data.get(name)
        is_group = isinstance(group, Mapping) or hasattr(group, "data_vars")
        return _variables(group) if is_group else (None, {})
    group = getattr(data, name, None)
    return (None, {}) if group is None else _variables(group)


def _variables(group: Any) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Read a dict of arrays, or a Dataset (or a node of a DataTree) chain by draw first."""
    if not hasattr(group, "data_vars"):
        return {str(name): values for name, values in group.items()}, {}
    variables, labels = {}, {}
    for name, array in group.data_vars.items():
        missing = {"chain", "draw"} - set(array.dims)
        if missing:
            raise ValueError(
                f"{name} has dimensions {tuple(array.dims)}; expected 'chain' and 'draw' too."
            )
        turned = array.transpose("chain", "draw", ...)
        variables[str(name)] = turned.values
        rest = turned.dims[2:]
        ticks = [
            [str(v) for v in (turned.coords[dim].values if dim in turned.coords else range(size))]
            for dim, size in zip(rest, turned.shape[2:], strict=True)
        ]
        labels[str(name)] = _component_names(str(name), ticks)
    return variables, labels


def _score(grad_logpdf: Any, stats: dict[str, Any], variables: dict[str, FloatArray]) -> FloatArray:
    if isinstance(grad_logpdf, Mapping):
        missing = set(variables) ^ set(grad_logpdf)
        if missing:
            raise ValueError(
                f"grad_logpdf and the posterior disagree on {sorted(missing)}; expected the same "
                "variables in both."
            )
        shape = next(iter(variables.values())).shape[:2]
        parts = _checked({name: grad_logpdf[name] for name in variables}, shape)
        return _flat(parts)
    if grad_logpdf is not None:
        return _chains("grad_logpdf", grad_logpdf)
    for name in _GRADIENTS:
        if name in stats:
            return _chains(f"sample_stats[{name!r}]", stats[name])
    raise ValueError(
        f"no gradients: grad_logpdf was not given, and sample_stats "
        f"{f'holds {sorted(stats)}' if stats else 'is missing'}; expected one of "
        f"{', '.join(_GRADIENTS)} there." + _SOURCES
    )


def _unconstrained(
    data: Any, stats: dict[str, Any], variables: dict[str, FloatArray], d: int
) -> FloatArray:
    """Return draws on the scale of the scores: stored ones, or the variables themselves."""
    for name in _UNCONSTRAINED:
        if name in stats:
            return _chains(f"sample_stats[{name!r}]", stats[name])
    group = _group(data, "unconstrained_posterior")[0]
    if group:
        shape = next(iter(variables.values())).shape[:2]
        return _flat(_checked(group, shape))
    x = _flat(variables)
    if x.shape[2] != d:
        raise ValueError(
            f"the gradients have {d} coordinates and the posterior {x.shape[2]} values per draw, "
            "so that they are not on one scale. Store the unconstrained draws as "
            "sample_stats['unconstrained_draw'] (nutpie: store_unconstrained=True), or make the "
            "posterior the unconstrained draws and pass constrained=, a function of its variables."
        )
    return x


def _reported_array(x: FloatArray, constrained: Any) -> Any:
    """Return what to report for array draws: themselves, given values, or a function's."""
    if constrained is None:
        return x
    if callable(constrained):
        found = constrained(x.reshape(-1, x.shape[2]))
        if isinstance(found, Mapping):
            return {
                str(name): np.reshape(values, x.shape[:2] + np.shape(values)[1:])
                for name, values in found.items()
            }
        values = as_finite_array("constrained(x)", found)
        if values.ndim not in (1, 2) or len(values) != x.shape[0] * x.shape[1]:
            raise ValueError(
                f"constrained(x) has shape {values.shape}; expected "
                f"({x.shape[0] * x.shape[1]}, k), one row per draw."
            )
        return values.reshape(*x.shape[:2], -1)
    if isinstance(constrained, Mapping):
        return constrained
    values = _chains("constrained", constrained)
    if values.shape[:2] != x.shape[:2]:
        raise ValueError(
            f"constrained has shape {values.shape}; expected ({x.shape[0]}, {x.shape[1]}, k)."
        )
    return values


def _chains(name: str, values: Any) -> FloatArray:
    """Return (chains, draws, d); (draws, d) is one chain."""
    if isinstance(values, list | tuple) and len({np.shape(chain) for chain in values}) > 1:
        lengths = [len(chain) for chain in values]
        raise ValueError(
            f"{name} holds chains of unequal lengths {lengths}; cut them to one length, or use "
            "mcvar.estimate(values, mcvar.Draws(x, grad_logpdf=..., chain=labels))."
        )
    array = as_finite_array(name, values)
    if array.ndim == 2:
        array = array[np.newaxis]
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(
            f"{name} has shape {array.shape}; expected (chains, draws, d), or (draws, d) for one "
            "chain."
        )
    return array


def _checked(
    variables: Mapping[str, Any], shape: tuple[int, ...], first: str | None = None
) -> dict[str, FloatArray]:
    """Return finite arrays that all start with (chains, draws)."""
    arrays = {str(name): as_finite_array(str(name), values) for name, values in variables.items()}
    for name, array in arrays.items():
        if array.ndim < 2 or array.shape[:2] != shape or 0 in array.shape:
            like = f" as {first} has" if first not in (None, name) else ""
            wanted = shape if all(shape) else "(chains, draws)"
            raise ValueError(
                f"{name} has shape {array.shape}; expected it to start with {wanted}{like}."
            )
    return arrays


def _flat(variables: dict[str, FloatArray]) -> FloatArray:
    return np.concatenate([v.reshape(*v.shape[:2], -1) for v in variables.values()], axis=2)


def _labelled(
    variables: dict[str, FloatArray],
    names: list[str] | None,
    labels: dict[str, list[str]] | None = None,
) -> tuple[dict[str, FloatArray], dict[str, list[str]]]:
    """Keep the variables asked for, and name every component."""
    if names is not None:
        unknown = [name for name in names if name not in variables]
        if unknown:
            raise ValueError(f"no variable {unknown[0]!r}; there are {', '.join(variables)}.")
        variables = {name: variables[name] for name in names}
    given = labels or {}
    return variables, {
        name: given.get(name)
        or _component_names(name, [[str(i) for i in range(size)] for size in array.shape[2:]])
        for name, array in variables.items()
    }


def _component_names(name: str, ticks: list[list[str]]) -> list[str]:
    indices = [""]
    for axis in ticks:
        indices = [f"{before}, {tick}" if before else tick for before in indices for tick in axis]
    return [f"{name}[{index}]" if index else name for index in indices]


#: A function of the reported variables: dict of name to (chains, draws, *shape).
Function = Callable[[dict[str, FloatArray]], Any]


def evaluate_functions(
    functions: Mapping[str, Function] | None, draws: PosteriorDraws
) -> tuple[dict[str, FloatArray], dict[str, list[str]]]:
    """Evaluate users' functions of the reported variables."""
    if functions is None:
        return {}, {}
    if not isinstance(functions, Mapping) or not all(callable(f) for f in functions.values()):
        raise TypeError(f"functions must be a dict of name to function, got {functions!r}.")
    clash = set(functions) & set(draws.variables)
    if clash:
        raise ValueError(f"function {sorted(clash)[0]!r} has the name of a variable; rename it.")
    values = {}
    for name, function in functions.items():
        try:
            values[name] = function(dict(draws.variables))
        except KeyError as error:
            raise ValueError(
                f"function {name!r} asks for {error.args[0]!r}; there are "
                f"{', '.join(draws.variables)}."
            ) from None
    return _labelled(_checked(values, draws.x.shape[:2]), None)
