"""
Looks, before the first deployment of an environment, whether its account is as its settings say.

`make preflight ENV=name` runs all of it with the AWS credentials of whoever deploys. Nothing is changed and nothing secret is shown.
"""
