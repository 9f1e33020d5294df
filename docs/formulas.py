"""A loss's formula, written as a line of text, as MathML for the site: a browser draws it without a script.

A formula is clauses with commas between them: expressions (``sqrt(mean((p - t)^2))``), definitions (``e = |p - t|``)
and words (``S a skeleton``). What is no expression stays the words that it is.
"""

from __future__ import annotations

import ast
import re
from html import escape

GREEK = {"alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "lam": "λ"}
COMPARED = {ast.Lt: "&lt;", ast.LtE: "≤", ast.Gt: "&gt;", ast.Eq: "="}
NAME = r"[A-Za-z]\w*"


def draw_formula(text: str) -> str:
    """Return a formula as MathML with words between."""
    return ", ".join(_clause(clause) for clause in _split(text))


def _split(text: str) -> list[str]:
    """Return the clauses of a formula; commas within parentheses divide nothing."""
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    return [*parts, text[start:].strip()]


def _clause(text: str) -> str:
    """Return a clause: an expression, a definition, an expression with words round it, or words."""
    name, equals, right = text.partition(" = ")
    if equals and re.fullmatch(NAME, name):
        drawn = _expression(right)
        return _math(f"{_name(name)}<mo>=</mo>{drawn}") if drawn else f"{_math(_name(name))} = {_words(right)}"
    drawn = _expression(text)
    if drawn:
        return _math(drawn)
    words, of, rest = text.partition(" of ")  # such as: min over scale and shift of mean(…)
    return f"{_words(words)} of {_clause(rest)}" if of and "(" in rest else _words(text)


def _words(text: str) -> str:
    """Return words as words, and names of one letter (of several with a mark) among them as names."""

    def one(match: re.Match[str]) -> str:
        word = match[0]
        return _math(_name(word)) if word != "a" and re.fullmatch(r"[A-Za-z](_\w)?", word) else escape(word)

    return re.sub(r"[\w']+|[^\w']+", one, text)


def _expression(text: str) -> str | None:
    """Return MathML, or None where the text is more than an expression."""
    piece = re.fullmatch(r"mean\((.+) where (.+), else (.+)\)", text)
    if piece:
        rows = [(_expression(piece[1]), _expression(piece[2])), (_expression(piece[3]), "")]
        cells = [
            f"<mtr><mtd>{value}</mtd><mtd>{'<mtext>where&#160;</mtext>' + when if when else '<mtext>else</mtext>'}"
            "</mtd></mtr>"
            for value, when in rows
        ]
        table = f'<mtable columnalign="left left">{"".join(cells)}</mtable>'
        return f"<mrow><mo>mean</mo><mo>{{</mo>{table}</mrow>" if all(value for value, _ in rows) else None
    text = re.sub(r"prod\((.+) for j < M\)", r"prod(\1)", text)
    code = re.sub(r"\|([^|]+)\|", r"abs(\1)", text).replace("^", "**").replace("J_(i-1)", "J_before")
    try:
        return _draw(ast.parse(code, mode="eval").body)
    except (SyntaxError, KeyError):
        return None


def _draw(node: ast.expr, within: int = 0) -> str:
    """Return an expression, in parentheses where what it stands in binds more (1: a sum, 2: a product, 3: a power)."""
    match node:
        case ast.Constant(value=value):
            return f"<mn>{value}</mn>"
        case ast.Name(id=name):
            return _name(name)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            drawn = f"<mfrac>{_row(_draw(left))}{_row(_draw(right))}</mfrac>"
            return _parted(drawn, within > 2)
        case ast.BinOp(left=ast.Call(func=ast.Name(id=called)) as left, op=ast.Pow(), right=right) if called != "abs":
            return f"<msup>{_parted(_draw(left), True)}{_row(_draw(right))}</msup>"
        case ast.BinOp(left=ast.Name(id=name), op=ast.Pow(), right=right) if "_" in name:
            base, mark = name.split("_", 1)
            return f"<msubsup>{_name(base)}{_name(mark)}{_row(_draw(right))}</msubsup>"
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return f"<msup>{_row(_draw(left, 3))}{_row(_draw(right))}</msup>"
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            sign = "·" if not isinstance(left, ast.Constant) or isinstance(right, ast.Constant) else "&#8290;"
            return _parted(f"{_draw(left, 2)}<mo>{sign}</mo>{_draw(right, 2)}", within > 2)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
            minus = isinstance(op, ast.Sub)
            drawn = f"{_draw(left)}<mo>{'−' if minus else '+'}</mo>{_draw(right, 2 if minus else 0)}"
            return _parted(drawn, within > 0)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _parted(f"<mo>−</mo>{_draw(operand, 2)}", within > 2)
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return f"{_draw(left)}<mo>{COMPARED[type(op)]}</mo>{_draw(right)}"
        case ast.Call(func=ast.Name(id="abs"), args=[inner]):
            return _row(f"<mo>|</mo>{_draw(inner)}<mo>|</mo>")
        case ast.Call(func=ast.Name(id="sqrt"), args=[inner]):
            return f"<msqrt>{_draw(inner)}</msqrt>"
        case ast.Call(func=ast.Name(id="exp"), args=[inner]):
            return f"<msup><mi>e</mi>{_row(_draw(inner))}</msup>"
        case ast.Call(func=ast.Name(id="prod"), args=[inner]):
            under = "<mrow><mi>j</mi><mo>&lt;</mo><mi>M</mi></mrow>"
            return _row(f"<munder><mo>∏</mo>{under}</munder>{_draw(inner, 1)}")
        case ast.Call(func=ast.Name(id="sum"), args=[inner]):
            return _row(f"<mo>∑</mo>{_draw(inner, 1)}")
        case ast.Call(func=ast.Name(id=name), args=args):
            inner = "<mo>,</mo>".join(_draw(one) for one in args)
            shown = f"<mi>{name.replace('_', ' ')}</mi>"
            shown = "<msub><mi>log</mi><mn>10</mn></msub>" if name == "log10" else shown
            return _row(f"{shown}{_parted(inner, True)}")
    raise KeyError(type(node).__name__)


def _name(name: str) -> str:
    """Return a name: Greek where it is called so, what follows an underscore below the line."""
    if name == "J_before":
        return f"<msub><mi>J</mi>{_row('<mi>i</mi><mo>−</mo><mn>1</mn>')}</msub>"
    base, _, mark = name.partition("_")
    shown = f"<mi>{GREEK.get(base, base)}</mi>"
    return f"<msub>{shown}<mi>{mark}</mi></msub>" if mark else shown


def _row(inner: str) -> str:
    return f"<mrow>{inner}</mrow>"


def _parted(drawn: str, apart: bool) -> str:
    grows = "" if "<mfrac" in drawn else ' stretchy="false"'
    return _row(f"<mo{grows}>(</mo>{drawn}<mo{grows}>)</mo>") if apart else drawn


def _math(drawn: str) -> str:
    return f'<math display="inline"><mstyle displaystyle="true">{drawn}</mstyle></math>'
