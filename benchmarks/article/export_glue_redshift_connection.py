"""Writes .redshift_credentials, as the article describes its script of this name without printing it."""  # noqa: INP001 - a script, copied into an image

import os
import re
from pathlib import Path

import boto3

connection = boto3.client("glue").get_connection(Name=os.environ["GLUE_CONNECTION"])["Connection"]
properties = connection["ConnectionProperties"]
url = re.fullmatch(r"jdbc:redshift://([^:]+):(\d+)/(\w+)", properties["JDBC_CONNECTION_URL"])
if url is None:
    raise SystemExit(f"not a Redshift URL: {properties['JDBC_CONNECTION_URL']}")
Path(".redshift_credentials").write_text(
    f"export DBT_REDSHIFT_HOST={url[1]}\n"
    f"export DBT_REDSHIFT_PORT={url[2]}\n"
    f"export DBT_REDSHIFT_USER={properties['USERNAME']}\n"
    f"export DBT_REDSHIFT_PASSWORD='{properties['PASSWORD']}'\n"
    f"export DBT_REDSHIFT_SCHEMA={os.environ['BASE_SCHEMA']}\n"
    f"export DBT_REDSHIFT_DB={url[3]}\n"
)
