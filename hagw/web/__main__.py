"""`python -m hagw.web`: the web process as its unit starts it, without the command line's 8 MB."""

from hagw.web.main import run, set_up_logs

if __name__ == "__main__":
    set_up_logs()
    run()
