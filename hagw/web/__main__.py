"""`python -m hagw.web`: the web process as its unit starts it, without the command line's 8 MB."""

from hagw.log import set_up
from hagw.parts import uvicorns_server_only

if __name__ == "__main__":
    set_up()
    uvicorns_server_only()
    from hagw.web.main import run

    run()
