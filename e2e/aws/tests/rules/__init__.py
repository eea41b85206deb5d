"""The table of the evaluator, one module per part of the IAM reference. Each row is a rule."""
