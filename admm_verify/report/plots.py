"""Plots of convergence; matplotlib is imported where it is used."""

from collections.abc import Mapping, Sequence

from admm_verify.report.pictures import save

COLOURS = {"ascent": "#0072B2", "primal_dual": "#009E73", "admm": "#D55E00"}
"""One colour per method, from the colour-blind safe palette of Okabe and Ito."""

MARKERS = {"ascent": "o", "primal_dual": "s", "admm": "^"}


def convergence_plot(
    path: str, passes: Sequence[int], distances: Mapping[str, Sequence[float]], title: str, label: str
) -> None:
    """Write a log-log plot of a distance against passes, one curve per method.

    Raises: InputError when the file cannot be written or its suffix is no picture format.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")
    for method, values in distances.items():
        axes.plot(passes, values, color=COLOURS[method], marker=MARKERS[method], markersize=4, label=method)
    axes.set(xscale="log", yscale="log", xlabel="passes through the network", ylabel=label, title=title)
    axes.grid(visible=True, which="major", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    try:
        save(figure, path, dpi=130)
    finally:
        pyplot.close(figure)
