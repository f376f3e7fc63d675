"""`python parse_dag.py FILE`, in Airflow's environment: prints the CPU milliseconds of a DAG file beyond `import airflow.sdk`."""

import importlib.util
import sys
import time

import airflow.sdk  # noqa: F401 - what every DAG file needs

started = time.process_time()
spec = importlib.util.spec_from_file_location("dag_file", sys.argv[1])
if spec is None or spec.loader is None:
    raise ImportError(f"{sys.argv[1]} is no Python file")
spec.loader.exec_module(importlib.util.module_from_spec(spec))
sys.stdout.write(f"{(time.process_time() - started) * 1000:.1f}\n")
