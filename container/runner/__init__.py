"""The program that is PID 1 of the container: it runs one dbt project once and leaves a record that tells the truth."""
