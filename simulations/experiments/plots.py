"""Plots as PNG and SVG: what we measured as points and lines, what theory or a paper says as black lines and crosses."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from simulations.experiments.result import Limit, Plot, Series

_DASHES = ("-", "--", ":", "-.")


def write_plot(plot: Plot, folder: Path) -> list[Path]:
    """Write <name>.png and <name>.svg into *folder*; return where."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    assert isinstance(axes, Axes)
    for series in plot.series:
        _draw_series(axes, series)
    for at, limit in enumerate(plot.limits):
        _draw_limit(axes, limit, _DASHES[at % len(_DASHES)])
    axes.set(title=plot.title, xlabel=plot.x_label, ylabel=plot.y_label)
    if plot.log_x:
        axes.set_xscale("log")
    if plot.log_y:
        axes.set_yscale("log")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small")
    paths = [folder / f"{plot.name}.png", folder / f"{plot.name}.svg"]
    figure.savefig(paths[0], dpi=120)
    figure.savefig(paths[1], metadata={"Date": None})
    return paths


def _draw_series(axes: Axes, series: Series) -> None:
    style = "o-" if series.joined else "o"
    if not series.low:
        axes.plot(series.x, series.y, style, markersize=4, label=series.label)
        return
    below = [max(0.0, y - low) for y, low in zip(series.y, series.low, strict=True)]
    above = [max(0.0, high - y) for y, high in zip(series.y, series.high, strict=True)]
    axes.errorbar(series.x, series.y, yerr=[below, above], fmt=style, markersize=4, capsize=3, label=series.label)


def _draw_limit(axes: Axes, limit: Limit, dashes: str) -> None:
    if not limit.x:
        axes.axhline(limit.y[0], color="black", linestyle=dashes, linewidth=1, label=limit.label)
    elif limit.points:
        axes.plot(limit.x, limit.y, "x", color="black", label=limit.label)
    else:
        axes.plot(limit.x, limit.y, color="black", linestyle=dashes, linewidth=1, label=limit.label)
