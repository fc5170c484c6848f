"""`hagw clear`: leave the machine as it was found; needs no daemon."""


def clear() -> None:
    """Remove interception, drain and stop the workers, and put back the kernel state found before hagw."""
    from hagw.daemon import clear as clear_machine

    for note in clear_machine():
        print(note)
