"""`python -m benchmarks.bare_app STACKS`: a CDK app as it comes, of so many empty stacks."""

import sys

import aws_cdk as cdk

if __name__ == "__main__":
    app = cdk.App()
    for number in range(int(sys.argv[1])):
        cdk.Stack(app, f"Stack{number}", env=cdk.Environment(account="111111111111", region="eu-central-1"))
    app.synth()
