"""Metrics of pipelines."""

from prometheus_client import Counter, Gauge

SAMPLES = Counter("mithril_pipeline_samples", "Samples that a stage has given.", ["stage"])
BUSY_SECONDS = Counter("mithril_pipeline_busy_seconds", "Seconds that workers spent in a stage.", ["stage"])
SKIPPED = Counter("mithril_pipeline_skipped", "Samples left out after an error.")
WAITED_SECONDS = Counter("mithril_pipeline_waited_seconds", "Seconds that the caller waited for the next element.")
MEMORY_BYTES = Gauge("mithril_pipeline_memory_bytes", "Bytes in use of the memory budget, of the newest run.")
PROCESSES_REPLACED = Counter("mithril_pipeline_processes_replaced", "Worker processes that died and were replaced.")
PRESSURE = Counter("mithril_pipeline_pressure", "Times that the budget was lowered because memory was short.")
OVERRUNS = Counter("mithril_pipeline_overruns", "Samples above the whole memory budget that ran alone.")
