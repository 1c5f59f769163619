"""The cactus plot: how many instances are decided within a time."""

import math
from collections.abc import Sequence
from pathlib import Path

from experiments.vnncomp.records import Record

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""The colour-blind safe palette of Okabe and Ito; line styles tell apart what shares a colour."""

_STYLES = ("-", "--", ":", "-.")
_LEAST_SECONDS = 1e-3


def cactus_plot(path: Path, records: Sequence[Record]) -> None:
    """Write the plot: a step curve per category, and one for all of them where there are several."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter

    categories = list(dict.fromkeys(record.category for record in records))
    times = [max(record.seconds, _LEAST_SECONDS) for record in records if record.outcome == "decided"]
    begin = 10.0 ** math.floor(math.log10(min(times, default=0.1)))
    span = (begin, max([begin * 10, *(max(record.timeout, record.seconds) for record in records)]))
    figure, axes = pyplot.subplots(figsize=(7.2, 4.2), layout="constrained")
    for number, category in enumerate(categories):
        mine = [record for record in records if record.category == category]
        colour = _COLOURS[number % len(_COLOURS)]
        style = _STYLES[number // len(_COLOURS) % len(_STYLES)]
        axes.step(*_curve(mine, span), where="post", color=colour, linestyle=style, label=_label(category, mine))
    if len(categories) != 1:
        axes.step(*_curve(records, span), where="post", color="black", linewidth=2, label=_label("all", records))
    axes.set(xscale="log", xlim=span, ylim=(0, None))
    axes.set(xlabel="wall time of an instance [s]", ylabel="instances decided", title="Decided within a time")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True, which="major", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _curve(records: Sequence[Record], span: tuple[float, float]) -> tuple[list[float], list[int]]:
    """Times, ascending, and how many instances were decided by then."""
    times = sorted(max(record.seconds, _LEAST_SECONDS) for record in records if record.outcome == "decided")
    return [span[0], *times, span[1]], [0, *range(1, len(times) + 1), len(times)]


def _label(name: str, records: Sequence[Record]) -> str:
    return f"{name} {sum(record.outcome == 'decided' for record in records)}/{len(records)}"
