"""The posterior table, frozen."""

import html
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from mcvar._checks import import_extra
from mcvar._typing import FloatArray
from mcvar.integrate.analyse import Analysis
from mcvar.result import ConfidenceInterval, concise, half_width, interval_widths

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LONG = 30  # characters of a control's name in a printed table
_SHOWN = 200  # rows printed before the table is shortened


class SummaryRow(NamedTuple):
    """One parameter or function: see `PosteriorSummary`."""

    mean: float
    sd: float
    mcse: float
    controlled_mean: float
    controlled_se: float
    gain: float
    equivalent_draws: float
    controlled_sd: float
    controlled_sd_se: float
    control: str
    warnings: str


@dataclass(frozen=True, repr=False, eq=False)
class PosteriorSummary:
    """Posterior means and standard deviations, plain and controlled; k rows.

    ``table["theta[0]"]`` is one row, ``table.gain`` one column.

    Attributes
    ----------
    names : tuple of str, length k
        Parameters, then functions.
    mean, sd, mcse : ndarray, shape (k,)
        Plain posterior mean, standard deviation, and Monte Carlo standard error of the mean.
    controlled_mean, controlled_se : ndarray, shape (k,)
        Mean with the control, and its standard error.
    gain : ndarray, shape (k,)
        (mcse / controlled_se)²: how many times more draws the plain mean would need.
    equivalent_draws : ndarray, shape (k,)
        Number of independent draws whose plain mean has the error ``controlled_se``.
    controlled_sd, controlled_sd_se : ndarray, shape (k,)
        Standard deviation with the control on squares, and its standard error.
    control : tuple of str, length k
        Which control served the mean.
    warnings : tuple of str, length k
        Why an error bar is suspect; empty where nothing was seen.
    n, chains : int
        Draws in all, and chains.
    df : ndarray, shape (k,)
        Degrees of freedom of the controlled standard errors.
    skewness : ndarray, shape (k,)
        Skewness of the control-adjusted values over √n, which intervals allow for.

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> u = np.random.default_rng(1).normal(size=(2, 200, 2))
    >>> table = mcvar.summary(u, -u, names=["alpha", "beta"])
    >>> table.names, table.gain.shape, bool(abs(table["beta"].controlled_mean) < 1e-6)
    (('alpha', 'beta'), (2,), True)
    """

    names: tuple[str, ...]
    mean: FloatArray
    sd: FloatArray
    mcse: FloatArray
    controlled_mean: FloatArray
    controlled_se: FloatArray
    gain: FloatArray
    equivalent_draws: FloatArray
    controlled_sd: FloatArray
    controlled_sd_se: FloatArray
    control: tuple[str, ...]
    warnings: tuple[str, ...]
    n: int
    chains: int
    df: FloatArray
    skewness: FloatArray

    @classmethod
    def of(
        cls, names: list[str], center: FloatArray, found: Analysis, n: int, chains: int
    ) -> "PosteriorSummary":
        """Build the table from the analysis of deviations from `center`, and of their squares."""
        k = len(names)
        with_control, plain = found.combined, found.plain
        shift, square = with_control.mean[:k], with_control.mean[k:]
        error, square_error = np.sqrt(with_control.variance).reshape(2, k)
        error = np.hypot(error, np.finfo(float).eps * np.abs(center) * (error > 0))
        plain_variance = (plain.mean[k:] - plain.mean[:k] ** 2) * n / (n - 1)
        variance = square - shift**2
        impossible = (variance <= 0) & (plain_variance > 0)
        variance = np.where(impossible, plain_variance, np.maximum(variance, 0))
        sd = np.sqrt(variance)
        warnings = []
        for j in range(k):
            said = list(found.reasons[j])
            said += [f"sd: {r}" for r in found.reasons[k + j] if r not in said]
            if plain_variance[j] == 0:
                said = ["it has one value in all draws."]
            if impossible[j]:
                said.append("the controlled variance is not positive; the plain sd is shown.")
            warnings.append(" ".join(said))
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = plain.variance[:k] / error**2
            equivalent = plain_variance / error**2
            # var has the error of the square; that of the shift enters at second order only.
            sd_error = np.hypot(square_error, 2 * shift * error) / (2 * sd)
        return cls(
            tuple(names),
            center + plain.mean[:k],
            np.sqrt(np.maximum(plain_variance, 0)),
            np.sqrt(plain.variance[:k]),
            center + shift,
            error,
            np.where(error > 0, gain, 1.0),
            np.where(error > 0, equivalent, np.inf),
            sd,
            np.where(sd > 0, sd_error, 0.0),
            found.controls[:k],
            tuple(warnings),
            n,
            chains,
            np.broadcast_to(with_control.df, 2 * k)[:k].astype(float),
            np.broadcast_to(with_control.skewness, 2 * k)[:k].astype(float),
        )

    def __post_init__(self) -> None:
        for column in fields(self):
            array = getattr(self, column.name)
            if isinstance(array, np.ndarray):
                array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, name: str) -> SummaryRow:
        """Return the row of one parameter or function."""
        if name not in self.names:
            raise KeyError(f"no row {name!r}; there are {', '.join(self.names)}.")
        j = self.names.index(name)
        columns = {column: getattr(self, column) for column in SummaryRow._fields}
        cells: dict[str, Any] = {
            column: values[j] if isinstance(values, tuple) else float(values[j])
            for column, values in columns.items()
        }
        return SummaryRow(**cells)

    def confidence_interval(self, level: float = 0.95) -> ConfidenceInterval[FloatArray]:
        """Confidence interval of every controlled mean, two arrays of shape (k,)."""
        below, above = interval_widths(self.controlled_se, self.df, level, self.skewness)
        return ConfidenceInterval(self.controlled_mean - below, self.controlled_mean + above)

    @property
    def status(self) -> Literal["completed", "suspect"]:
        """ "suspect" where a row has warnings."""
        return "suspect" if self.reasons else "completed"

    @property
    def reasons(self) -> tuple[str, ...]:
        """The warnings, each with the name of its row."""
        named = zip(self.names, self.warnings, strict=True)
        return tuple(f"{name}: {warning}" for name, warning in named if warning)

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame`` with a row per name (extra ``arviz``)."""
        pandas = import_extra("pandas", "arviz")
        columns = {name: getattr(self, name) for name in SummaryRow._fields}
        return pandas.DataFrame(columns, index=pandas.Index(self.names, name="parameter"))

    def to_xarray(self) -> Any:
        """Return an ``xarray.Dataset`` over the dimension ``parameter`` (extra ``arviz``)."""
        xarray = import_extra("xarray", "arviz")
        columns = {
            name: ("parameter", np.asarray(getattr(self, name))) for name in SummaryRow._fields
        }
        return xarray.Dataset(
            columns,
            coords={"parameter": list(self.names)},
            attrs={"draws": self.n, "chains": self.chains},
        )

    def plot(self, ax: "Axes | None" = None, *, level: float = 0.95) -> "Axes":
        """Draw the plain and the controlled interval of every mean (extra ``plot``).

        In units of each row's posterior standard deviation, about the controlled mean.
        """
        from mcvar.plot import forest

        scale = np.where(self.sd > 0, self.sd, 1.0)
        return forest(
            self.names,
            (self.mean - self.controlled_mean) / scale,
            half_width(self.mcse, np.inf, level) / scale,
            half_width(self.controlled_se, self.df, level) / scale,
            ax,
            level=level,
        )

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        header = ["", "mean", "sd", "controlled mean", "controlled sd", "gain", "draws", "control"]
        rows = [
            [
                name + (" *" if row.warnings else ""),
                concise(row.mean, row.mcse),
                f"{row.sd:.4g}",
                concise(row.controlled_mean, row.controlled_se),
                concise(row.controlled_sd, row.controlled_sd_se),
                f"{row.gain:.3g}",
                f"{row.equivalent_draws:.3g}",
                _short(row.control),
            ]
            for name in self.names[:_SHOWN]
            for row in [self[name]]
        ]
        return header, rows

    def _notes(self) -> list[str]:
        hidden = len(self) - _SHOWN
        notes = [f"... {hidden} more rows"] if hidden > 0 else []
        return notes + [
            f"* {name}: {text}"
            for name, text in zip(self.names, self.warnings, strict=True)
            if text
        ]

    def __repr__(self) -> str:
        header, rows = self._cells()
        widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
        lines = [
            f"Posterior summary: {self.n} draws, {self.chains} "
            f"chain{'s' if self.chains > 1 else ''}; errors of the last two digits in brackets"
        ]
        for row in [header, *rows]:
            cells = [row[0].ljust(widths[0])]
            cells += [
                text.rjust(width) for text, width in zip(row[1:-1], widths[1:-1], strict=True)
            ]
            lines.append("  ".join([*cells, row[-1]]).rstrip())
        return "\n".join([*lines, *self._notes()])

    def _repr_html_(self) -> str:
        header, rows = self._cells()
        head = "".join(f"<th>{html.escape(text)}</th>" for text in header)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>"
            for row in rows
        )
        notes = "".join(f"<p>{html.escape(text)}</p>" for text in self._notes())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"


def _short(control: str) -> str:
    """Name a control without what it has chosen; the column `control` has it all."""
    return control if len(control) < _LONG else control.partition("(")[0] + "(...)"
