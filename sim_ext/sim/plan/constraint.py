"""A condition on the fields of a point, such as "wbits <= abits" or "llc.slices % threads == 0".

The text is Python's notation for an expression and nothing of it is run as Python: the tree is walked here,
and has numbers, texts, the plan's fields by name, + - * / // %, comparisons, `in`, `and`, `or`, `not` and
min, max, abs.
"""

import ast
import difflib
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sailsim.base.errors import SailsimError
from sailsim.base.quantity import is_number

LONGEST = 500
"""Characters of a constraint, at most."""

_NOTATION = "numbers, texts, the plan's fields, + - * / // %, comparisons, in, and, or, not, min, max and abs"
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda one, many: one in many,
    ast.NotIn: lambda one, many: one not in many,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max, "abs": abs}


class _RefusedError(ValueError):
    """Why a constraint cannot be read or decided; goes on after its text."""


@dataclass(frozen=True)
class Constraint:
    """A condition."""

    text: str
    tree: ast.expr

    @classmethod
    def parse(cls, text: str) -> "Constraint":
        """The condition of a text.

        Raises:
            SailsimError: what is no expression, or has other things than the notation.
        """
        if len(text) > LONGEST:
            raise SailsimError(
                f"constraint {text[:40]!r}... has {len(text)} characters; allowed are {LONGEST}."
            )
        try:
            tree = ast.parse(text.strip(), mode="eval").body
            for node in ast.walk(tree):
                _check(node)
        except _RefusedError as error:
            raise SailsimError(f"constraint {text!r} {error}; allowed are {_NOTATION}.") from None
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise SailsimError(f"constraint {text!r} is no expression; allowed are {_NOTATION}.") from None
        return cls(text, tree)

    def names(self) -> Iterator[str]:
        """The fields that it asks for."""
        yield from _names(self.tree)

    def check_names(self, known: Iterable[str]) -> None:
        """Raise SailsimError for a field that a plan does not have."""
        known = list(known)
        for name in self.names():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or sorted(known)[:3]
                raise SailsimError(
                    f"constraint {self.text!r} has {name}, which is no field of the plan; "
                    f"allowed are those of its axes and what is fixed, such as {', '.join(near)}."
                )

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether it is so for the values of a combination.

        Raises:
            SailsimError: it cannot be decided: a text beside a number, a division by 0.
        """
        try:
            found = _value(self.tree, values)
            if not isinstance(found, bool):
                raise _RefusedError(f"is {found!r}, neither true nor false")
        except _RefusedError as error:
            reason = str(error)
        except (TypeError, ArithmeticError, RecursionError):
            asked = ", ".join(f"{name} {values[name]!r}" for name in dict.fromkeys(self.names()))
            reason = f"cannot be decided for {asked or 'what it says'}"
        else:
            return found
        raise SailsimError(
            f"constraint {self.text!r} {reason}; allowed is a condition on numbers, or on texts by == != in."
        ) from None


def _check(node: ast.AST) -> None:
    """Raise _RefusedError for a part that the notation does not have."""
    match node:
        case ast.Constant(value=value) if isinstance(value, bool | str):
            return
        case ast.Constant(value=int() | float() as number) if is_number(number):
            return
        case ast.Name() | ast.Load() | ast.BoolOp() | ast.And() | ast.Or() | ast.Tuple() | ast.List():
            return
        case ast.Attribute(value=ast.Name() | ast.Attribute()):
            return
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd()) | ast.Not() | ast.USub() | ast.UAdd():
            return
        case ast.BinOp(op=op) if type(op) in _ARITHMETIC:
            return
        case ast.Compare(ops=ops) if all(type(op) in _COMPARISONS for op in ops):
            return
        case ast.operator() | ast.cmpop() if type(node) in {*_ARITHMETIC, *_COMPARISONS}:
            return
        case ast.Call(func=ast.Name(id=name), args=[_, *_], keywords=[]) if name in _FUNCTIONS:
            return
    raise _RefusedError(f"has {type(node).__name__}")


def _names(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name):
            yield name
        case ast.Attribute():
            yield _dotted(node)
        case ast.Call(args=arguments):
            for each in arguments:
                yield from _names(each)
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _names(child)


def _dotted(node: ast.expr) -> str:
    """The name of a field of a system: `llc.slices`."""
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    assert isinstance(node, ast.Name)
    return node.id


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name() | ast.Attribute():
            return values[_dotted(node)]
        case ast.Tuple(elts=each) | ast.List(elts=each):
            return tuple(_value(one, values) for one in each)
        case ast.BoolOp(op=op, values=each):
            found = (_truth(_value(one, values)) for one in each)
            return all(found) if isinstance(op, ast.And) else any(found)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _truth(_value(operand, values))
        case ast.UnaryOp(op=op, operand=operand):
            number = _number(_value(operand, values))
            return -number if isinstance(op, ast.USub) else number
        case ast.BinOp(left=left, op=op, right=right):
            one, other = (_number(_value(side, values)) for side in (left, right))
            return _ARITHMETIC[type(op)](one, other)
        case ast.Compare(left=left, ops=ops, comparators=others):
            return _compared(_value(left, values), ops, [_value(other, values) for other in others])
        case ast.Call(func=ast.Name(id=name), args=arguments):
            given = [_number(_value(each, values)) for each in arguments]
            return _FUNCTIONS[name](*given) if len(given) > 1 or name == "abs" else given[0]
    raise _RefusedError(f"has {type(node).__name__}")


def _compared(first: Any, ops: list[ast.cmpop], others: list[Any]) -> bool:
    """A chain of comparisons, as in 1 < x <= 4."""
    for op, other in zip(ops, others, strict=True):
        if isinstance(op, ast.In | ast.NotIn) and not isinstance(other, tuple):
            raise _RefusedError("asks what is in something that is no list")
        if not _COMPARISONS[type(op)](first, other):
            return False
        first = other
    return True


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _RefusedError(f"reckons with {value!r}")
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _RefusedError(f"takes {value!r} for true or false")
    return value
