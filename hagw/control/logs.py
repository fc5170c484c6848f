"""Structured logs on stderr: one line an event, key=value, constant messages."""

import logging
import sys

import structlog


def set_up_logs(*taps: structlog.types.Processor) -> None:
    """Have all of this process' events, also those of the standard library's loggers, written to stderr.

    `taps` hear of each event first.
    """
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            *taps,
            *shared,
            structlog.processors.LogfmtRenderer(bool_as_flag=False, key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="level=%(levelname)s event=%(message)r")
