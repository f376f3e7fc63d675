"""
The Lambda functions of an environment: the guard that watches runs, and the launcher of projects without Airflow.

They need what Lambda's Python has (boto3) and nothing else. Both are told everything by their event or their environment.
"""
