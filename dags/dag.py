"""The DAG of one dbt project; what differs from project to project is in the JSON files beside this one."""

import importlib
import json
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_PACKAGE = json.loads((_HERE / "deployment.json").read_text(encoding="utf-8"))["package"]

# The package lies beside this folder. Airflow has the DAG folder on its path; a folder below it, where files are shipped by git, not.
if str(_HERE.parent) not in sys.path:
    sys.path.append(str(_HERE.parent))

dag = importlib.import_module(f"{_PACKAGE}.dag").build_dag(_HERE)
