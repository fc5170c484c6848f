"""`hagw clear`: leave the machine as it was found; needs no daemon."""


def clear() -> None:
    """Remove interception, drain and stop the workers, and restore the kernel state."""
    from hagw.control.clear import clear as clear_everything

    clear_everything()
