"""`python -m hagw.web`: the web process as its unit starts it, without the command line's 8 MB."""

from hagw.log import set_up
from hagw.parts import only_parts_of

if __name__ == "__main__":
    set_up()
    only_parts_of("uvicorn", Config="uvicorn.config")  # its command line and its supervisors are another 2 MB
    from hagw.web.main import run

    run()
