"""`python -m hagw.web`: the web process as its unit starts it, without the command line's 8 MB."""

from hagw.log import set_up
from hagw.web.main import run

if __name__ == "__main__":
    set_up()
    run()
