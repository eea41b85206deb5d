"""Condition operators: one test per operator, the same three questions round each of them.

A condition answers True, False or None (undecidable: unknown operator, unknown key, unreadable policy value).
Rules: IAM reference, "Condition operators" and "Multivalued context keys".
"""

import base64
import binascii
import ipaddress
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from typing import Callable, Optional

from .context import Context
from .patterns import Pattern, UnknownVariable, compile_pattern

Truth = Optional[bool]


class BadPolicyValue(Exception):
    """The value in the policy is no number, date, address or whatever its operator compares."""


@dataclass(frozen=True)
class Condition:
    """One key of one operator block."""

    operator: str
    quantifier: Optional[str]
    if_exists: bool
    key: str
    values: tuple

    def holds(self, context: Context) -> Truth:
        if not context.is_known(self.key):
            return None
        actual = context.get(self.key)
        if self.operator == "Null":
            return self._is_null(actual)
        test = _TESTS.get(self.operator)
        if test is None:
            return None
        try:
            return self._compare(actual, *test, context)
        except (UnknownVariable, BadPolicyValue):
            return None

    def _is_null(self, actual: Optional[tuple]) -> Truth:
        wanted = {value.text.lower() for value in self.values}
        if not wanted <= {"true", "false"} or self.if_exists or self.quantifier:
            return None
        return ("true" if actual is None else "false") in wanted

    def _compare(self, actual: Optional[tuple], test: Callable, negated: bool, context: Context) -> Truth:
        if actual is None or (actual == () and self.quantifier):
            if self.if_exists or self.quantifier == "ForAllValues":
                return True
            # A negated operator matches a missing key; ForAnyValue needs a value to look at.
            return negated and self.quantifier is None
        # A variable without a value equals nothing. That must not turn "not equal" into an Allow.
        if negated and any(value.resolve(context) is None for value in self.values):
            return None
        # Every value is compared, also behind one that fits: an unreadable one must not go unnoticed.
        matches = [[test(value, one, context) for value in self.values] for one in actual]
        fits = [any(found) != negated for found in matches]
        if self.quantifier == "ForAllValues" or (negated and self.quantifier is None):
            return all(fits)
        return any(fits)


def compile_conditions(block: dict, variables: bool) -> tuple:
    """The Condition element of a statement; all of its parts must hold."""
    conditions = []
    for name, keys in block.items():
        quantifier, colon, operator = name.rpartition(":")
        if colon and quantifier not in ("ForAllValues", "ForAnyValue"):
            operator = name
        if_exists = operator.endswith("IfExists")
        for key, values in keys.items():
            listed = values if isinstance(values, list) else [values]
            patterns = tuple(compile_pattern(_text(value), variables) for value in listed)
            conditions.append(
                Condition(operator.removesuffix("IfExists"), quantifier or None, if_exists, key, patterns)
            )
    return tuple(conditions)


def is_operator(name: str) -> bool:
    """Whether IAM would take this name as the key of a Condition block."""
    prefix, colon, operator = name.rpartition(":")
    if colon and prefix not in ("ForAllValues", "ForAnyValue"):
        return False
    if operator == "Null":
        return not colon
    return operator.removesuffix("IfExists") in _TESTS


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _string(ignore_case: bool) -> Callable:
    def test(value: Pattern, actual: str, context: Context) -> bool:
        expected = value.literal(context)
        if expected is None:
            return False
        return expected.lower() == actual.lower() if ignore_case else expected == actual

    return test


def _like(value: Pattern, actual: str, context: Context) -> bool:
    return value.matches(actual, context)


def _arn(value: Pattern, actual: str, context: Context) -> bool:
    # Each of the six parts is compared on its own, and each may hold wildcards.
    resolved = value.resolve(context)
    if resolved is None:
        return False
    expected = "".join(
        re.sub(r"[*?$]", lambda found: "${" + found.group() + "}", text) if kind == "text" else text
        for kind, text in resolved
    )
    if expected == "*":
        return True
    wanted, given = expected.split(":", 5), actual.split(":", 5)
    return (
        len(wanted) == len(given) == 6
        and given[0] == "arn"
        and all(compile_pattern(part).matches(found, context) for part, found in zip(wanted, given, strict=True))
    )


def _ordered(parse: Callable, compare: Callable) -> Callable:
    def test(value: Pattern, actual: str, context: Context) -> bool:
        expected = value.literal(context)
        if expected is None:
            return False
        limit, found = parse(expected), parse(actual)
        if limit is None:
            raise BadPolicyValue(expected)
        return found is not None and compare(found, limit)

    return test


def _number(text: str) -> Optional[Decimal]:
    try:
        number = Decimal(text.strip())
        return number if number.is_finite() else None
    except InvalidOperation:
        return None


def _date(text: str) -> Optional[datetime]:
    text = text.strip()
    try:
        if re.fullmatch(r"\d+(\.\d+)?", text) and len(text) > 4:
            return datetime.fromtimestamp(float(text), timezone.utc)
        if re.fullmatch(r"\d{4}", text):
            text += "-01-01"
        elif re.fullmatch(r"\d{4}-\d{2}", text):
            text += "-01"
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    except (ValueError, OverflowError, OSError):
        return None


def _bool(value: Pattern, actual: str, context: Context) -> bool:
    expected = (value.literal(context) or "").lower()
    if expected not in ("true", "false"):
        raise BadPolicyValue(expected)
    return expected == actual.lower()


def _binary(value: Pattern, actual: str, context: Context) -> bool:
    try:
        return base64.b64decode(value.literal(context) or "", validate=True) == base64.b64decode(actual, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadPolicyValue(value.text) from error


def _address(value: Pattern, actual: str, context: Context) -> bool:
    try:
        network = ipaddress.ip_network(value.literal(context) or "", strict=False)
    except ValueError as error:
        raise BadPolicyValue(value.text) from error
    try:
        return ipaddress.ip_address(actual) in network
    except ValueError:
        return False


def _comparisons(family: str, parse: Callable) -> dict:
    return {
        f"{family}Equals": (_ordered(parse, lambda found, limit: found == limit), False),
        f"{family}NotEquals": (_ordered(parse, lambda found, limit: found == limit), True),
        f"{family}LessThan": (_ordered(parse, lambda found, limit: found < limit), False),
        f"{family}LessThanEquals": (_ordered(parse, lambda found, limit: found <= limit), False),
        f"{family}GreaterThan": (_ordered(parse, lambda found, limit: found > limit), False),
        f"{family}GreaterThanEquals": (_ordered(parse, lambda found, limit: found >= limit), False),
    }


# Operator: (test of one policy value against one value of the request, whether its outcome is negated).
_TESTS: dict = {
    "StringEquals": (_string(False), False),
    "StringNotEquals": (_string(False), True),
    "StringEqualsIgnoreCase": (_string(True), False),
    "StringNotEqualsIgnoreCase": (_string(True), True),
    "StringLike": (_like, False),
    "StringNotLike": (_like, True),
    **_comparisons("Numeric", _number),
    **_comparisons("Date", _date),
    "Bool": (_bool, False),
    "BinaryEquals": (_binary, False),
    "IpAddress": (_address, False),
    "NotIpAddress": (_address, True),
    "ArnEquals": (_arn, False),
    "ArnLike": (_arn, False),
    "ArnNotEquals": (_arn, True),
    "ArnNotLike": (_arn, True),
}
