"""Strings of a policy: wildcards and policy variables, compiled once and matched many times.

Knows nothing about statements or operators. What a variable resolves to comes in as a context.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Optional

from .context import Context

_VARIABLE = re.compile(r"\$\{\s*([^}]*?)\s*\}")
# "${*}", "${?}" and "${$}" are the characters themselves, without their special meaning.
_ESCAPES = {"*", "?", "$"}


class UnknownVariable(Exception):
    """The value of a policy variable cannot be known here, so neither can the answer of its statement."""


@dataclass(frozen=True)
class Variable:
    key: str
    default: Optional[str]


@dataclass(frozen=True)
class Pattern:
    """A policy string as a row of literals, wildcards (`*`, `?`) and variables."""

    text: str
    pieces: tuple

    def resolve(self, context: Context) -> Optional[tuple]:
        """The pieces with variables replaced; None if one of them has no value and no default."""
        if not any(isinstance(piece, Variable) for piece in self.pieces):
            return self.pieces
        resolved = []
        for piece in self.pieces:
            if not isinstance(piece, Variable):
                resolved.append(piece)
                continue
            if not context.is_known(piece.key):
                raise UnknownVariable(piece.key)
            values = context.get(piece.key)
            # A key with several values cannot be a variable: AWS resolves single-valued keys only.
            value = values[0] if values is not None and len(values) == 1 else piece.default
            if value is None:
                return None
            resolved.append(("text", value))
        return tuple(resolved)

    def literal(self, context: Context) -> Optional[str]:
        """The string where wildcards mean themselves, as StringEquals reads it."""
        resolved = self.resolve(context)
        return None if resolved is None else "".join(value for _, value in resolved)

    def matches(self, value: str, context: Context, *, ignore_case: bool = False, arn: bool = False) -> bool:
        """Whether `value` fits the pattern, as StringLike, Action and Resource read it."""
        resolved = self.resolve(context)
        return resolved is not None and _expression(resolved, ignore_case, arn).fullmatch(value) is not None


@lru_cache(maxsize=65536)
def compile_pattern(text: str, variables: bool = True) -> Pattern:
    """Parse a policy string. Variables exist in policies of version 2012-10-17 only."""
    pieces: list = []
    position = 0
    for found in _VARIABLE.finditer(text) if variables else ():
        pieces += _wildcards(text[position : found.start()])
        pieces.append(_variable(found.group(1)))
        position = found.end()
    pieces += _wildcards(text[position:])
    return Pattern(text, tuple(pieces))


def _variable(inner: str):
    if inner in _ESCAPES:
        return ("text", inner)
    key, comma, default = inner.partition(",")
    default = default.strip()
    if comma and len(default) >= 2 and default[0] == default[-1] == "'":
        return Variable(key.strip(), default[1:-1])
    return Variable(inner, None)


def _wildcards(text: str) -> list:
    return [("wild" if part in "*?" else "text", part) for part in re.split(r"([*?])", text) if part]


@lru_cache(maxsize=65536)
def _expression(pieces: tuple, ignore_case: bool, arn: bool) -> re.Pattern:
    # In an ARN a wildcard stays inside its colon-separated segment, unless it is the last character of
    # that segment; the sixth segment, the resource, may itself hold colons. (IAM reference, "Resource".)
    arn = arn and pieces != () and pieces[0][1].startswith("arn:")
    source, colons = "", 0
    for index, (kind, value) in enumerate(pieces):
        if kind == "text":
            source += re.escape(value)
            colons += value.count(":")
        elif arn and colons < 5:
            last = index + 1 == len(pieces) or pieces[index + 1][1].startswith(":")
            source += (".*" if last else "[^:]*") if value == "*" else "[^:]"
        else:
            source += ".*" if value == "*" else "."
    return re.compile(source, re.DOTALL | (re.IGNORECASE if ignore_case else 0))
