"""The evaluator against the rules of the IAM user guide: one row per rule, policies and request in, verdict out."""

import pytest
from rules import elements, logic, operators, resources, shapes, unknown

ROWS = [
    *logic.LOGIC,
    *resources.RESOURCE_POLICIES,
    *resources.TRUST,
    *elements.ELEMENTS,
    *elements.VARIABLES,
    *operators.OPERATORS,
    *shapes.SHAPES,
    *unknown.CLOSED,
]


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_evaluator(row):
    assert row.run() is row.expected


def test_every_rule_has_a_name_of_its_own():
    assert len({row.name for row in ROWS}) == len(ROWS) >= 150
