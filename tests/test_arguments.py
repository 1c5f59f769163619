"""Numbers on the command line: what is one, and that everything else is refused at once and in few words."""

from argparse import ArgumentTypeError

import pytest

from admm_verify.arguments import at_least_one, decimal, whole
from admm_verify.cli import main

NO_NUMBERS = [
    "",
    "+",
    "-",
    ".",
    "1e",
    "--1",
    "1/3",
    "0x10",
    "nan",
    "-inf",
    "Infinity",
    "1_0",
    "\u0661",
    "1,5",
    " 1",
    "1.2.3",
]
HUGE = ["1e400", "-1e400", "1e999999999", "1e" + "9" * 10**5, "9" * 10**5]


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0.0), ("-0.5", -0.5), ("+1.", 1.0), (".5", 0.5), ("1e-3", 1e-3), ("2E+2", 200.0), ("1e-999999999", 0.0)],
)
def test_decimals(text, value):
    assert decimal(text) == value


@pytest.mark.parametrize("text", [*NO_NUMBERS, *HUGE])
@pytest.mark.parametrize("kind", [decimal, whole, at_least_one])
def test_everything_else_is_refused(kind, text):
    with pytest.raises(ArgumentTypeError) as caught:
        kind(text)
    assert str(caught.value).startswith("found '") and len(str(caught.value)) < 150


def test_whole_numbers():
    assert [whole(text) for text in ("0", "-3", "+7", "000123", "9" * 18)] == [0, -3, 7, 123, 10**18 - 1]
    assert at_least_one("1") == 1
    for text in ("0", "-1", "1.0", "1e3", "9" * 19):
        with pytest.raises(ArgumentTypeError, match="whole number"):
            at_least_one(text)


@pytest.mark.parametrize(
    "words",
    [
        ["verify", "q.vnnlib", "--network", "n.onnx", "--time", "5"],
        ["verify", "q.vnnlib", "--net", "n.onnx"],
        ["verify", "q.vnnlib", "--network", "n.onnx", "--timeout", "5", "--timeout=5"],
        ["certify", "--images", "i.npz", "--radii", "1", "--network", "n.onnx", "--network", "m.onnx"],
        ["certify", "--images", "i.npz", "--network", "n.onnx", "--radii", "1", "--radii", "2"],
        ["supports", "--onnx-op"],
        ["--vers"],
    ],
)
def test_options_are_given_in_full_and_once(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    shown = capsys.readouterr()
    assert ended.value.code == 2 and not shown.out and "error: " in shown.err


@pytest.mark.parametrize("option", ["--timeout", "--memory", "--threads", "--max-subproblems"])
@pytest.mark.parametrize("text", ["nan", "1e999999999", "", "1_0", "\u0661"])
def test_options_name_what_was_given(option, text, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["verify", "q.vnnlib", "--network", "n.onnx", f"{option}={text}"])
    shown = capsys.readouterr()
    assert ended.value.code == 2 and not shown.out
    assert f"argument {option}: found {text!r}; give a " in shown.err
