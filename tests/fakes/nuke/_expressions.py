"""Nuke's expressions, as far as the gizmo uses them: on knobs (a number) and in an Expression node (one a pixel)."""

from __future__ import annotations

import re
from typing import Any

_TOKEN = re.compile(r"\s*(\d+\.?\d*|[A-Za-z_][\w.]*|\|\||&&|==|!=|<=|>=|[-+*/()<>!?:])")
_LEVELS = (("||",), ("&&",), ("==", "!="), ("<", ">", "<=", ">="), ("+", "-"), ("*", "/"))


def evaluate(text: str, op: Any) -> float:
    """Evaluate a knob's expression; a name is ``parent.knob`` or ``root.knob``, an enumeration counts as its index."""
    from nuke import _knobs

    return float(compute(text, lambda name: float(_knobs._named(name, op).getValue())))


def compute(text: str, look_up: Any) -> Any:
    """Compute numbers, names, ``a ? b : c``, logic, comparisons and arithmetic; anything else raises."""
    tokens = _tokens(text)
    value, rest = _choice(tokens, look_up)
    if rest:
        raise ValueError(f"the fake cannot evaluate {text!r} from {rest[0]!r} on")
    return value


def _tokens(text: str) -> list[str]:
    tokens, at = [], 0
    text = text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"the fake cannot evaluate the expression {text!r}")
        tokens.append(match.group(1))
        at = match.end()
    return tokens


def _choice(tokens: list[str], look_up: Any) -> tuple[Any, list[str]]:
    condition, rest = _binary(tokens, look_up, 0)
    if rest[:1] != ["?"]:
        return condition, rest
    chosen, rest = _choice(rest[1:], look_up)
    if rest[:1] != [":"]:
        raise ValueError("'?' without ':'")
    other, rest = _choice(rest[1:], look_up)
    return (chosen if condition else other), rest


def _binary(tokens: list[str], look_up: Any, level: int) -> tuple[Any, list[str]]:
    if level == len(_LEVELS):
        return _operand(tokens, look_up)
    left, rest = _binary(tokens, look_up, level + 1)
    while rest and rest[0] in _LEVELS[level]:
        right, after = _binary(rest[1:], look_up, level + 1)
        left, rest = _applied(rest[0], left, right), after
    return left, rest


def _operand(tokens: list[str], look_up: Any) -> tuple[Any, list[str]]:
    if not tokens:
        raise ValueError("an expression ends too early")
    first, rest = tokens[0], tokens[1:]
    if first == "(":
        value, rest = _choice(rest, look_up)
        if rest[:1] != [")"]:
            raise ValueError("'(' without ')'")
        return value, rest[1:]
    if first in ("-", "!"):
        value, rest = _operand(rest, look_up)
        return (-value if first == "-" else float(not value)), rest
    if first[0].isdigit():
        return float(first), rest
    return look_up(first), rest


def _applied(operator: str, left: Any, right: Any) -> Any:
    if operator in ("||", "&&"):
        return float((left or right) != 0) if operator == "||" else float((left and right) != 0)
    table: dict[str, Any] = {
        "==": lambda: left == right,
        "!=": lambda: left != right,
        "<": lambda: left < right,
        ">": lambda: left > right,
        "<=": lambda: left <= right,
        ">=": lambda: left >= right,
    }
    if operator in table:
        return float(table[operator]())
    return {"+": lambda: left + right, "-": lambda: left - right, "*": lambda: left * right, "/": lambda: left / right}[
        operator
    ]()
