"""`report_page`: a robustness report as one page of HTML."""

from collections.abc import Sequence
from os import PathLike

import numpy as np

import admm_verify
from admm_verify.files import replaced
from admm_verify.options import file_path, instance
from admm_verify.report.page.curves import AccuracyCurve, drawing, legend
from admm_verify.report.page.examples import examples
from admm_verify.report.page.html import Content, Html, element, joined, paragraph, section, table
from admm_verify.report.page.style import STYLE
from admm_verify.report.records.provenance import Provenance, installed_versions
from admm_verify.robustness.certification import radius_name
from admm_verify.robustness_report.result import RobustnessReport
from admm_verify.robustness_report.steepness import Steepness
from admm_verify.run import Ended

_CLEAN, _ATTACKED, _CERTIFIED = "#333333", "#D55E00", "#0072B2"

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""What browsers let the page fetch: nothing."""

_FOLDED = 20
"""Classes, or layers, from which on their table is folded away."""


def report_page(path: str | PathLike[str], report: RobustnessReport, provenance: Provenance | None = None) -> None:
    """Write a robustness report as one page of HTML, whole or not at all.

    It needs no network and no scripts: its drawing and pictures are part of it. provenance: how a command made it.
    Raises: InputError for what is no report or path; OutputError when the file cannot be written.
    """
    target = file_path(path, "The page")
    content = page(instance(report, RobustnessReport, "The report", ", such as av.robustness_report(...)"), provenance)
    with replaced(target, "page") as file:
        file.write(content.encode("utf-8"))


def page(report: RobustnessReport, provenance: Provenance | None = None) -> str:
    """The page as text."""
    source = report.source
    title = f"Robustness of {source.network}"
    head = [
        element("meta", [], {"charset": "utf-8"}),
        element("meta", [], {"http-equiv": "Content-Security-Policy", "content": _POLICY}),
        element("meta", [], {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("title", [title]),
        element("style", [Html(STYLE)]),
    ]
    parts = [
        element("header", _opening(report, title)),
        section("Accuracy over radii", _accuracy(report)),
        section("Class by class", _classes(report)),
        section("Smallest perturbations found", _examples(report)),
        section("Steepness", _steepness(report)),
        section("How this report was made", _making(report, provenance)),
    ]
    body = element("body", [element("main", parts)])
    return f"<!DOCTYPE html>\n{element('html', [element('head', head), body], {'lang': 'en'}).text}\n"


def _opening(report: RobustnessReport, title: str) -> list[Content]:
    count, source = len(report.labels), report.source
    parts: list[Content] = [element("h1", [title])]
    kinds = len(np.unique(report.labels))
    words = f"{count} image{'s' * (count != 1)} of {kinds} class{'es' * (kinds != 1)}, {source.norm} balls"
    parts.append(
        paragraph(f"{words}, {report.status.value} after {sum(s.seconds for s in report.steps):.1f} s.", "quiet")
    )
    if report.status is not Ended.COMPLETE:
        why = "was stopped" if report.status is Ended.STOPPED else "ran out of time"
        text = "All numbers are valid; unknown images may be certified or broken by a longer run."
        parts.append(paragraph(f"This run {why} before its end. {text}", "stopped"))
    if source.note is not None:
        parts.append(paragraph(source.note))
    middle = len(report.radii) // 2
    where = f"at {radius_name(source.norm)} {report.radii[middle]:.4g}"
    tiles = (
        (f"{report.clean_accuracy:.1%}", "clean"),
        (f"{report.attacked_accuracy[middle]:.1%}", f"attacked, {where}"),
        (f"{report.certified_accuracy[middle]:.1%}", f"certified, {where}"),
    )
    items = [element("li", [element("strong", [number]), words]) for number, words in tiles]
    return [*parts, element("ul", items, {"class": "tiles"})]


def _accuracy(report: RobustnessReport) -> list[Content]:
    radii = report.radii.tolist()
    clean = [report.clean_accuracy] * len(radii)
    attacked, certified = report.attacked_accuracy.tolist(), report.certified_accuracy.tolist()
    curves = [
        AccuracyCurve("clean", clean, _CLEAN, dashes="6 4"),
        AccuracyCurve("attacked: no attack found another class", attacked, _ATTACKED, "s"),
        AccuracyCurve("certified: there is none", certified, _CERTIFIED, "o"),
    ]
    name = radius_name(report.source.norm)
    steps = [
        f"at {radius:.4g} attacked {high:.1%}, certified {low:.1%}"
        for radius, high, low in zip(radii, attacked, certified, strict=True)
    ]
    words = f"Clean accuracy {report.clean_accuracy:.1%}; {'; '.join(steps)}."
    unknown = paragraph("The true accuracy lies between the two curves; the space between them is what is unknown.")
    return [legend(curves), drawing(radii, name, curves, words), unknown, _radii(report), _attacks(report)]


def _radii(report: RobustnessReport) -> Html:
    name, count = radius_name(report.source.norm), len(report.labels)
    rows = []
    for k, radius in enumerate(report.radii.tolist()):
        kinds = report.holding, report.certified, report.unknown, report.unfinished, report.rounded
        sums = [int(np.sum(found[:, k])) for found in kinds]
        shares = [f"{sums[0] / count:.1%}", f"{sums[1] / count:.1%}"]
        rows.append([f"{radius:.6g}", f"{report.clean_accuracy:.1%}", *shares, *map(str, sums)])
    header = [name, "clean", "attacked", "certified"]
    counts = ["hold out", "certified", "unknown", "unfinished", "rounded"]
    caption = f"Shares of all {count} images, and numbers of them (n)"
    told = table(caption, [*header, *(f"n {one}" for one in counts)], rows)
    words = (
        "Certified: bounds exclude every other class in the whole ball. Hold out: classified like the label, and no "
        "attack found an input of the ball with another class. Unknown: hold out, not certified. Unfinished: those of "
        "the unknown that were not worked on to the end. Rounded: certified in real numbers, another class by "
        "rounding alone; not counted as certified."
    )
    return joined([told, paragraph(words, "quiet")])


def _attacks(report: RobustnessReport) -> Html:
    rows = [
        [
            attack.name,
            *(f"{share:.1%}" for share in report.attacked_by(attack)),
            str(sum(one is not None for one in attack.nearest)),
            f"{attack.distortion:.4g}",
            f"{attack.seconds:.2f} s",
        ]
        for attack in report.attacks
    ]
    header = ["attack", *(f"{radius:.4g}" for radius in report.radii), "images broken", "distortion", "time"]
    words = (
        "Images broken: at any distance. Distortion: the mean over these of the root mean square change of an input, "
        "as in the paper that L-BFGS attacks come from (Szegedy et al. 2014). L-BFGS looks for the nearest input in l2 "
        "whatever the norm of the balls is; certify is what bounds find themselves, where an image is not certified."
    )
    told = table("Accuracy that each attack alone leaves, by radius", header, rows)
    return joined([told, paragraph(words, "quiet")])


def _classes(report: RobustnessReport) -> list[Content]:
    rows = []
    for label in np.unique(report.labels).tolist():
        images, clean, attacked, certified = report.of_class(label)
        pairs = [f"{low} to {high}" if low < high else f"{low}" for low, high in zip(certified, attacked, strict=True)]
        rows.append([report.source.classes[label], str(images), str(clean), *pairs])
    header = ["class", "images", "clean", *(f"{radius:.4g}" for radius in report.radii)]
    caption = "Images by class, and by radius how many keep their class within it: certified to attacked"
    return [_folded(table(caption, header, rows), len(rows), "classes")]


def _examples(report: RobustnessReport) -> list[Content]:
    words = (
        "The nearest input of another class that was found for an image, of the images that take least; distances in "
        f"the norm of the balls, {report.source.norm}. Differences are on a scale of their own: blue for less, "
        "vermilion for more."
    )
    return [*([paragraph(words, "quiet")] if report.examples else []), *examples(report)]


def _steepness(report: RobustnessReport) -> list[Content]:
    if not report.steepness:
        return [paragraph("Not measured: it was not asked for, or the time was up.")]
    parts: list[Content] = []
    for one in report.steepness:
        parts += _steep(one, report)
    return parts


def _steep(one: Steepness, report: RobustnessReport) -> list[Content]:
    words = f"{one.norm}: "
    if one.constant is not None:
        words += f"the Lipschitz constant is at most {one.constant.upper:.6g} and at least {one.constant.lower:.6g}"
    else:
        words += "no Lipschitz constant in the time given"
    words += f"; the product of the layers' norms is {one.layers.product:.6g}." if one.layers is not None else "."
    parts: list[Content] = [paragraph(words)]
    if one.norm == report.source.norm:
        counts = np.sum(one.certified(report.radii), axis=0).tolist()
        each = ", ".join(f"{n} at {radius:.4g}" for n, radius in zip(counts, report.radii.tolist(), strict=True))
        parts.append(paragraph(f"By the constant alone, margin over constant, so many images are certified: {each}."))
    if one.layers is not None:
        rows = [
            [str(layer.node), layer.kind, f"{layer.upper:.6g}", "" if layer.lower is None else f"{layer.lower:.6g}"]
            for layer in one.layers.layers
        ]
        told = table(f"Norms of the layers, {one.norm}", ["node", "kind", "at most", "at least"], rows)
        parts.append(_folded(told, len(rows), "layers"))
    return parts


def _making(report: RobustnessReport, provenance: Provenance | None) -> list[Content]:
    source = report.source
    parts: list[Content] = []
    if provenance is not None:
        parts += [paragraph("Command"), element("pre", [_shell(provenance.command)])]
    versions = installed_versions(admm_verify.__version__) if provenance is None else provenance.versions
    files = [] if provenance is None else provenance.files
    rows: list[list[Content]] = [[f"file {one.path}", _code(one.sha256 or "none: no regular file")] for one in files]
    rows.append(["network as read", _code(source.network_digest)])
    rows.append(["images and labels as read", _code(source.data_digest)])
    parts.append(table("SHA-256", ["of", "sum"], rows))
    parts.append(
        table(
            "Time", ["part", "seconds", "ended"], [[s.name, f"{s.seconds:.2f}", s.status.value] for s in report.steps]
        )
    )
    parts.append(paragraph("Settings"))
    parts.append(element("pre", [source.settings]))
    parts.append(paragraph("Versions: " + ", ".join(f"{name} {number}" for name, number in versions.items()), "quiet"))
    return parts


def _code(text: str) -> Html:
    return element("code", [text])


def _shell(command: Sequence[str]) -> str:
    from shlex import join

    return join(command)


def _folded(content: Html, rows: int, what: str) -> Html:
    """A long table behind a line that opens it."""
    if rows <= _FOLDED:
        return content
    return element("details", [element("summary", [f"{rows} {what}"]), content])
