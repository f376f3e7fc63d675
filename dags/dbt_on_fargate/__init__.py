"""Runs a dbt project in one Fargate container for each Airflow run, with a task for each model."""
