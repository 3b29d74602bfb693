"""Metrics in the OpenMetrics text format: what Prometheus scrapes.

`requests` counts the edge's access log, read on from where the last run stopped; `deployments` counts the journals'
events; `samples` renders them as metric families; `collector` reads everything and writes the file.
"""
