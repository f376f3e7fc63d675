"""The account itself: whose credentials these are, and whether the CDK was bootstrapped."""

from preflight.findings import Clients, Findings, NotAllowedError, NotThereError, ask, fine, unknown, wrong
from stacks.bootstrap import bootstrap_qualifier
from stacks.settings import Environment

# https://docs.aws.amazon.com/cdk/v2/guide/bootstrapping-env.html#bootstrap-template-versions: what `requiresBootstrapStackVersion`
# of this app's stacks says, which DefaultStackSynthesizer writes.
_LEAST_BOOTSTRAP_VERSION = 6


def check_account(clients: Clients, environment: Environment) -> Findings:
    """Whether the AWS credentials that are in use are of the environment's account."""
    caller = clients("sts").get_caller_identity()
    if caller["Account"] == environment.account:
        yield fine(f"the AWS credentials in use are {caller['Arn']}, of account {environment.account}")
    else:
        yield wrong(
            f"the AWS credentials in use are {caller['Arn']}, of account {caller['Account']}; environment "
            f"{environment.name!r} is account {environment.account}: choose its credentials, for example with AWS_PROFILE"
        )


def check_bootstrap(clients: Clients, environment: Environment) -> Findings:
    """Whether the CDK can deploy here."""
    parameter = f"/cdk-bootstrap/{bootstrap_qualifier()}/version"
    try:
        found = ask(lambda: clients("ssm").get_parameter(Name=parameter), "ParameterNotFound")
    except NotThereError:
        yield wrong(f"the CDK is not bootstrapped here: run `make bootstrap ENV={environment.name}`")
    except NotAllowedError as error:
        yield unknown(f"the version of the CDK's bootstrap stack: {error}")
    else:
        version = int(found["Parameter"]["Value"])
        if version < _LEAST_BOOTSTRAP_VERSION:
            yield wrong(
                f"the CDK's bootstrap stack has version {version}, {_LEAST_BOOTSTRAP_VERSION} is needed: "
                f"run `make bootstrap ENV={environment.name}` again"
            )
        else:
            yield fine(f"the CDK is bootstrapped in {environment.region}, version {version}")


def check_permissions_boundary(clients: Clients, environment: Environment) -> Findings:
    """Whether the policy that every role shall be bound by exists."""
    arn = environment.permissions_boundary_arn
    if arn is None:
        return
    try:
        ask(lambda: clients("iam").get_policy(PolicyArn=arn), "NoSuchEntity")
    except NotThereError:
        yield wrong(
            f"permissions_boundary_arn names {arn}, which does not exist: make the policy or correct the setting"
        )
    except NotAllowedError as error:
        yield unknown(f"the permissions boundary {arn}: {error}")
    else:
        yield fine(f"the permissions boundary {arn} exists")
