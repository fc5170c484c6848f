"""`python -m hagw.metrics.reference > docs/metrics.md`: the list of metrics for people."""

from typing import Final

from hagw.metrics.table import METRICS

HEAD: Final = """# Metrics

Both roles tell them in Prometheus' text format: `GET /api/v1/metrics`, with a token of scope `metrics` through
`hagw web` ([access.md](access.md)), and without a login at the addresses of
[`metrics.listen`](configuration.md#both-roles), path `/metrics`.

```sh
hagw token add admin prometheus --scope metrics --days 365
curl --unix-socket /run/hagw/hagw.sock http://hagw/api/v1/metrics
```

Units are in the names. Labels are names of the configuration, indexes of workers and hagw's own words: no flows, no
hosts, no servers. What is unknown is left out. Counters of a worker begin again when it is replaced. This page is made
by `python -m hagw.metrics.reference`.

| metric | type | labels | meaning |
|---|---|---|---|
"""


def page() -> str:
    """Return the text of docs/metrics.md."""
    rows = (
        f"| `{metric.name}` | {metric.kind} | {', '.join(metric.labels) or '-'} | {metric.meaning} |\n"
        for metric in METRICS
    )
    return HEAD + "".join(rows)


if __name__ == "__main__":
    print(page(), end="")
