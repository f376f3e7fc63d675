#!/bin/bash
# The article's script. `dbt deps` is left out where there is no package hub to ask: that is in the article's favour.
set -e
python3 ./scripts/export_glue_redshift_connection.py
. ./.redshift_credentials
dbt debug --profiles-dir ./dbt --project-dir ./dbt
dbt run --profiles-dir ./dbt --project-dir ./dbt
dbt test --profiles-dir ./dbt --project-dir ./dbt
dbt source freshness --profiles-dir ./dbt --project-dir ./dbt
dbt docs generate --profiles-dir ./dbt --project-dir ./dbt
aws s3 cp --recursive --exclude="*" --include="*.json" --include="*.html" dbt/target/ \
  s3://dbt-documentation-$ENV/$PROJECT_NAME/
