"""hagw: a hybrid-access gateway (CPE and HAG) on upstream Multipath TCP."""

__version__ = "0.1.0"
