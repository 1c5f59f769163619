"""What is often written instead of VNN-LIB, and what the message then advises."""

import re
from collections.abc import Sequence

from admm_verify.properties.sexpr import Form, Node, Word

SIGNS = ("<=", "<", ">=", ">", "==", "=", "!=")
ARITHMETIC = ("+", "-", "*")

IMPLICATION = "; there is no implication: write (or c b), where c is the opposite comparison of a"
_OTHER_SIGNS = {
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
}
_SHOWN = 60
"""Characters of a mended form that a message quotes at most."""

_FLAT = re.compile(r"([A-Za-z]\w*)_(\d+)", re.ASCII)
_BRACKETED = re.compile(r"([A-Za-z]\w*)\[(\d+)\]", re.ASCII)
_COMMANDS = (
    "set-logic",
    "set-option",
    "set-info",
    "check-sat",
    "get-model",
    "get-value",
    "push",
    "pop",
    "exit",
    "echo",
)


def condition_advice(node: Node) -> str:
    """How to write what stands where a condition belongs; "" where that is not plain."""
    if isinstance(node, Word):
        return ""
    lower = node.head.lower()
    if lower in ("and", "or") and lower != node.head:
        return f"; write {lower} in lower case"
    if node.head == "not":
        return "; write the opposite comparison instead of (not ...), as in (> Y_0 1) for (not (<= Y_0 1))"
    if node.head == "implies":
        return IMPLICATION
    if node.head in _OTHER_SIGNS:
        return f"; write {_OTHER_SIGNS[node.head]}"
    return infix_advice(node.items)


def infix_advice(items: Sequence[Node]) -> str:
    """How to write words whose operators stand between their operands; "" where none does."""
    between = [item.text for item in items[1::2] if isinstance(item, Word)]
    known = (*SIGNS, *ARITHMETIC, "and", "or")
    if not between or len(items) % 2 == 0 or len(between) < len(items) // 2 or not all(op in known for op in between):
        return ""
    operands, first = [_text(item) for item in items[::2]], between[0]
    if len(set(between)) == 1 and (len(between) == 1 or first not in SIGNS):
        mended = f"({first} {' '.join(operands)})"
    elif all(op in SIGNS for op in between):
        parts = zip(between, operands[:-1], operands[1:], strict=True)
        mended = f"(and {' '.join(f'({op} {left} {right})' for op, left, right in parts)})"
    else:
        mended = "(+ (* 2 Y_0) Y_1)"
    return (
        f"; operators come first: write {mended}" if len(mended) <= _SHOWN else "; operators come first, as in (<= a b)"
    )


def chain_advice(sign: str, operands: Sequence[Node]) -> str:
    """How to write a comparison of other than two operands."""
    if sign == "=" and operands and isinstance(operands[0], Word) and operands[0].text == ">":
        return IMPLICATION
    for start in range(len(operands) - 2):
        middle = operands[start + 1]
        if isinstance(middle, Word) and middle.text in ARITHMETIC:
            left, right = _text(operands[start]), _text(operands[start + 2])
            return f"; operators come first: write ({middle.text} {left} {right})"
    if len(operands) == 3:
        first, second, third = map(_text, operands)
        return f"; write (and ({sign} {first} {second}) ({sign} {second} {third}))"
    return ""


def term_advice(form: Form) -> str:
    """How to write what stands where a number or variable belongs; "" where that is not plain."""
    if form.head == "/":
        return "; there is no division: multiply by a decimal, as in (* 0.5 Y_0)"
    return infix_advice(form.items)


def name_advice(text: str, flat: bool) -> str:
    """How the other version's name of an entry is written; flat: whether the file is VNN-LIB 1.0."""
    match = (_BRACKETED if flat else _FLAT).fullmatch(text)
    if match is None:
        return ""
    mended, version = (f"{match[1]}_{match[2]}", "1.0") if flat else (f"{match[1]}[{match[2]}]", "2.0")
    return f"; VNN-LIB {version} writes {mended}"


def command_advice(head: str) -> str:
    """What to do about a command of SMT-LIB; "" for any other form."""
    return "; it is a command of SMT-LIB, so leave it out" if head in _COMMANDS else ""


def _text(node: Node) -> str:
    """A node as it was written, with single blanks."""
    if isinstance(node, Word):
        return node.text
    return f"({' '.join(map(_text, node.items))})" if isinstance(node, Form) else "..."
