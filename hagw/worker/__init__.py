"""Composition root of a worker process: the data plane's loop, told what to do by the daemon over a Unix socket."""
