"""An AWS emulator that enforces access the way AWS does, for tests on loopback.

moto keeps the state of each service; everything about who may do what, how long a change takes and
which fault a call meets lies in this package.
"""
