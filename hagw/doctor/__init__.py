"""Examination of a machine: kernel features, rivals, clock, DNS, lines; `look_*` look, `check_*` judge and are pure."""
