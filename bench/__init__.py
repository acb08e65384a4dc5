"""The benchmark: this project beside its peers, in one run, on one machine. `just bench`, or ``python -m bench --help``.

Law: a figure is only worth something beside another one of the same run. So everything alternates, several rounds, and
what is reported is the median and the spread. Every consumer does the same work (`bench.consumers.work` says which),
acknowledges after it, and is measured from outside in the same way. Nobody is the bottleneck but the consumer: it has a
core of its own, and what feeds it sends bytes that were encoded before the clock ran.
"""
