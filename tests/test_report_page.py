"""The page of a robustness report and its command: whole, alone, in order, against hostile texts and files."""

import json
import re
import struct
import subprocess
import sys
import zlib
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

import admm_verify as av
from admm_verify.cli import main
from admm_verify.report.demo import load_digits
from admm_verify.report.page.curves import AccuracyCurve, drawing
from admm_verify.report.page.html import element, escaped
from admm_verify.report.page.page import page
from admm_verify.report.page.png import differences, png, shades
from tests.test_certify_command import files  # noqa: F401
from tests.test_robustness_report import report_of

HOSTILE = '"><script>alert(1)</script>&<img src=x onerror=y>\u202e\x00\ud800'

VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """All elements with their attributes, the text, and whether every element is closed where it should be."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def outside(text):
    """Whatever a page may ask others for: addresses that are not its own content, and scripts."""
    addresses = re.findall(r"""(?:src|href|srcset|action|data|poster)\s*=\s*["']?([^"'\s>]+)""", text)
    return [a for a in addresses if not a.startswith("data:image/png;base64,")] + re.findall(
        r"url\(|@import|<script|<link|<iframe|<object|javascript:|https?://", text
    )


def hostile_report():
    *_, found = report_of()
    source = replace(found.source, network=HOSTILE, classes=(HOSTILE,) * 4, note=HOSTILE, settings=HOSTILE)
    return replace(found, source=source)


def test_the_page_is_whole_and_asks_nobody_for_anything():
    *_, found = report_of()
    text = page(found)
    read = Reader(text)
    assert text.startswith("<!DOCTYPE html>") and read.named("html") == [{"lang": "en"}] and outside(text) == []
    policy = next(one["content"] for one in read.named("meta") if "http-equiv" in one)
    assert policy.startswith("default-src 'none'")
    names = ["Accuracy over radii", "Class by class", "Smallest perturbations", "Steepness", "How this report was made"]
    assert [title in read.text for title in names] == [True] * 5 and len(read.named("section")) == 5
    for row in zip(found.radii, found.attacked_accuracy, found.certified_accuracy, strict=True):
        assert "at {:.4g} attacked {:.1%}, certified {:.1%}".format(*row) in read.text
    assert found.source.network_digest in read.text and found.source.data_digest in read.text
    assert f"numpy {np.__version__}" in read.text and "before its end" not in read.text
    drawn = next(one for one in read.named("svg") if one.get("role") == "img")
    for name in drawn["aria-labelledby"].split():
        assert any(one.get("id") == name for _, one in read.elements)
    assert all(one["scope"] in ("col", "row") for one in read.named("th"))
    # Three inputs are no picture: a table for each, of those that changed most.
    assert read.named("img") == [] and read.text.count("becomes") == len(found.examples)


def test_hostile_names_stay_text():
    text = page(hostile_report())
    read = Reader(text)
    assert outside(text.replace(escaped(HOSTILE), "")) == []
    assert {name for name, _ in read.elements}.isdisjoint({"script", "img"})
    shown = '"><script>alert(1)</script>&<img src=x onerror=y>'
    assert read.text.count(shown) > 8 and not any(c in text for c in "\u202e\x00\ud800")
    assert text.encode("utf-8")


def test_pages_that_know_their_command_stopped_or_found_nothing(tmp_path):
    network, images, labels, whole = report_of()
    calls = iter(range(10**9))
    run = av.Run(stop=lambda: next(calls) >= 3)
    found = av.robustness_report(network, images, labels, eps=[0.0], run=run)
    path = tmp_path / "page.html"
    path.write_text("older")
    av.report_page(path, found)
    read = Reader(path.read_text(encoding="utf-8"))
    assert "This run was stopped before its end" in read.text and "Not measured" in read.text
    assert "No input of another class was found" in read.text
    many = replace(whole, labels=np.arange(len(labels)), source=replace(whole.source, classes=tuple("abcdefghij")))
    assert "details" not in {name for name, _ in Reader(page(many)).elements}
    with pytest.raises(av.InputError, match="give an instance of RobustnessReport"):
        av.report_page(path, 3)
    with pytest.raises(av.InputError, match="The page is"):
        av.report_page("", found)
    with pytest.raises(av.OutputError, match="cannot be written"):
        av.report_page(tmp_path / "missing" / "page.html", found)


def decoded(content):
    """Pixels of a PNG file of bytes, by its chunks."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    place, parts = 8, {}
    while place < len(content):
        (size,) = struct.unpack(">I", content[place : place + 4])
        kind, body = content[place + 4 : place + 8], content[place + 8 : place + 8 + size]
        (check,) = struct.unpack(">I", content[place + 8 + size : place + 12 + size])
        assert check == zlib.crc32(kind + body)
        parts[kind], place = body, place + 12 + size
    columns, rows, depth, colours = struct.unpack(">IIBB", parts[b"IHDR"][:10])
    assert depth == 8 and list(parts) == [b"IHDR", b"IDAT", b"IEND"]
    lines = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(rows, -1)
    assert (lines[:, 0] == 0).all()
    return lines[:, 1:].reshape((rows, columns, 3) if colours == 2 else (rows, columns))


@pytest.mark.parametrize("shape", [(5, 7), (4, 3, 3), (1, 1)])
def test_pictures_hold_their_pixels(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    assert (decoded(png(pixels)) == pixels).all()


def test_shades_and_differences():
    assert shades(np.array([[0.0, 0.5, 1.0, 2.0]]), 0.0, 1.0).tolist() == [[0, 128, 255, 255]]
    assert shades(np.array([[3.0]]), 3.0, 3.0).tolist() == [[0]]
    shown = differences(np.array([[-2.0, 0.0, 2.0]]))
    assert shown.tolist() == [[[0, 114, 178], [255, 255, 255], [213, 94, 0]]]
    assert (differences(np.zeros((2, 2))) == 255).all() and (differences(np.zeros((2, 2, 3))) == 128).all()


@pytest.mark.parametrize("radii", [[0.1], [0.0, 0.1], [1e-4, 1e-3, 1e-1], np.linspace(0.01, 0.3, 40).tolist()])
def test_curves_stay_inside_their_drawing(radii):
    curves = [
        AccuracyCurve(name, [share] * len(radii), "#000", mark)
        for name, share, mark in (("a", 1.0, ""), ("b", 0.5, "s"), ("c", 0.0, "o"))
    ]
    text = drawing(radii, "radius", curves, "words").text
    across = [float(x) for x in re.findall(r'c?x="([\d.]+)"', text)]
    points = [
        tuple(map(float, pair.split(","))) for run in re.findall(r'points="([^"]+)"', text) for pair in run.split()
    ]
    assert all(0 <= x <= 480 for x in across) and all(0 <= x <= 480 and 0 <= y <= 300 for x, y in points)
    labels = re.findall(r'y="272" text-anchor="middle">([^<]+)<', text)
    assert labels[0] == f"{radii[0]:.4g}" and len(labels) <= 9
    Reader(text)


def test_elements_escape_their_attributes_and_text():
    made = element("p", ["<b>", element("br")], {"title": '"&'}).text
    assert made == '<p title="&quot;&amp;">&lt;b&gt;<br></p>'


def command(files, *more):  # noqa: F811
    steep = [] if "--lipschitz" in more else ["--lipschitz", "0"]
    return ["report", str(files / "net.onnx"), str(files / "set.npz"), "--eps", "0.1", "0.02", *steep, *more]


def test_the_command_end_to_end(files, capsys):  # noqa: F811
    html, out = files / "a page.html", files / "out.json"
    lines = ["--output", str(files / "found.jsonl")]
    named = [*command(files, "--html", str(html), "--json", str(out), *lines), "--classes", "a", "b", "<i>", "d"]
    assert main(named) == 0
    said = capsys.readouterr()
    assert said.err == "" and "12 images" in said.out and "certified" in said.out
    content, read = json.loads(out.read_text()), Reader(html.read_text(encoding="utf-8"))
    assert [one["radius"] for one in content["radii"]] == [0.02, 0.1]
    for one in content["radii"]:
        assert one["certified_accuracy"] <= one["attacked_accuracy"] <= content["clean_accuracy"]
    assert "<i>" in {one["name"] for one in content["classes"]} and "<i>" in read.text
    assert content["provenance"]["files"][0]["sha256"] in read.text and "'" + str(html) + "'" in read.text
    # What it accepts of data, certify accepts: images and labels apart.
    apart = ["report", str(files / "net.onnx"), str(files / "images.npy"), "--labels", str(files / "labels.npy")]
    # Certificates come from the file of the first run.
    assert main([*apart, "--eps", "0.1", "0.02", "--lipschitz", "0", *lines]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == said.out.splitlines()[1:]
    assert len((files / "found.jsonl").read_bytes().splitlines()) == 1 + 2 * 12


def test_the_time_limit_keeps_what_is_known(files, capsys):  # noqa: F811
    html = files / "page.html"
    assert main(command(files, "--html", str(html), "--timeout", "0.0")) in (0, 1)
    said = capsys.readouterr()
    if html.exists():
        assert "This run ran out of time before its end" in Reader(html.read_text(encoding="utf-8")).text
    else:
        assert "the time was up" in said.err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--html", "{}/missing/page.html"], "its folder is missing"),
        (["--html", "{}"], "it is a folder"),
        (["--html", "{}/set.npz"], "is also read"),
        (["--html", "{0}/page.html", "--json", "{0}/page.html"], "is to be written twice"),
        (["--classes", "a"], "1 names of classes; the network has 4 outputs"),
        (["--lipschitz", "-1"], "give a number >= 0"),
        (["--labels", "{}/odd.npz"], "holds several arrays"),
    ],
)
def test_one_message_for_every_bad_option(files, capsys, more, message):  # noqa: F811
    before = (files / "set.npz").read_bytes()
    assert main(command(files, *(text.format(files) for text in more))) == 1
    said = capsys.readouterr()
    assert said.out == "" and message in said.err and said.err.count("\n") == 1
    assert (files / "set.npz").read_bytes() == before and not (files / "page.html").exists()


def test_pages_need_no_matplotlib(files):  # noqa: F811
    code = (
        "import sys; sys.modules['matplotlib'] = None; from admm_verify.cli import main; "
        "code = main(sys.argv[1:]); sys.exit(code or 'torch' in sys.modules)"
    )
    given = command(files, "--html", str(files / "page.html"))
    done = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (files / "page.html").exists() and done.stderr == ""


def test_images_are_drawn_and_named():
    digits = load_digits()
    settings = av.ReportSettings(steepness=None, rivals=1, certifying=av.CertifySettings(bounds="crown", max_passes=0))
    found = av.robustness_report(digits.network, digits.images[:2], digits.labels[:2], eps=[0.1], settings=settings)
    shown = Reader(page(found)).named("img")
    assert len(shown) == 3 * len(found.examples) > 0 and all(one["alt"] for one in shown)
    for one in shown:
        pixels = decoded(b64decode(one["src"].partition(",")[2]))
        assert pixels.shape[:2] == (8, 8)
