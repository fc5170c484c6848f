"""A machine that is not there: lines, traffic and kernel for `hagw daemon --fake-kernel`; needs no rights at all."""
