"""All of AWS that the product needs, a Redshift stand-in and a real Airflow, on one machine."""
